"""What a fine-tune looks like: how far it is, what came of it, and before and after in pictures."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from app.again import KIND as AGAIN
from app.batch import KIND as BATCH
from app.pages.tables import note, report, table
from app.pictures import Picture
from app.records import OPEN, Job, JobState, ModelState, Wish

_ROUNDS = {AGAIN: "Proposing again", BATCH: "Proposing masks"}
_STAGES = {"cache": "reading the images", "epoch": "learning", "measure": "measuring"}
_TITLES = {
    ModelState.PROMOTED: "Promoted: the new weights were put in use",
    ModelState.REJECTED: "Refused: the old weights stay",
    ModelState.UNDECIDED: "Undecided: it takes your word. Look at the pictures, then choose",
}
_WISHES = {Wish.GO: "", Wish.PAUSE: ", paused", Wish.STOP: ", stopping"}
_FIGURES = {
    "instance_iou": "Mask IoU",
    "boundary_iou": "Boundary IoU",
    "class_iou": "Mean over categories",
}


def progress_bar(job: Job | None) -> str:
    """How far a job is, in words and as a bar, with what it had to tell."""
    if job is None:
        return note("No fine-tune yet. Accept or correct masks, then press the button.")
    done, total = _place(job.progress)
    share = 1.0 if job.state is JobState.DONE else min(1.0, done / total) if total else 0.0
    name = _ROUNDS.get(job.kind, f"Fine-tune {job.id}")
    return (
        f"<div class='mal-bar' role='progressbar' aria-label='{name}' aria-valuemin='0'"
        f" aria-valuemax='100' aria-valuenow='{100 * share:.0f}'>"
        f"<span style='width:{100 * share:.0f}%'></span></div>"
        f"<p class='mal-note' role='status'>{name}: {escape(_words(job, done, total))}</p>"
        + "".join(note(str(text)) for text in job.progress.get("notices", []))
    )


def outcome(job: Job | None) -> str:
    """What a finished job's held-out figures were and whether its weights are used."""
    if job is None or job.state in OPEN:
        return ""
    if job.state is JobState.STOPPED:
        return report("Stopped. The model in use did not change.", [], good=True)
    if job.state is JobState.FAILED:
        return report("Failed. The model in use did not change.", [job.error], good=False)
    if not job.result:
        return report("Finished; its figures stand with its model below.", [], good=True)
    return _verdict(job.result) + _comparison(job.result)


def is_asking(job: Job | None) -> bool:
    """Whether a job's weights wait for a person's word."""
    return job is not None and job.result.get("state") == ModelState.UNDECIDED


def again_line(job: Job | None) -> str:
    """What becomes of the untouched proposals after another model came into use."""
    if job is None:
        return ""
    if job.state in OPEN:
        return progress_bar(job)
    if job.state is JobState.FAILED:
        return report("The proposals could not be renewed", [job.error], good=False)
    changed = job.result.get("changed", 0)
    return note(f"Untouched proposals proposed again by the model in use: {changed}.")


def batch_line(job: Job | None) -> str:
    """How far a round over the boxes without a mask is, or what came of it."""
    if job is None:
        return note("Boxes that came in without a mask get a proposal, in the background.")
    told = _failed(job)
    if job.state in OPEN:
        return progress_bar(job) + told
    if job.state is JobState.FAILED:
        return report("Not all boxes got a mask", [job.error], good=False) + told
    done, total = _place(job.progress)
    if job.state is JobState.STOPPED:
        title = f"Stopped after {done} of {total} boxes. The rest stays as it is."
    elif total == 0:
        title = "Every box has a mask already."
    else:
        title = f"Finished: {done} of {total} boxes on {_images(job)}."
    return report(title, [], good=True) + told


