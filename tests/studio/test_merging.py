"""Two people's masks become one set: by a reviewer's choice, or at once where all agree."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from app.consensus import halfway
from app.errors import NotAllowed
from app.merging import CONSENSUS, LEAVE, Compared, Merging, Preview, pairwise
from app.records import Draft, Image, Instance, State, Viewer
from app.store import Store
from mal_core.masks import RLE, encode
from tests.studio.conftest import NOW, Studio

RITA = Viewer("Rita", reviews=True)


@pytest.fixture
def merging(studio: Studio) -> Merging:
    return Merging(studio.store, lambda: NOW)


def square(image: Image, x0: int, y0: int, size: int) -> RLE:
    return encode(np.ones((size, size), np.bool_), x0=x0, y0=y0,
                  height=image.height, width=image.width)  # fmt: skip


def draw(studio: Studio, place: int, person: str, *masks: tuple[int, int, int, int]) -> None:
    """Give an image to somebody; each mask is (x0, y0, side, category by its place)."""
    image = studio.images[place]
    studio.store.assign(image.id, person, "Pat", NOW)
    for x0, y0, size, kind in masks:
        box = (float(x0), float(y0), float(x0 + size), float(y0 + size))
        rle, category = square(image, x0, y0, size), studio.categories[kind].id
        draft = Draft(State.CORRECTED, category, box, rle, 0.5, model_id=studio.project.model_id)
        studio.store.add_instance(image.id, draft, person, "polygon", NOW)


def both(studio: Studio, place: int, ann: list[tuple[int, int, int, int]],
         bob: list[tuple[int, int, int, int]]) -> int:  # fmt: skip
    """Two people draw on an image, and are done."""
    key = studio.images[place].id
    for person in ("Ann", "Bob"):
        studio.store.assign(key, person, "Pat", NOW)
    draw(studio, place, "Ann", *ann)
    draw(studio, place, "Bob", *bob)
    for person in ("Ann", "Bob"):
        studio.store.set_done(key, person, NOW)
    return key


ANN = [(10, 10, 60, 0), (100, 10, 40, 0), (200, 10, 30, 0)]
BOB = [(12, 10, 60, 0), (100, 10, 40, 1), (10, 200, 50, 0)]


@pytest.fixture
def image(studio: Studio) -> int:
    """Alike; alike but as two kinds; only Ann's; only Bob's."""
    return both(studio, 0, ANN, BOB)


def chosen(found: Compared, *choices: str) -> dict[str, str]:
    return {found.key_of(t): c for t, c in zip(found.things, choices, strict=True)}


def heads(store: Store, image: int) -> list[Instance]:
    return store.list_instances(image)


def test_a_comparison_tells_who_saw_what(studio: Studio, merging: Merging, image: int) -> None:
    found = merging.compared(image, RITA)
    assert [sorted(thing.shapes) for thing in found.things] == [
        ["Ann", "Bob"], ["Ann", "Bob"], ["Ann"], ["Bob"],
    ]  # fmt: skip
    assert [thing.is_one_category for thing in found.things] == [True, False, True, True]
    assert [found.agrees(thing, 0.9) for thing in found.things] == [True, False, False, False]
    assert (found.people, found.is_complete, found.act) == (("Ann", "Bob"), True, "")
    agreement = pairwise([found])[("Ann", "Bob")]
    assert (agreement.matched, agreement.first_only, agreement.second_only) == (2, 1, 1)
    assert agreement.iou == pytest.approx((58 / 62 + 1) / 2)


def test_merging_takes_what_was_chosen_of_each(
    studio: Studio, merging: Merging, image: int
) -> None:
    layers = studio.store.list_layers(image)
    found = merging.compared(image)
    merging.merge(image, chosen(found, CONSENSUS, "Bob", "Ann", LEAVE), "Rita")
    first, second, third = heads(studio.store, image)
    own = {name: [one.draft for one in mine] for name, mine in layers.items()}
    between = halfway(own["Ann"][0].rle, own["Bob"][0].rle)  # type: ignore[arg-type]
    assert first.draft == replace(own["Ann"][0], state=State.ACCEPTED, rle=between,
                                  box=(11.0, 10.0, 71.0, 70.0))  # fmt: skip
    assert second.draft == replace(own["Bob"][1], state=State.ACCEPTED)
    assert third.draft == replace(own["Ann"][2], state=State.ACCEPTED)
    assert {(one.person, one.reason.split()[0], one.version) for one in heads(
        studio.store, image)} == {("Rita", "consensus", 1)}  # fmt: skip
    assert studio.store.list_layers(image) == layers
    (entry, *_) = studio.store.list_audit(limit=5)
    assert (entry.person, entry.act, entry.subject, entry.detail["masks"]) == (
        "Rita", "merge", "coffee.png", 3,
    )  # fmt: skip


def test_agreement_stays_that_of_what_was_drawn_unseen(
    studio: Studio, merging: Merging, image: int
) -> None:
    before = pairwise(list(merging.each(1)))
    found = merging.compared(image)
    merging.merge(image, chosen(found, "Ann", "Ann", "Ann", LEAVE), "Rita")
    (one, *_) = heads(studio.store, image)
    gone = replace(one.draft, state=State.REJECTED)
    studio.store.save_instance(one.id, gone, 1, "Rita", "reject", NOW)
    assert pairwise(list(merging.each(1))) == before


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param((CONSENSUS, CONSENSUS, "Ann", "Bob"), id="of two kinds"),
        pytest.param((CONSENSUS, "Ann", CONSENSUS, "Bob"), id="of one alone"),
        pytest.param((CONSENSUS, "Ann", "Bob", "Bob"), id="of one who has none"),
        pytest.param((CONSENSUS, "Ann", "Ann", "Eve"), id="of a stranger"),
        pytest.param((CONSENSUS, "Ann", "Ann", ""), id="of nobody"),
    ],
)
def test_what_cannot_be_chosen_changes_nothing(
    studio: Studio, merging: Merging, image: int, choices: tuple[str, ...]
) -> None:
    found = merging.compared(image)
    with pytest.raises(NotAllowed):
        merging.merge(image, chosen(found, *choices), "Rita")
    assert heads(studio.store, image) == []
    assert studio.store.list_merged(1) == {}


def test_every_thing_must_be_decided_and_none_that_is_not_there(
    merging: Merging, image: int
) -> None:
    found = merging.compared(image)
    full = chosen(found, CONSENSUS, "Ann", LEAVE, LEAVE)
    for wrong in ({}, dict(list(full.items())[1:]), full | {"9-abc": LEAVE}):
        with pytest.raises(NotAllowed, match="compare again"):
            merging.merge(image, wrong, "Rita")


def test_whoever_draws_there_and_may_see_the_others_does_not_open_it_again(
    studio: Studio, merging: Merging, image: int
) -> None:
    with pytest.raises(NotAllowed, match="another reviewer"):
        merging.reopen(image, "Ann")
    assert merging.compared(image).is_complete
    merging.reopen(image, "Rita")
    assert not merging.compared(image).is_complete
    (entry,) = [one for one in studio.store.list_audit() if one.act == "reopen"]
    assert (entry.person, entry.subject) == ("Rita", studio.images[0].file_name)


def test_what_was_drawn_anew_since_is_not_merged_unseen(
    studio: Studio, merging: Merging, image: int
) -> None:
    stale = chosen(merging.compared(image), CONSENSUS, "Ann", "Ann", "Bob")
    merging.reopen(image, "Rita")
    (one, *_) = studio.store.list_instances(image, viewer="Ann")
    other = replace(one.draft, rle=square(studio.images[0], 10, 10, 58))
    studio.store.save_instance(one.id, other, one.version, "Ann", "brush", NOW)
    for person in ("Ann", "Bob"):
        studio.store.set_done(image, person, NOW)
    with pytest.raises(NotAllowed, match="compare again"):
        merging.merge(image, stale, "Rita")


# The states: given -> done -> merged, and back


def set_done(studio: Studio, image: int, *people: str) -> None:
    for person in people:
        studio.store.set_done(image, person, NOW)


class TakenBackError(Exception):
    """Ends a transaction without a trace."""


MOVES: dict[str, Callable[[Studio, Merging, int], object]] = {
    "merge": lambda _, m, image: m.merge(
        image, chosen(m.compared(image), *["Ann"] * len(m.compared(image).things)), "Rita"
    ),
    "ann is done": lambda s, _, image: set_done(s, image, "Ann"),
    "ann goes on": lambda s, _, image: s.store.set_done(image, "Ann", None),
    "a third comes": lambda s, _, image: s.store.assign(image, "Cy", "Pat", NOW),
    "bob is withdrawn": lambda s, _, image: s.store.withdraw(image, "Bob", "Pat", NOW),
}


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        pytest.param("given", {"ann is done", "ann goes on", "a third comes", "bob is withdrawn"},
                     id="given"),
        pytest.param("one is done", {"ann is done", "ann goes on", "a third comes",
                                     "bob is withdrawn"}, id="one is done"),
        pytest.param("all are done", {"merge", "bob is withdrawn"}, id="all are done"),
        pytest.param("merged", set(), id="merged"),
        pytest.param("undone", {"merge", "bob is withdrawn"}, id="merged and undone"),
    ],
)  # fmt: skip
def test_the_states_and_what_may_follow(
    studio: Studio, merging: Merging, state: str, allowed: set[str]
) -> None:
    image = both(studio, 0, ANN[:1], BOB[:1])
    if state in ("given", "one is done"):
        merging.reopen(image, "Rita")
        set_done(studio, image, *["Ann"] * (state == "one is done"))
    if state in ("merged", "undone"):
        act = merging.merge(image, chosen(merging.compared(image), "Ann"), "Rita")
        if state == "undone":
            assert merging.undo(1, act, "Rita") == 1
    told = {}
    for name, move in MOVES.items():  # each from the same state
        with suppress(TakenBackError), studio.store.transaction():
            try:
                move(studio, merging, image)
            except NotAllowed as error:
                told[name] = str(error)
            raise TakenBackError
    assert MOVES.keys() - told.keys() == allowed
    assert all(told.values())


# All that agree


def test_all_that_agree_are_merged_at_once_and_one_undo_takes_it_back(
    studio: Studio, merging: Merging
) -> None:
    alike = both(studio, 0, ANN[:1], BOB[:1])
    empty = both(studio, 1, [], [])
    torn = both(studio, 2, ANN, BOB)
    preview = merging.preview(1, 0.9)
    assert (dict(preview.ready), preview.open) == ({alike: 1, empty: 0}, [torn])
    act, count = merging.merge_all(1, 0.9, "Rita")
    assert count == 2
    assert set(studio.store.list_merged(1)) == {alike, empty}
    assert len(heads(studio.store, alike)) == 1
    assert merging.preview(1, 0.9).ready == {}
    assert merging.undo(1, act, "Rita") == 2
    (entry, *_) = studio.store.list_audit(limit=1)
    assert (entry.person, entry.act, entry.detail) == (
        "Rita", "merge.undo", {"act": act, "images": [alike, empty]},
    )  # fmt: skip
    assert heads(studio.store, alike) == []
    assert merging.preview(1, 0.9) == preview


def test_what_was_reopened_since_it_was_looked_at_stays_and_the_rest_is_merged(
    studio: Studio, merging: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are merged one by one: nobody's save has to wait for all of them."""
    images = [both(studio, place, ANN[:1], BOB[:1]) for place in (0, 1)]
    look = Merging.preview

    def reopened(self: Merging, project_id: int, least: float) -> Preview:
        found = look(self, project_id, least)
        self.reopen(images[0], "Rita")
        return found

    monkeypatch.setattr(Merging, "preview", reopened)
    act, count = merging.merge_all(1, 0.5, "Rita")
    assert count == 1
    assert studio.store.list_merged(1) == {images[1]: act}


