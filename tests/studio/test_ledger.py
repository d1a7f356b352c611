"""What a mask costs: the ledger against a count by hand, and its parts one by one."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger import IDLE_SECONDS, Entry, by_model, finished_masks, hours_left, pace
from app.records import Draft, Revision, State
from mal_core.masks import RLE, iou
from tests.studio.conftest import NOW

MASKS = [RLE.from_coco({"size": [2, 4], "counts": [n, 8 - n]}) for n in range(1, 5)]
P, C, A, R = State.PROPOSED, State.CORRECTED, State.ACCEPTED, State.REJECTED
REASONS = ("proposed", "proposed again", "brush", "accept", "undo")
Act = tuple[float, int, str, State, int | None, str]


def history(*acts: Act, conflicts: Sequence[int] = ()) -> list[Revision]:
    """Revisions of (seconds since the start, instance, person, state, mask, reason)."""
    return [
        Revision(
            n, instance, n, n in conflicts,
            Draft(state, 1, (0, 0, 4, 2), None if mask is None else MASKS[mask],
                  model_id=7 if instance < 10 else 8),
            person, reason, NOW + timedelta(seconds=at),
        )
        for n, (at, instance, person, state, mask, reason) in enumerate(acts, start=1)
    ]  # fmt: skip


def test_a_mask_accepted_as_proposed_costs_the_look_at_it() -> None:
    (entry,) = finished_masks(history((0, 1, "Ada", P, 0, "proposed"),
                                      (2.5, 1, "Ada", A, 0, "accept")))  # fmt: skip
    assert (entry.seconds, entry.strokes, entry.iou, entry.is_untouched) == (2.5, 0, 1.0, True)
    assert (entry.model_id, entry.finished_at) == (7, NOW + timedelta(seconds=2.5))


def test_strokes_are_saves_by_a_person_that_change_the_mask() -> None:
    (entry,) = finished_masks(
        history(
            (0, 1, "Ada", P, 0, "proposed"),
            (1, 1, "Ada", C, 1, "brush"),
            (2, 1, "Ada", C, 2, "eraser"),
            (3, 1, "Ada", C, 2, "category"),
            (4, 1, "Ada", A, 2, "accept"),
        )
    )
    assert (entry.strokes, entry.seconds, entry.is_untouched) == (2, 4.0, False)
    assert entry.iou == iou(MASKS[0], MASKS[2])


def test_what_the_page_measured_counts_in_place_of_the_gaps() -> None:
    made, brush, accept = history(
        (0, 1, "Ada", P, 0, "proposed"),
        (9, 1, "Ada", C, 1, "brush"),
        (20, 1, "Ada", A, 1, "accept"),
    )
    measured = [replace(made, seconds=3.5), replace(brush, seconds=4.25, strokes=3), accept]
    (entry,) = finished_masks(measured)
    assert (entry.seconds, entry.strokes) == (3.5 + 4.25 + 11.0, 3)


def test_what_the_model_makes_of_a_stroke_is_no_stroke_more() -> None:
    (entry,) = finished_masks(
        history(
            (0, 1, "Ada", P, 0, "proposed"),
            (1, 1, "Ada", C, 1, "brush"),
            (2, 1, "Ada", C, 2, "smart stroke"),
            (3, 1, "Ada", C, 3, "assist"),
        )
    )
    assert entry.strokes == 1


def test_time_goes_to_the_instance_of_the_later_act_and_pauses_are_capped() -> None:
    entries = finished_masks(
        history(
            (0, 1, "Ada", P, 0, "proposed"),
            (3, 2, "Ada", P, 0, "proposed"),
            (5, 1, "Ada", A, 0, "accept"),
            (5000, 2, "Ada", A, 0, "accept"),
        )
    )
    assert [(e.instance_id, e.seconds) for e in entries] == [(1, 2.0), (2, 3.0 + IDLE_SECONDS)]


def test_people_do_not_cost_each_other_time_and_the_machine_costs_nobody_any() -> None:
    entries = finished_masks(
        history(
            (0, 1, "Ada", P, 0, "proposed"),
            (1, 2, "Bo", P, 0, "proposed"),
            (4, 1, "", P, 1, "proposed again"),
            (9, 1, "Ada", A, 1, "accept"),
            (9, 2, "Bo", A, 0, "accept"),
        )
    )
    assert {e.instance_id: (e.seconds, e.iou) for e in entries} == {1: (9.0, 1.0), 2: (8.0, 1.0)}


def test_a_lost_race_took_time_but_is_not_the_mask() -> None:
    acts = ((0, 1, "Ada", P, 0, "proposed"), (1, 1, "Ada", A, 0, "accept"),
            (4, 1, "Ada", C, 3, "brush"))  # fmt: skip
    (entry,) = finished_masks(history(*acts, conflicts=[3]))
    assert (entry.seconds, entry.strokes, entry.is_untouched) == (4.0, 0, True)


def test_a_mask_made_without_a_model_has_no_proposal_to_be_near_to() -> None:
    (entry,) = finished_masks(history((0, 1, "Ada", A, 0, "import")))
    assert (entry.model_id, entry.iou, entry.is_untouched) == (None, None, False)


@pytest.mark.parametrize("state", [P, R, State.DELETED])
def test_only_a_persons_word_finishes_a_mask(state: State) -> None:
    assert finished_masks(history((0, 1, "Ada", P, 0, "proposed"),
                                  (1, 1, "Ada", state, 0, "x"))) == []  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[Revision]:
    at, acts = 0.0, []
    for _ in range(draw(st.integers(1, 25))):
        at += draw(st.sampled_from([0.5, 7.0, 100.0]))
        reason = draw(st.sampled_from(REASONS))
        state = P if reason.startswith("proposed") else draw(st.sampled_from([P, C, A, R]))
        acts.append((at, draw(st.sampled_from([1, 2, 11])), draw(st.sampled_from(["Ada", "Bo"])),
                     state, draw(st.integers(0, 3)), reason))  # fmt: skip
    return history(*acts)


@given(histories())
def test_the_ledger_equals_a_count_by_hand(revisions: list[Revision]) -> None:
    for entry in finished_masks(revisions):
        mine = [r for r in revisions if r.instance_id == entry.instance_id]
        seconds = 0.0
        for revision in mine:
            earlier = [r for r in revisions if r.id < revision.id and r.person == revision.person
                       and r.reason != "proposed again"]  # fmt: skip
            if earlier and revision.reason != "proposed again":
                gap = (revision.saved_at - earlier[-1].saved_at).total_seconds()
                seconds += min(gap, 60)
        assert entry.seconds == pytest.approx(seconds)
        pairs = list(itertools.pairwise(mine))
        changed = [b for a, b in pairs if a.draft.rle != b.draft.rle]
        assert entry.strokes == sum(not b.reason.startswith("proposed") for b in changed)
        proposals = [r for r in mine if r.reason.startswith("proposed")]
        final, rle = mine[-1], mine[-1].draft.rle
        assert rle is not None
        if proposals:
            proposed = proposals[-1].draft.rle
            assert proposed is not None
            assert entry.iou == iou(proposed, rle)
            assert entry.is_untouched == (proposed == rle and final.draft.state is A)
        else:
            assert entry.iou is None


def entry(seconds: float, model_id: int | None = 7, iou: float | None = 0.5) -> Entry:
    return Entry(1, model_id, NOW, seconds, 2, iou, is_untouched=seconds < 5)


def test_paces_are_means_by_model() -> None:
    paces = by_model([entry(2), entry(6, iou=None), entry(10, 8)])
    assert (paces[7].masks, paces[7].seconds, paces[7].iou, paces[7].untouched) == (2, 4, 0.5, 0.5)
    assert (paces[8].masks, paces[8].seconds, paces[8].strokes) == (1, 10, 2)


def test_the_hours_left_follow_the_newest_masks_alone() -> None:
    entries = [entry(1000)] * 30 + [entry(36)] * 50
    assert hours_left(entries, 200) == pytest.approx(2.0)
    assert hours_left(entries, 0) == 0.0
    assert hours_left([], 200) is None


def test_there_is_no_pace_without_a_mask() -> None:
    with pytest.raises(ValueError, match="no finished mask"):
        pace([])