def gallery(worst: Sequence[Picture], changed: Sequence[Picture], names: Mapping[int, str]) -> str:
    """Before and after of held-out instances, as figures with words.

    Args:
        worst: those the new weights do worst on.
        changed: those that changed most.
        names: of the categories, by number.
    """
    if not worst:
        return ""
    key = (
        "<p class='mal-note mal-key'>Outlines: <b class='truth'>yours</b>"
        " <b class='before'>before</b> <b class='after'>after</b></p>"
    )
    parts = [("Most changed", changed), ("Worst with the new weights", worst)]
    rows = "".join(
        f"<p class='mal-note'>{title}</p><div class='mal-gallery'>"
        + "".join(_figure(picture, names) for picture in pictures)
        + "</div>"
        for title, pictures in parts
        if pictures
    )
    return f"<div class='mal-pictures'>{key}{rows}</div>"


def _figure(picture: Picture, names: Mapping[int, str]) -> str:
    change = picture.change
    name = names.get(change.category_id, "")
    words = escape(f"{name} {change.iou_before:.2f} to {change.iou_after:.2f}")
    return (
        f"<figure><img src='{picture.data}' alt='Held-out {words}' loading='lazy'>"
        f"<figcaption>{words}</figcaption></figure>"
    )


def _failed(job: Job) -> str:
    """The boxes of a round that could not be done: all counted, the first ones in words."""
    failed = job.progress.get("failed", 0)
    if not failed:
        return ""
    title = f"{failed} without a mask. They are asked for again when you press the button."
    return report(title, [str(line) for line in job.progress["errors"]], good=False)


def _verdict(result: Mapping[str, Any]) -> str:
    state, in_use = ModelState(result["state"]), result["in_use"]
    title = _TITLES[state]
    if result.get("decided"):
        title = "You chose the new weights" if in_use else "You kept the old weights"
    elif state is ModelState.PROMOTED and not in_use:
        title = "Passed, but not in use"
    lines = [str(result["reason"]), _data_line(result), *_probe_line(result)]
    return report(title, lines, good=state is ModelState.PROMOTED)


def _data_line(result: Mapping[str, Any]) -> str:
    return f"learned from masks: {result['n_masks']}, from boxes without one: {result['n_boxes']}"


def _probe_line(result: Mapping[str, Any]) -> list[str]:
    probe = result["probe"]
    if probe is None:
        return []
    change = f"IoU {probe['before']:.3f} to {probe['after']:.3f}"
    return [f"probe, {probe['n']} objects of common photos: {change}"]


def _comparison(result: Mapping[str, Any]) -> str:
    before, after = result["before"], result["after"]
    if before is None or after is None:
        return ""
    count = str(after["n"])
    rows = [[label, count, *_change(before[key], after[key])] for key, label in _FIGURES.items()]
    rows += [
        [f"Category: {name}", str(pair["n"]), *_change(pair["before"], pair["after"])]
        for name, pair in result["categories"].items()
    ]
    return table(
        "Before and after", ["Held-out images", "Masks", "Before", "After", "Change"], rows, ""
    )


def _change(before: float, after: float) -> list[str]:
    return [f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}"]


def _words(job: Job, done: int, total: int) -> str:
    if job.state is JobState.QUEUED:
        return "waiting for the one before it to end" + _WISHES[job.wish]
    if job.state is not JobState.RUNNING:
        return str(job.state)
    if job.kind in _ROUNDS:
        words = f"{done} of {total}" + (f" on {_images(job)}" if job.kind == BATCH else "")
        return words + _WISHES[job.wish]
    words = f"{_STAGES.get(str(job.progress.get('stage')), 'preparing')}, {done} of {total}"
    seconds = job.progress.get("eta_seconds")
    return words if seconds is None else f"{words}, about {_rounded(float(seconds))} left"


def _images(job: Job) -> str:
    count = int(job.progress.get("images", 0))
    return "1 image" if count == 1 else f"{count} images"


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _place(progress: Mapping[str, Any]) -> tuple[int, int]:
    """Position within the present stage."""
    if progress.get("stage") == "epoch":
        return int(progress["epoch"]), int(progress["epochs"])
    return int(progress.get("done", 0)), int(progress.get("total", 0))
