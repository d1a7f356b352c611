"""The store: what it keeps, what it refuses, and what a race leaves behind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import NotAllowed, NotFound
from app.records import (
    Draft,
    Image,
    ModelState,
    NewInstance,
    NewModel,
    Project,
    Split,
    State,
)
from app.store import Store
from mal_core.errors import BadBox, BadMask, InputError
from mal_core.masks import RLE
from tests.studio.databases import taken

NOW = datetime(2026, 11, 23, 6, 0, 0, 123456, tzinfo=UTC)
MASK = RLE.from_coco({"size": [30, 40], "counts": [100, 50, 1050]})


@pytest.fixture
def project(store: Store) -> Project:
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    return store.add_project("Leaves", model.id, NOW)


@pytest.fixture
def image(store: Store, project: Project) -> Image:
    return store.add_image(project.id, taken("a"), NOW)[0]


@pytest.fixture
def leaf(store: Store, project: Project) -> Draft:
    category = store.add_category(project.id, "leaf")
    return Draft(State.PROPOSED, category.id, (1.0, 2.0, 30.5, 20.25), MASK, 0.9, True)


def other_project(store: Store) -> Project:
    return store.add_project("Other", store.list_models(1)[0].id, NOW)


# Projects and categories


def test_a_project_reads_back_as_it_was_added(store: Store, project: Project) -> None:
    assert store.get_project(project.id) == project
    assert store.list_projects() == [project]
    assert (project.name, project.created_at) == ("Leaves", NOW)


def test_a_renamed_project_keeps_all_else(store: Store, project: Project) -> None:
    assert store.rename_project(project.id, " Twigs ") == replace(project, name="Twigs")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201, "bell\a"])
def test_a_name_that_does_not_fit_on_a_line_is_refused(
    store: Store, project: Project, name: str
) -> None:
    for act in (store.rename_project, store.add_category):
        with pytest.raises(InputError, match="printable characters"):
            act(project.id, name)


def test_a_category_name_is_taken_once_whatever_its_case_and_alphabet(
    store: Store, project: Project
) -> None:
    first = store.add_category(project.id, "Öl Straße")
    assert store.add_category(project.id, "öL STRASSE") == first
    assert store.list_categories(project.id) == [first]


def test_a_category_cannot_be_renamed_to_another_but_its_case_can_change(
    store: Store, project: Project
) -> None:
    leaf, twig = (store.add_category(project.id, name) for name in ("leaf", "twig"))
    with pytest.raises(InputError, match="a category 'leaf' already"):
        store.rename_category(twig.id, "LEAF")
    assert store.rename_category(leaf.id, "Leaf") == replace(leaf, name="Leaf")


def test_two_projects_number_and_colour_their_categories_alike(
    store: Store, project: Project
) -> None:
    mine = store.add_category(project.id, "leaf")
    other = store.add_category(other_project(store).id, "leaf")
    assert (mine.number, mine.color) == (other.number, other.color) == (1, "#e69f00")
    assert mine.id != other.id


# Images


def test_the_same_upload_is_taken_once_a_project(
    store: Store, project: Project, image: Image
) -> None:
    renamed = replace(taken("a"), file_name="copy.png")
    assert store.add_image(project.id, renamed, NOW) == (image, False)
    assert store.add_image(other_project(store).id, renamed, NOW)[1]


def test_images_are_listed_with_their_instances_counted_by_state(
    store: Store, project: Project, image: Image, leaf: Draft
) -> None:
    empty, _ = store.add_image(project.id, taken("b"), NOW)
    for state in (State.PROPOSED, State.ACCEPTED, State.ACCEPTED):
        last = store.add_instance(image.id, replace(leaf, state=state), "me", "", NOW)
    store.save_instance(last.id, replace(leaf, state=State.DELETED), 1, "me", "", NOW)
    found = store.list_images(project.id)
    assert [summary.image for summary in found] == [image, empty]
    counts = {"proposed": 1, "accepted": 1, "corrected": 0, "rejected": 0}
    assert [dict(s.counts) for s in found] == [counts, dict.fromkeys(counts, 0)]


def test_a_split_is_set_once_and_never_changes(
    store: Store, project: Project, image: Image
) -> None:
    new, _ = store.add_image(project.id, taken("b"), NOW)
    store.set_splits(project.id, {image.id: Split.HELD_OUT})
    after = store.set_splits(project.id, {image.id: Split.TRAIN, new.id: Split.TRAIN})
    assert [i.split for i in after] == [Split.HELD_OUT, Split.TRAIN]


def test_a_split_is_not_set_for_an_image_of_another_project(store: Store, image: Image) -> None:
    store.set_splits(other_project(store).id, {image.id: Split.TRAIN})
    assert store.get_image(image.id).split is None


def test_an_image_s_newest_revision_is_another_after_each_act_on_it_and_no_other(
    store: Store, project: Project, image: Image, leaf: Draft
) -> None:
    second = store.add_image(project.id, taken("b"), NOW)[0]
    assert store.list_newest_revisions(project.id) == {}
    first = store.add_instance(image.id, leaf, "Ada", "box", NOW)
    other = store.list_newest_revisions(project.id)
    store.add_instance(second.id, leaf, "Ada", "box", NOW)
    seen = [store.list_newest_revisions(project.id)]
    assert seen[0][image.id] == other[image.id]
    store.add_instance(image.id, leaf, "Ada", "box", NOW)
    seen.append(store.list_newest_revisions(project.id))
    for version, state in enumerate((State.ACCEPTED, State.DELETED), start=1):
        store.save_instance(first.id, replace(leaf, state=state), version, "Ada", "act", NOW)
        seen.append(store.list_newest_revisions(project.id))
    assert len({one[image.id] for one in seen}) == len(seen)
    assert len({one[second.id] for one in seen}) == 1
    with pytest.raises(NotFound):
        store.list_newest_revisions(99)


# Instances


def test_an_instance_reads_back_as_it_was_saved(store: Store, image: Image, leaf: Draft) -> None:
    draft = replace(leaf, model_id=1)
    added = store.add_instance(image.id, draft, "Ada", "box", NOW)
    assert store.get_instance(added.id) == added
    assert (added.draft, added.person, added.reason) == (draft, "Ada", "box")
    assert (added.version, added.number, added.saved_at) == (1, 1, NOW)


def test_a_save_moves_the_head_and_keeps_the_history(
    store: Store, image: Image, leaf: Draft
) -> None:
    added = store.add_instance(image.id, leaf, "Ada", "box", NOW)
    better = replace(leaf, state=State.CORRECTED, box=(0.0, 0.0, 40.0, 30.0))
    saved = store.save_instance(added.id, better, 1, "Bo", "brush", NOW + timedelta(seconds=1))
    assert (saved.version, saved.number, saved.draft) == (2, added.number, better)
    history = store.list_revisions(added.id)
    assert [(r.version, r.draft, r.person) for r in history] == [
        (1, leaf, "Ada"),
        (2, better, "Bo"),
    ]


def test_a_deleted_instance_is_hidden_and_can_come_back(
    store: Store, image: Image, leaf: Draft
) -> None:
    added = store.add_instance(image.id, leaf, "me", "", NOW)
    gone = store.save_instance(added.id, replace(leaf, state=State.DELETED), 1, "me", "", NOW)
    assert store.list_instances(image.id) == []
    assert store.list_instances(image.id, include_deleted=True) == [gone]
    store.save_instance(added.id, leaf, 2, "me", "undo", NOW)
    assert [i.draft for i in store.list_instances(image.id)] == [leaf]


def test_numbers_are_given_once_a_project_and_not_again_after_deletion(
    store: Store, image: Image, leaf: Draft
) -> None:
    first = store.add_instance(image.id, leaf, "me", "", NOW)
    store.save_instance(first.id, replace(leaf, state=State.DELETED), 1, "me", "", NOW)
    more = store.add_instances([NewInstance(image.id, leaf)] * 2, "me", "", NOW)
    assert [i.number for i in more] == [2, 3]


def test_a_project_streams_its_instances_in_the_states_asked_for(
    store: Store, project: Project, image: Image, leaf: Draft
) -> None:
    second, _ = store.add_image(project.id, taken("b"), NOW)
    for owner, state in ((second, State.ACCEPTED), (image, State.PROPOSED), (image, "corrected")):
        store.add_instance(owner.id, replace(leaf, state=State(state)), "me", "", NOW)
    found = store.list_project_instances(project.id, {State.ACCEPTED, State.CORRECTED})
    assert [(i.id, instance.number) for i, instance in found] == [(second.id, 1), (image.id, 3)]


def test_adding_many_is_all_or_nothing(store: Store, image: Image, leaf: Draft) -> None:
    outside = replace(leaf, box=(0.0, 0.0, 41.0, 30.0))
    with pytest.raises(BadBox):
        store.add_instances([NewInstance(image.id, d) for d in (leaf, outside)], "me", "", NOW)
    assert store.list_instances(image.id) == []
    assert store.add_instance(image.id, leaf, "me", "", NOW).number == 1


def test_calls_in_one_transaction_are_all_or_nothing(
    store: Store, project: Project, image: Image, leaf: Draft
) -> None:
    def add_and_fail() -> None:
        with store.transaction():
            store.add_category(project.id, "twig")
            store.add_instance(image.id, leaf, "me", "", NOW)
            raise KeyError

    with pytest.raises(KeyError):
        add_and_fail()
    assert [c.name for c in store.list_categories(project.id)] == ["leaf"]
    assert store.list_instances(image.id) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"box": (0.0, 0.0, 40.5, 30.0)}, BadBox, id="box outside the image"),
        pytest.param(
            {"rle": RLE.from_coco({"size": [40, 30], "counts": [1200]})}, BadMask, id="mask turned"
        ),
        pytest.param({"category_id": 999}, NotFound, id="unknown category"),
        pytest.param({"category_id": 10**30}, NotFound, id="category beyond all numbers"),
        pytest.param({"model_id": 999}, NotFound, id="unknown model"),
        pytest.param({"state": State.ACCEPTED, "rle": None}, NotAllowed, id="accepted, no mask"),
        pytest.param({"state": State.DELETED}, NotAllowed, id="born deleted"),
    ],
)
def test_a_draft_that_does_not_fit_is_refused(
    store: Store, image: Image, leaf: Draft, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.add_instance(image.id, replace(leaf, **changes), "me", "", NOW)
    assert store.list_instances(image.id) == []


def test_a_category_or_image_of_another_project_is_refused(
    store: Store, image: Image, leaf: Draft
) -> None:
    other = other_project(store)
    foreign = store.add_category(other.id, "leaf")
    with pytest.raises(NotAllowed, match="belongs to another project"):
        store.add_instance(image.id, replace(leaf, category_id=foreign.id), "me", "", NOW)
    theirs, _ = store.add_image(other.id, taken("a"), NOW)
    both = [NewInstance(image.id, leaf), NewInstance(theirs.id, leaf)]
    with pytest.raises(NotAllowed, match="one project"):
        store.add_instances(both, "me", "", NOW)


@pytest.mark.parametrize("version", [0, -1, 2, 10**30])
def test_a_version_that_never_was_is_refused(
    store: Store, image: Image, leaf: Draft, version: int
) -> None:
    added = store.add_instance(image.id, leaf, "me", "", NOW)
    with pytest.raises(NotAllowed, match="version must be one of 1 to 1"):
        store.save_instance(added.id, leaf, version, "me", "", NOW)


@pytest.mark.parametrize("key", [0, -1, 999, 10**30])
@pytest.mark.parametrize("act", ["project", "image", "instance", "job", "model"])
def test_what_is_not_there_is_not_found(store: Store, act: str, key: int) -> None:
    with pytest.raises(NotFound, match=str(key)):
        getattr(store, f"get_{act}")(key)


def test_a_time_without_a_zone_is_a_callers_mistake(store: Store, project: Project) -> None:
    with pytest.raises(Exception, match="must carry a zone"):
        store.add_image(project.id, taken("a"), NOW.replace(tzinfo=None))
