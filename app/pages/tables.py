"""Small pieces of HTML for the pages; every text from outside is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from app.exchange.coco import ExportReport, ImportReport
from app.records import Category, ImageSummary, State


def table(head: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> str:
    """An HTML table of texts, or a sentence that says what to do when there are no rows."""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    if not body:
        return note(empty)
    cells = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in head)
    return (
        f"<div class='mal-table' tabindex='0' role='region' aria-label='Table'>"
        f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def note(text: str) -> str:
    """A quiet sentence."""
    return f"<p class='mal-note'>{escape(text)}</p>"


def report(title: str, lines: Sequence[str], *, good: bool) -> str:
    """What came of an act, with a line for each thing to know."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines[:100])
    more = f"<li>and {len(lines) - 100} more</li>" if len(lines) > 100 else ""
    listing = f"<ul>{items}{more}</ul>" if items else ""
    kind = "good" if good else "bad"
    return f"<div class='mal-report {kind}' role='status'><b>{escape(title)}</b>{listing}</div>"


def categories_table(categories: Sequence[Category]) -> str:
    """Swatch and name of each category."""
    chips = "".join(
        f"<li><span class='mal-swatch' style='background:{escape(c.color)}'></span>"
        f"{escape(c.name)}</li>"
        for c in categories
    )
    return f"<ul class='mal-chips'>{chips}</ul>" if chips else note("Add a category to start.")


def images_table(summaries: Sequence[ImageSummary]) -> str:
    """Each image with its size and the number of its instances in each state."""
    states = (State.PROPOSED, State.CORRECTED, State.ACCEPTED, State.REJECTED)
    rows = [
        [
            s.image.file_name,
            f"{s.image.width} x {s.image.height}",
            *(str(s.counts.get(state, 0)) for state in states),
            s.image.notice,
        ]
        for s in summaries
    ]
    head = ["Image", "Size", "Proposed", "Corrected", "Accepted", "Rejected", "Notice"]
    return table(head, rows, "No images yet: add files, a folder or a zip above.")


def describe_import(done: ImportReport) -> tuple[str, list[str]]:
    """Title and lines of an import's report."""
    facts = (
        (done.n_masks, "masks came in as accepted"),
        (done.n_boxes, "boxes came in without a mask: press Propose masks below"),
        (done.n_known, "were in the project already"),
        (done.n_crowds, "crowds were left out"),
    )
    lines = [f"{count} {text}" for count, text in facts if count]
    lines += [f"no image of this project is named {name}" for name in done.unmatched]
    return f"{done.n_masks + done.n_boxes} instances imported on {done.n_images} images", lines


def describe_export(done: ExportReport) -> tuple[str, list[str]]:
    """Title and lines of an export's proof."""
    proof = f"read back with pycocotools: smallest IoU {done.min_iou:.3f}, ids and sizes agree"
    renamed = [f"{old} is named {new} in the export" for old, new in done.renamed.items()]
    title = f"{done.n_annotations} masks on {done.n_images} images exported"
    return title, [proof, *done.left_out, *renamed]
