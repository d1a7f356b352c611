"""The rules of review, without I/O or clock: what an instance may become, and what it needs.

A proposal is the model's; corrected and accepted are a person's word; rejected and deleted take
an instance out of the export. Undo and redo may bring any earlier state back, so nearly every
step is allowed; what is not is listed by its absence from the table.
"""

import math
from collections.abc import Mapping

from app.errors import NotAllowed
from app.records import Box, Draft, JobState, State
from mal_core.errors import BadBox, BadMask, InputError
from mal_core.prompts import Stroke

_ALL = frozenset(State)
_NAME_MAX = 200
_NEXT: Mapping[State | None, frozenset[State]] = {
    # Import brings masks a person made elsewhere; nothing starts its life refused or gone.
    None: frozenset({State.PROPOSED, State.CORRECTED, State.ACCEPTED}),
    State.PROPOSED: _ALL,
    State.CORRECTED: _ALL,
    State.ACCEPTED: _ALL,
    State.REJECTED: _ALL,
    State.DELETED: _ALL - {State.DELETED},  # what is gone cannot be deleted, only brought back
}
_NEXT_JOB: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset(JobState) - {JobState.DONE},
    JobState.RUNNING: frozenset(JobState) - {JobState.QUEUED},
    JobState.DONE: frozenset({JobState.DONE}),
    JobState.FAILED: frozenset({JobState.FAILED}),
    JobState.STOPPED: frozenset({JobState.STOPPED}),
}

MASK_STATES = frozenset({State.CORRECTED, State.ACCEPTED})
"""States in which a person vouches for a mask, so that there must be one."""

COUNTABLE = _ALL - {State.DELETED}
"""States shown on the canvas and counted in lists."""

PALETTE = (
    *("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
    *("#882255", "#ddcc77", "#332288", "#44aa99", "#999933"),
)
"""Category colours told apart with any colour vision.

Source: Okabe and Ito, Color Universal Design, 2008 (the first seven); Paul Tol, "muted", 2021.
"""


def check_name(name: str) -> str:
    """Trim the name of a project or category.

    Raises:
        InputError: it is empty, too long, or could not be shown on a line.
    """
    name = name.strip()
    if not 1 <= len(name) <= _NAME_MAX or not name.isprintable():
        raise InputError(
            f"a name must be 1 to {_NAME_MAX} printable characters on one line, got {name!r:.60}"
        )
    return name


def check_transition(old: State | None, new: State) -> None:
    """Refuse a step the table does not hold.

    Args:
        old: the present state; None for an instance not yet stored.
        new: the state asked for.

    Raises:
        NotAllowed: with the states that may follow.
    """
    if new in _NEXT[old]:
        return
    subject = "a new instance" if old is None else f"an instance that is {old}"
    raise NotAllowed(
        f"{subject} cannot become {new}; it can become {', '.join(sorted(_NEXT[old]))}"
    )


def check_job_transition(old: JobState, new: JobState) -> None:
    """Refuse a job's step backwards, or out of its end.

    Raises:
        NotAllowed: with both states.
    """
    if new not in _NEXT_JOB[old]:
        raise NotAllowed(f"a job that is {old} cannot become {new}")


def check_draft(draft: Draft, width: int, height: int) -> None:
    """Check that a draft fits its image.

    Args:
        draft: what is to be saved.
        width: columns of the image.
        height: rows of the image.

    Raises:
        BadBox: the box is not finite, not ordered, or leaves the image.
        BadMask: the mask is of another size than the image.
        NotAllowed: the state needs a mask and there is none.
    """
    _check_box(draft.box, width, height)
    if draft.rle is None:
        if draft.state in MASK_STATES:
            raise NotAllowed(f"an instance that is {draft.state} needs a mask; propose or draw one")
    elif (draft.rle.width, draft.rle.height) != (width, height):
        raise BadMask(
            f"the mask must have the image's size, {width} x {height},"
            f" got {draft.rle.width} x {draft.rle.height}"
        )


def check_stroke(stroke: Stroke, width: int, height: int) -> None:
    """Refuse a stroke that cannot be meant: far off, or thicker than the image is long.

    Raises:
        NotAllowed: with the image's size and where the stroke lies.
    """
    x0, y0, x1, y1 = stroke.box
    longest = max(width, height)
    touches = x0 < width and y0 < height and x1 > 0 and y1 > 0
    if not touches or min(x0, y0) < -longest or max(x1, y1) > 2 * longest:
        size = f"{width} x {height}"
        raise NotAllowed(f"a stroke must lie on the {size} image, got one at {stroke.box}")


def exportable(*, include_proposals: bool) -> frozenset[State]:
    """States that go into an export: a person's word, and the model's if asked for."""
    return MASK_STATES | {State.PROPOSED} if include_proposals else MASK_STATES


def color_of(number: int) -> str:
    """Colour "#rrggbb" of the category with this 1-based number."""
    return PALETTE[(number - 1) % len(PALETTE)]


def _check_box(box: Box, width: int, height: int) -> None:
    x0, y0, x1, y1 = box
    is_finite = all(math.isfinite(value) for value in box)
    if not (is_finite and 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise BadBox(
            f"a box must be x0, y0, x1, y1 inside the {width} x {height} image with x0 < x1 and"
            f" y0 < y1, got {', '.join(f'{value:g}' for value in box)}"
        )