def test_the_least_iou_decides_who_agrees(studio: Studio, merging: Merging) -> None:
    image = both(studio, 0, ANN[:1], BOB[:1])  # IoU 58 / 62
    assert merging.preview(1, 58 / 62).ready == {image: 1}
    assert merging.preview(1, 0.95).open == [image]


def test_what_somebody_changed_since_is_not_undone(studio: Studio, merging: Merging) -> None:
    image = both(studio, 0, ANN[:1], BOB[:1])
    act, _ = merging.merge_all(1, 0.5, "Rita")
    (one,) = heads(studio.store, image)
    kept = studio.store.save_instance(
        one.id, replace(one.draft, state=State.CORRECTED), 1, "Dan", "brush", NOW
    )
    assert merging.undo(1, act, "Rita") == 0
    assert heads(studio.store, image) == [kept]


def test_an_undo_takes_nothing_along_that_somebody_added_since(
    studio: Studio, merging: Merging
) -> None:
    image = both(studio, 0, ANN[:1], BOB[:1])
    act, _ = merging.merge_all(1, 0.5, "Rita")
    (one,) = heads(studio.store, image)
    drawn = studio.store.add_instance(
        image, replace(one.draft, state=State.CORRECTED), "Dan", "polygon", NOW
    )
    assert merging.undo(1, act, "Rita") == 0
    assert heads(studio.store, image) == [one, drawn]


