"""Small pieces of HTML for the pages; every text from outside is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from app.exchange.coco import ExportReport, ImportReport
from app.records import Category, ImageSummary, Job, JobState, ModelVersion, State

_STAGES = {"cache": "reading the images", "epoch": "learning", "measure": "measuring"}


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


def models_table(models: Sequence[ModelVersion], in_use: int) -> str:
    """Each checkpoint with its origin and figures, the one in use marked."""
    names = {model.id: model.name for model in models}
    rows = [
        [
            f"{model.name} (in use)" if model.id == in_use else model.name,
            str(model.state),
            names.get(model.parent_id or 0, "-"),
            *_figures(model.figures),
            model.created_at.strftime("%Y-%m-%d %H:%M"),
            model.sha256[:12],
        ]
        for model in reversed(models)
    ]
    head = [
        "Model",
        "State",
        "From",
        "Trained on",
        "Held-out IoU",
        "Boundary IoU",
        "Made",
        "SHA-256",
    ]
    return table(head, rows, "No models.")


def progress_bar(job: Job | None) -> str:
    """How far a job is, in words and as a bar."""
    if job is None:
        return note("No fine-tune yet. Accept or correct masks, then press the button.")
    progress = job.progress
    done, total = _place(progress)
    share = done / total if total else 0.0
    if job.state is JobState.DONE:
        share = 1.0
    stage = _STAGES.get(str(progress.get("stage")), "preparing")
    words = f"{stage}, {done} of {total}" if job.state is JobState.RUNNING else str(job.state)
    return (
        f"<div class='mal-bar' role='progressbar' aria-label='Fine-tune {job.id}' aria-valuemin='0'"
        f" aria-valuemax='100' aria-valuenow='{100 * share:.0f}'>"
        f"<span style='width:{100 * share:.0f}%'></span></div>"
        f"<p class='mal-note'>Fine-tune {job.id}: {escape(words)}</p>"
    )


def outcome(job: Job | None) -> str:
    """What a finished job's held-out figures were and whether its weights are used."""
    if job is None or job.state in (JobState.QUEUED, JobState.RUNNING):
        return ""
    if job.state is JobState.STOPPED:
        return report("Stopped. The model in use did not change.", [], good=True)
    if job.state is JobState.FAILED:
        return report("Failed. The model in use did not change.", [job.error], good=False)
    result = job.result
    title = "Refused: the old weights stay"
    if result["promoted"]:
        title = "Promoted: the new weights were put in use"
        if not result["in_use"]:
            title = "Passed, but not in use"
    verdict = report(title, [str(result["reason"])], good=bool(result["promoted"]))
    return verdict + _comparison(result)


def _comparison(result: Mapping[str, Any]) -> str:
    before, after = result["before"], result["after"]
    names = {
        "instance_iou": "Mask IoU",
        "boundary_iou": "Boundary IoU",
        "class_iou": "Mean over categories",
    }
    rows = [[label, *_change(before[key], after[key])] for key, label in names.items()]
    rows += [
        [f"Category: {name}", *_change(pair["before"], pair["after"])]
        for name, pair in result["categories"].items()
    ]
    return table(["Held-out images", "Before", "After", "Change"], rows, "")


def _change(before: float, after: float) -> list[str]:
    return [f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}"]


def _figures(figures: Mapping[str, Any]) -> list[str]:
    if "after" not in figures:
        return ["-", "-", "-"]
    before, after = figures["before"], figures["after"]
    ious = [f"{before[k]:.3f} to {after[k]:.3f}" for k in ("instance_iou", "boundary_iou")]
    return [f"{figures['n_train']} masks", *ious]


def _place(progress: Mapping[str, Any]) -> tuple[int, int]:
    """Position within the present stage."""
    if progress.get("stage") == "epoch":
        return int(progress["epoch"]), int(progress["epochs"])
    return int(progress.get("done", 0)), int(progress.get("total", 0))


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
