"""The rules of review, as tables."""

from itertools import pairwise

import pytest

from app.errors import NotAllowed
from app.records import Draft, JobState, State
from app.session import (
    COUNTABLE,
    PALETTE,
    check_draft,
    check_job_transition,
    check_transition,
    color_of,
    exportable,
)
from mal_core.errors import BadBox, BadMask
from mal_core.masks import RLE

REFUSED = {
    (None, State.REJECTED),
    (None, State.DELETED),
    (State.DELETED, State.DELETED),
}
STEPS = [(old, new) for old in (None, *State) for new in State]
MASK = RLE.from_coco({"size": [20, 30], "counts": [600]})


def draft(state: State = State.PROPOSED, **changes: object) -> Draft:
    return Draft(**{"state": state, "category_id": 1, "box": (1, 2, 9, 8), "rle": MASK} | changes)


@pytest.mark.parametrize(("old", "new"), [step for step in STEPS if step not in REFUSED])
def test_this_step_is_allowed(old: State | None, new: State) -> None:
    check_transition(old, new)


@pytest.mark.parametrize(("old", "new"), sorted(REFUSED, key=str))
def test_this_step_is_refused_with_the_steps_that_are_allowed(
    old: State | None, new: State
) -> None:
    with pytest.raises(NotAllowed, match=f"cannot become {new}; it can become accepted, corrected"):
        check_transition(old, new)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("queued running running done", id="succeeds"),
        pytest.param("queued running failed", id="fails"),
        pytest.param("queued stopped", id="is stopped before it begins"),
        pytest.param("queued running stopped", id="is stopped"),
    ],
)
def test_a_job_may_live_this_life(path: str) -> None:
    for old, new in pairwise(map(JobState, path.split())):
        check_job_transition(old, new)


@pytest.mark.parametrize(
    "step", ["queued done", "running queued", "done running", "failed done", "stopped running"]
)
def test_a_job_neither_goes_back_nor_rises_from_its_end(step: str) -> None:
    with pytest.raises(NotAllowed):
        check_job_transition(*map(JobState, step.split()))


@pytest.mark.parametrize("state", [State.CORRECTED, State.ACCEPTED])
def test_nobody_vouches_for_a_mask_that_is_not_there(state: State) -> None:
    with pytest.raises(NotAllowed, match="needs a mask"):
        check_draft(draft(state, rle=None), 30, 20)


@pytest.mark.parametrize("state", [State.PROPOSED, State.REJECTED, State.DELETED])
def test_a_box_may_wait_for_its_mask(state: State) -> None:
    check_draft(draft(state, rle=None), 30, 20)


def test_a_mask_of_another_size_than_its_image_is_refused() -> None:
    with pytest.raises(BadMask, match="30 x 21, got 30 x 20"):
        check_draft(draft(), 30, 21)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((-0.5, 2, 9, 8), id="left of the image"),
        pytest.param((1, -1, 9, 8), id="above"),
        pytest.param((1, 2, 30.01, 8), id="right"),
        pytest.param((1, 2, 9, 20.5), id="below"),
        pytest.param((9, 2, 1, 8), id="corners swapped"),
        pytest.param((1, 2, 1, 8), id="no width"),
        pytest.param((1, 2, 9, 2), id="no height"),
        pytest.param((float("nan"), 2, 9, 8), id="nan"),
        pytest.param((1, 2, float("inf"), 8), id="infinite"),
    ],
)
def test_a_box_that_is_not_in_the_image_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(BadBox, match="inside the 30 x 20 image"):
        check_draft(draft(box=box), 30, 20)


def test_a_box_may_fill_its_image() -> None:
    check_draft(draft(box=(0, 0, 30, 20)), 30, 20)


def test_an_export_holds_a_persons_word_and_proposals_only_if_asked() -> None:
    assert exportable(include_proposals=False) == {State.ACCEPTED, State.CORRECTED}
    assert exportable(include_proposals=True) == {*exportable(include_proposals=False), "proposed"}


def test_only_deleted_instances_are_not_counted() -> None:
    assert set(State) - COUNTABLE == {State.DELETED}


def test_colours_differ_until_the_palette_is_used_up() -> None:
    assert len({color_of(number) for number in range(1, len(PALETTE) + 1)}) == len(PALETTE)
    assert color_of(len(PALETTE) + 1) == color_of(1)
