"""What a fine-tune may learn from, and who judges it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NotAllowed
from app.learning import Labels, check_enough, choose_splits, gather, snapshot
from app.records import Category, Draft, Image, Instance, Split, State
from mal_core.masks import RLE
from tests.studio.conftest import NOW

CATEGORY, OTHER = Category(7, 1, 3, "leaf", "#009e73"), Category(8, 1, 4, "pod", "#009e73")
FULL = RLE.from_coco({"size": [10, 20], "counts": [0, 200]})
HALF = RLE.from_coco({"size": [10, 20], "counts": [100, 100]})
EMPTY = RLE.from_coco({"size": [10, 20], "counts": [200]})
HASHES = st.text("0123456789abcdef", min_size=4, max_size=4)
NEW = st.lists(HASHES, min_size=2, max_size=40, unique=True)
SPLITS = st.sampled_from([None, *Split])
PATHS = {1: Path("ab/1.png"), 2: Path("cd/2.png")}


def image(key: int, sha256: str = "", split: Split | None = None) -> Image:
    number = 100 + key
    return Image(
        key, 1, number, f"{key}.png", sha256 or str(key), "", "png", 20, 10, split, "", NOW
    )


def instance(
    image_id: int, number: int, state: State, rle: RLE | None = FULL, category: int = CATEGORY.id
) -> Instance:
    draft = Draft(state, category, (0, 0, 20, 10), rle)
    return Instance(1000 + number, image_id, number, 1, draft, "Ada", "", NOW)


def pairs_of(counts: Sequence[int], state: State = State.ACCEPTED) -> list[tuple[Image, Instance]]:
    """As many instances on each image as the counts say."""
    return [
        (image(key), instance(key, 10 * key + n, state))
        for key, count in enumerate(counts, start=1)
        for n in range(count)
    ]


def labelled(images: Sequence[Image]) -> list[Labels]:
    """Images with a reviewed mask each."""
    return [Labels(i, [instance(i.id, i.number, State.ACCEPTED)]) for i in images]


def split(images: Sequence[Image]) -> dict[int, Split]:
    return dict(choose_splits(labelled(images)))


def freeze(images: Sequence[Image]) -> list[Image]:
    """The images after their parts were stored."""
    splits = split(images)
    return [replace(image, split=splits[image.id]) for image in images]


@given(NEW)
def test_new_images_are_shared_out_so_that_about_a_quarter_is_held_out(hashes: list[str]) -> None:
    splits = split([image(key, sha256) for key, sha256 in enumerate(hashes, start=1)])
    held_out = sum(part is Split.HELD_OUT for part in splits.values())
    assert abs(held_out - len(hashes) / 4) < 1
    assert set(splits.values()) == set(Split)


@given(NEW, st.randoms())
def test_names_and_order_of_upload_do_not_matter(hashes: list[str], random: Random) -> None:
    images = [image(key, sha256) for key, sha256 in enumerate(hashes, start=1)]
    shuffled = [replace(i, id=i.id + 500, file_name="other") for i in images]
    random.shuffle(shuffled)
    again = split(shuffled)
    assert {key + 500: part for key, part in split(images).items()} == again


@given(st.lists(st.tuples(HASHES, SPLITS), min_size=1, max_size=30, unique_by=lambda p: p[0]))
def test_an_image_that_has_a_part_keeps_it(pairs: list[tuple[str, Split | None]]) -> None:
    images = [image(key, sha256, part) for key, (sha256, part) in enumerate(pairs, start=1)]
    given_parts = {i.id: i.split for i in images if i.split is not None}
    splits = split(images)
    assert given_parts.items() <= splits.items()
    assert splits.keys() == {i.id for i in images}


@given(NEW, NEW)
def test_images_added_later_never_move_the_first(first: list[str], later: list[str]) -> None:
    old = freeze([image(key, sha256) for key, sha256 in enumerate(first, start=1)])
    fresh = [image(100 + n, h) for n, h in enumerate(sorted({*later} - {*first}))]
    splits = split([*fresh, *old])
    assert {i.id: i.split for i in old}.items() <= splits.items()
    held_out = sum(part is Split.HELD_OUT for part in splits.values())
    assert abs(held_out - len(splits) / 4) < 1


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=12), SPLITS)
def test_the_same_pixels_are_never_learned_from_and_judged_by(
    hashes: list[str], part: Split | None
) -> None:
    images = [image(key, sha256) for key, sha256 in enumerate([*hashes, "a", "d"], start=1)]
    images[-2] = replace(images[-2], split=part)
    splits = split(images)
    parts = {(i.sha256, splits[i.id]) for i in images}
    assert len(parts) == len({i.sha256 for i in images})


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=16, max_size=40))
def test_a_quarter_of_each_category_is_held_out_where_images_are_many(
    counts: list[tuple[int, int]],
) -> None:
    """No image is worth more than the slack allowed here: the split can always come this near."""
    known = [
        Labels(image(key, f"{key:04x}"),
               [instance(key, n, State.ACCEPTED) for n in range(leaves)]
               + [instance(key, 50 + n, State.ACCEPTED, category=OTHER.id) for n in range(pods)])
        for key, (leaves, pods) in enumerate(counts, start=1)
    ]  # fmt: skip
    splits = choose_splits(known)
    for place in (0, 1):
        total = sum(pair[place] for pair in counts)
        held = sum(
            pair[place] for key, pair in enumerate(counts, start=1) if splits[key] is Split.HELD_OUT
        )
        assert abs(held - total / 4) <= 6


def test_the_reviewed_images_judge_though_many_have_only_boxes() -> None:
    boxes = [Labels(image(key), boxes=[instance(key, key, State.PROPOSED)]) for key in range(1, 21)]
    reviewed = labelled([image(key) for key in (21, 22)])
    splits = choose_splits([*boxes, *reviewed])
    assert {splits[21], splits[22]} == set(Split)


def test_a_project_without_any_mask_is_split_all_the_same() -> None:
    boxes = [Labels(image(key), boxes=[instance(key, key, State.PROPOSED)]) for key in range(1, 9)]
    assert list(choose_splits(boxes).values()).count(Split.HELD_OUT) == 2


@pytest.mark.parametrize(
    ("state", "rle", "kind"),
    [
        pytest.param(State.ACCEPTED, FULL, "mask", id="accepted"),
        pytest.param(State.CORRECTED, FULL, "mask", id="corrected"),
        pytest.param(State.PROPOSED, FULL, "box", id="proposed"),
        pytest.param(State.PROPOSED, None, "box", id="a bare box"),
        pytest.param(State.REJECTED, FULL, "", id="rejected"),
        pytest.param(State.DELETED, FULL, "", id="deleted"),
        pytest.param(State.ACCEPTED, EMPTY, "", id="an empty mask"),
    ],
)
def test_a_persons_word_makes_a_mask_and_the_models_word_only_a_box(
    state: State, rle: RLE | None, kind: str
) -> None:
    known = gather([(image(9), instance(9, 90, state, rle))])
    found = [("mask", i) for k in known for i in k.masks]
    found += [("box", i) for k in known for i in k.boxes]
    assert [name for name, _ in found] == ([kind] if kind else [])


def test_labels_come_by_image_in_order_of_number() -> None:
    known = gather(reversed(pairs_of([2, 1, 3])))
    assert [(k.image.number, len(k.masks)) for k in known] == [(101, 2), (102, 1), (103, 3)]


@pytest.mark.parametrize(
    ("masks", "boxes", "boxes_do", "words"),
    [
        pytest.param([], [], False, "4 accepted or corrected masks on 2 .*are 0 on 0", id="none"),
        pytest.param([2, 1], [], False, "there are 3 on 2", id="three on two"),
        pytest.param([100], [], False, "there are 100 on 1", id="many on one"),
        pytest.param([2, 1], [9, 9], False, "there are 3 on 2: accept", id="boxes do not count"),
        pytest.param([], [4, 3], True, "8 boxes on 2 images; there are 7 on 2: draw", id="seven"),
        pytest.param([], [9], True, "there are 9 on 1", id="boxes on one image"),
        pytest.param([3, 1], [], False, "", id="four masks on two images"),
        pytest.param([], [4, 4], True, "", id="eight boxes on two images"),
        pytest.param([4], [0, 4], True, "", id="masks count as boxes, too"),
    ],
)
def test_too_little_to_learn_from_is_refused_with_what_there_is(
    masks: list[int], boxes: list[int], boxes_do: bool, words: str
) -> None:
    known = gather([*pairs_of(masks), *pairs_of(boxes, State.PROPOSED)])
    if not words:
        check_enough(known, boxes_do=boxes_do)
        return
    with pytest.raises(NotAllowed, match=words):
        check_enough(known, boxes_do=boxes_do)


def test_a_snapshot_speaks_in_the_numbers_people_see() -> None:
    splits = {1: Split.TRAIN, 2: Split.HELD_OUT}
    parts = snapshot(gather(pairs_of([2, 2])), splits, [CATEGORY], PATHS, {})
    for part, key in ((Split.TRAIN, 1), (Split.HELD_OUT, 2)):
        dataset = parts[part]
        (record,) = dataset.images
        assert (record.id, record.width, record.height) == (100 + key, 20, 10)
        assert record.file_name == PATHS[key].as_posix()
        assert [(c.id, c.name) for c in dataset.categories] == [(3, "leaf")]
        assert [(a.id, a.image_id, a.category_id, a.rle) for a in dataset.annotations] == [
            (10 * key, 100 + key, 3, FULL),
            (10 * key + 1, 100 + key, 3, FULL),
        ]


def test_boxes_without_a_word_teach_as_boxes_and_are_never_judged_by() -> None:
    known = gather([*pairs_of([1, 1]), *pairs_of([2, 2], State.PROPOSED)])
    splits = {1: Split.TRAIN, 2: Split.HELD_OUT}
    parts = snapshot(known, splits, [CATEGORY], PATHS, {})
    assert [a.rle for a in parts[Split.TRAIN].annotations] == [FULL, None, None]
    assert [a.rle for a in parts[Split.HELD_OUT].annotations] == [FULL]


def test_nothing_of_a_held_out_image_is_learned_from() -> None:
    known = gather([*pairs_of([3, 3]), *pairs_of([3, 3], State.PROPOSED)])
    parts = snapshot(known, {1: Split.HELD_OUT, 2: Split.TRAIN}, [CATEGORY], PATHS, {})
    assert {i.file_name for i in parts[Split.TRAIN].images} == {"cd/2.png"}
    assert {a.image_id for a in parts[Split.TRAIN].annotations} == {102}


def test_a_project_labelled_on_held_out_images_alone_has_nothing_to_learn_from() -> None:
    known = gather(pairs_of([3, 3]))
    with pytest.raises(NotAllowed, match="label one more image"):
        snapshot(known, dict.fromkeys((1, 2), Split.HELD_OUT), [CATEGORY], PATHS, {})


def test_a_mask_says_which_pixels_a_person_touched_and_whether_they_vouch_for_it() -> None:
    masks = [
        instance(1, 1, State.ACCEPTED, HALF),  # corrected and accepted
        instance(1, 2, State.CORRECTED, HALF),
        instance(1, 3, State.ACCEPTED, FULL),  # as it was proposed
        instance(1, 4, State.ACCEPTED, FULL),  # drawn without a model
    ]
    proposal = Draft(State.PROPOSED, CATEGORY.id, (0, 0, 20, 10), FULL)
    proposals = {i.id: proposal for i in masks[:3]}
    known = [Labels(image(1), masks)]
    part = snapshot(known, {1: Split.TRAIN}, [CATEGORY], PATHS, proposals)[Split.TRAIN]
    first_half = RLE.from_coco({"size": [10, 20], "counts": [0, 100, 100]}).to_coco()
    assert [a.extra for a in part.annotations] == [
        {"mal_vouched": True, "mal_touched": first_half},
        {"mal_vouched": False, "mal_touched": first_half},
        {"mal_vouched": True},
        {"mal_vouched": True},
    ]
