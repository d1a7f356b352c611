"""Who is to do which images: dealing, done, and layers of one's own where two do one."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.assignments import deal, tallies
from app.errors import LeaseLost, NotAllowed
from app.records import Assignment, Instance, Sieve, State, Viewer
from app.store import Store
from mal_core.masks import RLE
from tests.studio.databases import NOW, taken

MASK = RLE.from_coco({"size": [30, 40], "counts": [100, 50, 1050]})


@given(st.integers(0, 60), st.integers(1, 4), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_dealing_is_even_and_gives_the_share_to_two(count: int, crowd: int, share: float) -> None:
    images, people = list(range(count)), [f"p{n}" for n in range(crowd)]
    dealt = deal(images, people, share, {})
    assert dealt == deal(images, people, share, {})
    assert len(set(dealt)) == len(dealt)
    of_image = Counter(image for image, _ in dealt)
    assert set(of_image) == set(images)
    twice = round(share * count) if crowd > 1 else 0
    assert Counter(of_image.values()) == Counter({2: twice, 1: count - twice}) - Counter()
    loads = Counter(person for _, person in dealt)
    assert max((loads[p] for p in people), default=0) - min(loads[p] for p in people) <= 1


def test_dealing_brings_those_up_who_have_less() -> None:
    dealt = deal([1, 2, 3, 4], ["Ann", "Bob"], 0, {"Ann": 3})
    assert [person for _, person in dealt] == ["Bob", "Bob", "Bob", "Ann"]


def test_only_what_nobody_judged_goes_to_two() -> None:
    dealt = deal(list(range(10)), ["Ann", "Bob"], 0.4, {}, frozenset({2, 7}))
    assert {image for image, n in Counter(i for i, _ in dealt).items() if n == 2} == {2, 7}


def test_the_images_of_two_are_spread_over_the_project() -> None:
    dealt = Counter(image for image, _ in deal(list(range(20)), ["Ann", "Bob"], 0.1, {}))
    assert [image for image, n in dealt.items() if n == 2] == [5, 15]


def test_a_tally_says_what_is_left_and_what_is_shared() -> None:
    given = [Assignment(1, "Bob", "Pat", NOW, NOW), Assignment(1, "Ann", "Pat", NOW, None),
             Assignment(2, "Bob", "Pat", NOW, None)]  # fmt: skip
    ann, bob = tallies(given)
    assert (ann.person, ann.images, ann.done, ann.left, ann.shared) == ("Ann", 1, 0, 1, 1)
    assert (bob.person, bob.images, bob.done, bob.left, bob.shared) == ("Bob", 2, 1, 1, 1)


# Over both databases


def give(store: Store, image: int, *people: str) -> None:
    for person in people:
        store.assign(image, person, "Pat", NOW)


def correct(store: Store, one: Instance, person: str) -> Instance:
    draft = replace(one.draft, state=State.CORRECTED, rle=MASK)
    return store.save_instance(one.id, draft, one.version, person, "brush", NOW)


def seen(store: Store, image: int, viewer: str | None) -> list[int]:
    return [one.id for one in store.list_instances(image, viewer=viewer)]


def own(store: Store, image: int, person: str) -> Instance:
    (found,) = store.list_instances(image, viewer=person)
    return found


def test_an_assignment_reads_back_and_is_given_once(store: Store, leaf: Instance) -> None:
    assert store.assign(leaf.image_id, "Ann", "Pat", NOW)
    assert not store.assign(leaf.image_id, "Ann", "Rita", NOW)
    assert store.list_assignments(1) == [Assignment(leaf.image_id, "Ann", "Pat", NOW, None)]
    assert store.withdraw(leaf.image_id, "Ann", "Pat", NOW)
    assert not store.withdraw(leaf.image_id, "Ann", "Pat", NOW)
    assert store.list_assignments(1) == []


def test_one_person_s_image_stays_everybody_s(store: Store, leaf: Instance) -> None:
    give(store, leaf.image_id, "Ann")
    assert store.find_blind(leaf.image_id) is None
    for viewer in (None, "Ann", "Bob"):
        assert seen(store, leaf.image_id, viewer) == [leaf.id]


def test_of_two_people_each_gets_a_copy_and_nobody_else_sees_any(
    store: Store, leaf: Instance
) -> None:
    image = leaf.image_id
    give(store, image, "Ann", "Bob")
    ann, bob = own(store, image, "Ann"), own(store, image, "Bob")
    assert len({leaf.id, ann.id, bob.id}) == 3
    assert ann.draft == bob.draft == leaf.draft
    for viewer in (None, "", "Cy", "Pat"):
        assert seen(store, image, viewer) == []
    mine = correct(store, ann, "Ann")
    assert own(store, image, "Ann") == mine
    assert own(store, image, "Bob") == bob
    made = store.add_instance(image, mine.draft, "Bob", "polygon", NOW)
    assert seen(store, image, "Bob") == [bob.id, made.id]
    assert seen(store, image, "Ann") == [ann.id]


def test_lists_counts_and_exports_hold_nothing_of_a_layer(store: Store, leaf: Instance) -> None:
    image = leaf.image_id
    give(store, image, "Ann", "Bob")
    for person in ("Ann", "Bob"):
        correct(store, own(store, image, person), person)
    every = frozenset(State)
    assert store.list_sketches(1) == []
    assert sum(store.list_images(1)[0].counts.values()) == 0
    assert list(store.list_project_instances(1, every)) == []
    assert list(store.list_project_revisions(1)) == []
    assert store.list_image_revisions(image) == []
    assert [pairs for *_, pairs in store.list_sheets(1, every, "coco")] == [[]]
    assert store.list_images(1, "Ann")[0].counts[State.CORRECTED] == 1
    assert [one.person for one in store.list_sketches(1, "Ann")] == ["Ann"]
    assert {one.person for one in store.list_image_revisions(image, "Bob")} == {"Pat", "Bob"}


SEES = (
    (None, {"Ada", "Pat", "Ann", "Bob"}),  # the machine itself
    (Viewer("Rita", reviews=True), {"Ada", "Pat", "Ann", "Bob"}),
    (Viewer("Ann", reviews=True), {"Ada", "Pat", "Ann"}),  # a reviewer who is one of the two
    (Viewer("Bob", reviews=False), {"Ada", "Pat", "Bob"}),
    (Viewer("Cy", reviews=False), {"Ada"}),  # another annotator
)


def test_the_history_is_sealed_to_those_who_annotate(store: Store, leaf: Instance) -> None:
    image = leaf.image_id
    give(store, image, "Ann", "Bob")
    for person in ("Ann", "Bob"):
        one = correct(store, own(store, image, person), person)
        store.add_comment(image, one.id, person, "mine", NOW)
        store.add_comment(image, None, person, "hard", NOW)
    for viewer, people in SEES:
        lines = list(store.list_lines(1, Sieve(), viewer=viewer))
        assert {line.person for line in lines} == people, viewer
        said = {one.person for one in store.list_comments(image, viewer)}
        assert said == people & {"Ann", "Bob"}, viewer
        assert bool(said) == (store.newest_comment(image, viewer) > 0), viewer
        if viewer is not None:
            found = {p for p in ("Ann", "Bob") if store.may_see(own(store, image, p).id, viewer)}
            assert found == said, viewer


def test_when_all_are_done_a_reviewer_among_them_sees_both_and_nobody_adds(
    store: Store, leaf: Instance
) -> None:
    image, ann = leaf.image_id, Viewer("Ann", reviews=True)
    give(store, image, "Ann", "Bob")
    hers, his = own(store, image, "Ann"), own(store, image, "Bob")
    store.set_done(image, "Ann", NOW)
    assert not store.may_see(his.id, ann)
    correct(store, hers, "Ann")  # until the other one is done, too
    store.set_done(image, "Ann", None)
    for person in ("Ann", "Bob"):
        store.set_done(image, person, NOW)
    assert store.may_see(his.id, ann)
    assert not store.may_see(hers.id, Viewer("Bob", reviews=False))
    with pytest.raises(NotAllowed, match="reviewer is to merge"):
        store.add_instance(image, his.draft, "Bob", "polygon", NOW)
    with pytest.raises(NotAllowed, match="all who annotate"):
        store.set_done(image, "Bob", None)
    with pytest.raises(LeaseLost, match="have said that they are done") as late:
        correct(store, his, "Bob")
    assert store.get_revision(late.value.kept or 0).draft.rle == MASK
    store.reopen(image)
    correct(store, his, "Bob")


def test_nobody_writes_in_another_one_s_layer(store: Store, leaf: Instance) -> None:
    give(store, leaf.image_id, "Ann", "Bob")
    with pytest.raises(NotAllowed, match="is Ann's own"):
        correct(store, own(store, leaf.image_id, "Ann"), "Bob")
    with pytest.raises(NotAllowed, match="annotated blind by Ann and Bob"):
        store.add_instance(leaf.image_id, leaf.draft, "Cy", "polygon", NOW)
    with pytest.raises(LeaseLost, match="given to others"):
        correct(store, leaf, "Cy")  # who had opened it before
    assert store.list_revisions(leaf.id)[-1].is_conflict


def test_two_must_begin_unseen(store: Store, leaf: Instance) -> None:
    give(store, leaf.image_id, "Ann")
    states = (State.CORRECTED, State.ACCEPTED, State.REJECTED)
    for version, state in enumerate(states, start=1):
        draft = replace(leaf.draft, state=state, rle=MASK)
        store.save_instance(leaf.id, draft, version, "Ann", "brush", NOW)
        with pytest.raises(NotAllowed, match="must begin unseen"):
            give(store, leaf.image_id, "Bob")
    assert seen(store, leaf.image_id, None) == [leaf.id]


def test_who_works_there_is_not_disturbed(store: Store, leaf: Instance) -> None:
    give(store, leaf.image_id, "Ann")
    store.take_lease(leaf.image_id, "Ann", NOW)
    with pytest.raises(NotAllowed, match="Ann works on it now"):
        give(store, leaf.image_id, "Bob")
    assert store.assign(leaf.image_id, "Bob", "Ann", NOW)  # who gives it away herself


def test_who_has_left_is_not_disturbed(store: Store, leaf: Instance) -> None:
    give(store, leaf.image_id, "Ann")
    store.take_lease(leaf.image_id, "Ann", NOW)
    assert store.assign(leaf.image_id, "Bob", "Pat", NOW + timedelta(minutes=2))


def test_of_two_of_whom_one_is_withdrawn_the_other_one_s_masks_are_everybody_s(
    store: Store, leaf: Instance
) -> None:
    image = leaf.image_id
    give(store, image, "Ann", "Bob")
    hers = correct(store, own(store, image, "Ann"), "Ann")
    his = correct(store, own(store, image, "Bob"), "Bob")
    store.withdraw(image, "Ann", "Pat", NOW)
    assert store.find_blind(image) is None
    for viewer in (None, "Ann", "Bob"):
        assert seen(store, image, viewer) == [his.id]
    assert store.get_instance(hers.id) == hers  # it stays in the history
    assert store.get_instance(leaf.id).draft.state is State.DELETED


def test_a_third_takes_the_place_of_one_of_two(store: Store, leaf: Instance) -> None:
    image = leaf.image_id
    give(store, image, "Ann", "Bob")
    correct(store, own(store, image, "Bob"), "Bob")
    give(store, image, "Cy")
    store.withdraw(image, "Bob", "Pat", NOW)
    blind = store.find_blind(image)
    assert blind is not None
    assert blind.people == ("Ann", "Cy")
    assert own(store, image, "Cy").draft == leaf.draft
    assert seen(store, image, "Bob") == []
    give(store, image, "Bob")  # and finds what he had
    assert own(store, image, "Bob").draft.state is State.CORRECTED


def test_merging_puts_one_in_place_of_both_and_undo_brings_both_back(
    store: Store, leaf: Instance
) -> None:
    image = leaf.image_id
    give(store, image, "Ann", "Bob")
    hers = correct(store, own(store, image, "Ann"), "Ann")
    with pytest.raises(NotAllowed, match="all have said"):
        store.merge(image, [hers.draft], "Rita", "consensus 1", "1", NOW)
    for person in ("Ann", "Bob"):
        store.set_done(image, person, NOW)
    layers = store.list_layers(image)
    (one,) = store.merge(image, [hers.draft], "Rita", "consensus 1", "1", NOW)
    for viewer in (None, "Ann", "Bob", "Rita"):
        assert seen(store, image, viewer) == [one.id]
    assert store.list_layers(image) == layers
    assert store.list_merged(1) == {image: "1"}
    for act in (
        lambda: store.merge(image, [], "Rita", "consensus 2", "2", NOW),
        lambda: store.withdraw(image, "Ann", "Pat", NOW),
        lambda: store.set_done(image, "Ann", None),
        lambda: store.assign(image, "Cy", "Pat", NOW),
    ):
        with pytest.raises(NotAllowed):
            act()
    with pytest.raises(LeaseLost, match="merged meanwhile"):
        correct(store, layers["Bob"][0], "Bob")
    assert store.undo_merge(1, "1", "Rita", "consensus 1", NOW) == [image]
    assert store.list_merged(1) == {}
    assert seen(store, image, None) == []
    assert seen(store, image, "Ann") == [hers.id]
    assert store.list_layers(image) == layers
    (again,) = store.merge(image, [hers.draft], "Rita", "consensus 2", "2", NOW)
    correct(store, again, "Rita")
    assert store.undo_merge(1, "2", "Rita", "consensus 2", NOW) == []
    assert list(store.find_troubles()) == []


def test_images_of_other_projects_and_plain_ones_are_left_alone(
    store: Store, leaf: Instance
) -> None:
    other, _ = store.add_image(1, taken("b"), NOW)
    kept = store.add_instance(other.id, leaf.draft, "Ada", "box", NOW)
    give(store, leaf.image_id, "Ann", "Bob")
    assert seen(store, other.id, None) == [kept.id]
    assert [one.image_id for one in store.list_sketches(1, "Cy")] == [other.id]
    assert [blind.image_id for blind in store.list_blind(1)] == [leaf.image_id]