def test_an_undo_waits_while_somebody_works_on_the_image(studio: Studio, merging: Merging) -> None:
    image = both(studio, 0, ANN[:1], BOB[:1])
    act, _ = merging.merge_all(1, 0.5, "Rita")
    studio.store.take_lease(image, "Dan", NOW)
    assert merging.undo(1, act, "Rita") == 0
    assert merging.undo(1, act, "Dan") == 1


def test_a_proposal_that_is_left_undecided_is_a_person_s_to_look_at(
    studio: Studio, merging: Merging
) -> None:
    studio.add(1)
    image = both(studio, 1, ANN[:1], BOB[:1])
    assert merging.compared(image).undecided == {"Ann": 1, "Bob": 1}
    assert merging.preview(1, 0.5).open == [image]


# Who may look


@pytest.mark.parametrize(
    ("viewer", "before", "after"),
    [
        pytest.param(RITA, True, True, id="a reviewer"),
        pytest.param(Viewer("Ann", reviews=True), False, True, id="a reviewer who is one of them"),
        pytest.param(Viewer("Ann", reviews=False), False, False, id="one of them"),
        pytest.param(Viewer("Dan", reviews=False), False, False, id="an annotator"),
    ],
)
def test_a_comparison_is_sealed(
    studio: Studio, merging: Merging, image: int, viewer: Viewer, before: bool, after: bool
) -> None:
    for is_complete, may in ((False, before), (True, after)):
        merging.reopen(image, "Rita")
        if is_complete:
            set_done(studio, image, "Ann", "Bob")
        if may:
            assert merging.compared(image, viewer).is_complete == is_complete
        else:
            with pytest.raises(NotAllowed, match="not there to be compared"):
                merging.compared(image, viewer)
        assert [one.image_id for one in merging.each(1, viewer)] == [image] * (may and is_complete)


def test_one_person_s_image_is_not_compared(studio: Studio, merging: Merging) -> None:
    draw(studio, 0, "Ann")
    with pytest.raises(NotAllowed, match="two people must do it"):
        merging.compared(studio.images[0].id)
    assert list(merging.each(1)) == []


def test_three_people_merge_by_the_majority(studio: Studio, merging: Merging) -> None:
    key = studio.images[0].id
    for person in ("Ann", "Bob", "Cy"):
        studio.store.assign(key, person, "Pat", NOW)
    draw(studio, 0, "Ann", (10, 10, 60, 0))
    draw(studio, 0, "Bob", (12, 10, 60, 0))
    draw(studio, 0, "Cy", (14, 10, 60, 0))
    set_done(studio, key, "Ann", "Bob", "Cy")
    merging.merge_all(1, 0.8, "Rita")
    (one,) = heads(studio.store, key)
    assert one.draft.rle == square(studio.images[0], 12, 10, 60)
    assert sorted(pairwise(list(merging.each(1)))) == [("Ann", "Bob"), ("Ann", "Cy"), ("Bob", "Cy")]
