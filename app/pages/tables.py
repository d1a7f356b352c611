"""Small pieces of HTML for the pages; every text from outside is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from app.exchange import ExportReport, ImportReport
from app.records import Category, ImageSummary, State


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> str:
    """An HTML table of texts, or a sentence that says what to do when there are no rows.

    The name is read out by screen readers; no other table of a page has it.
    """
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    if not body:
        return note(empty)
    cells = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in head)
    return (
        f"<div class='mal-table' tabindex='0' role='region' aria-label='{escape(name)}'>"
        f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def note(text: str) -> str:
    """A quiet sentence."""
    return f"<p class='mal-note'>{escape(text)}</p>"


def link(text: str, address: str) -> str:
    """A file to save."""
    return f"<a class='mal-link' href='{escape(address)}' download>{escape(text)}</a>"


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
    return table("Images", head, rows, "No images yet: add files, a folder or a zip above.")


def describe_import(done: ImportReport, *, dry_run: bool = False) -> tuple[str, list[str]]:
    """Title and lines of an import's report, or of what an import would do."""
    if done.problems:
        return "Nothing can be imported", done.problems
    facts = (
        (done.n_new_images, "new images"),
        (done.n_masks, "masks, as accepted"),
        (done.n_boxes, "boxes without a mask, for Propose masks below"),
        (done.n_filled, "masks in place of proposals"),
        (done.n_replaced, "masks in place of others, which stay in the history"),
        (done.n_known, "in the project already"),
        (len(done.conflicts), "in the project with another outline, which stays"),
        (done.n_crowds, "crowds, left out"),
        (len(done.left_out), "pictures or shapes, left out"),
    )
    lines = [f"{text}: {count}" for count, text in facts if count]
    lines += [f"no image of this project is named {name}" for name in done.unmatched]
    lines += [*done.conflicts, *done.left_out]
    count = done.n_masks + done.n_boxes + done.n_filled + done.n_replaced
    end = "would be imported; nothing is yet" if dry_run else "imported"
    return f"{_many(count, 'instance')} on {_many(done.n_images, 'image')} {end}", lines


def describe_export(done: ExportReport) -> tuple[str, list[str]]:
    """Title and lines of an export's proof."""
    proof = (
        f"read back: {done.n_exact} of {done.n_compared} pixel for pixel, smallest IoU"
        f" {done.min_iou:.3f}, mean {done.mean_iou:.3f}; ids and sizes agree"
    )
    loses = [f"{done.title} loses: {done.loses}"] if done.loses else []
    renamed = [f"{old} is named {new} in the export" for old, new in done.renamed.items()]
    title = f"{_many(done.n_annotations, 'mask')} on {_many(done.n_images, 'image')} exported"
    return title, [proof, *loses, *done.left_out, *done.changed, *renamed]


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
