"""What a history says about whose mask it is."""

import pytest

from app.history import is_untouched, newest_proposals
from app.records import Draft, Revision, State
from mal_core.masks import RLE
from tests.studio.conftest import NOW

ONE, TWO = (RLE.from_coco({"size": [2, 2], "counts": counts}) for counts in ([1, 3], [2, 2]))
P, C, A, R, D = (State.PROPOSED, State.CORRECTED, State.ACCEPTED, State.REJECTED, State.DELETED)
Step = tuple[State, RLE | None, str]


def history(*steps: Step, instance_id: int = 1, conflicts: tuple[int, ...] = ()) -> list[Revision]:
    return [
        Revision(n, instance_id, n, n in conflicts, Draft(state, 1, (0, 0, 2, 2), rle), "Ada",
                 reason, NOW)
        for n, (state, rle, reason) in enumerate(steps, start=1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "untouched"),
    [
        pytest.param([(P, ONE, "proposed")], True, id="proposed"),
        pytest.param([(P, ONE, "proposed"), (P, TWO, "proposed again")], True, id="again"),
        pytest.param([(P, None, "import"), (P, ONE, "proposed")], True, id="an imported box"),
        pytest.param([(P, ONE, "proposed"), (P, TWO, "proposed"), (P, ONE, "undo")], True,
                     id="a box moved and back"),
        pytest.param([(P, ONE, "proposed"), (P, ONE, "category")], True, id="another category"),
        pytest.param([(P, ONE, "proposed"), (C, TWO, "brush")], False, id="corrected"),
        pytest.param([(P, ONE, "proposed"), (A, ONE, "accept")], False, id="accepted"),
        pytest.param([(P, ONE, "proposed"), (R, ONE, "reject")], False, id="rejected"),
        pytest.param([(P, ONE, "proposed"), (C, TWO, "brush"), (P, ONE, "undo")], False,
                     id="corrected and undone"),
        pytest.param([(P, ONE, "proposed"), (D, ONE, "delete"), (P, ONE, "undo")], False,
                     id="deleted and undone"),
        pytest.param([(P, ONE, "proposed"), (P, TWO, "brush")], False,
                     id="a person's mask that still is called proposed"),
        pytest.param([(P, ONE, "copy")], False, id="a copy"),
    ],
)  # fmt: skip
def test_a_mask_is_untouched_only_if_no_person_ever_had_a_hand_in_it(
    steps: list[Step], untouched: bool
) -> None:
    assert is_untouched(history(*steps)) is untouched


def test_a_person_who_lost_a_race_has_touched_it_all_the_same() -> None:
    lost = history((P, ONE, "proposed"), (C, TWO, "brush"), conflicts=(2,))
    assert not is_untouched(lost)


def test_the_newest_proposal_is_the_last_mask_of_a_model() -> None:
    first = history((P, ONE, "proposed"), (C, TWO, "brush"), (A, TWO, "accept"))
    moved = history((P, ONE, "proposed"), (P, TWO, "proposed again"), (A, ONE, "brush"),
                    instance_id=2)  # fmt: skip
    drawn = history((A, ONE, "import"), instance_id=3)
    lost = history((P, ONE, "proposed"), (P, TWO, "proposed"), instance_id=4, conflicts=(2,))
    found = newest_proposals([*first, *moved, *drawn, *lost])
    assert {key: draft.rle for key, draft in found.items()} == {1: ONE, 2: TWO, 4: ONE}
