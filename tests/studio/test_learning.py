"""What a fine-tune may learn from, and when its result may be used."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NotAllowed
from app.learning import choose_splits, judge, reviewed_masks, snapshot
from app.records import Category, Draft, Image, Instance, Split, State
from mal_core.masks import RLE
from tests.studio.conftest import NOW

CATEGORY = Category(7, 1, 3, "leaf", "#009e73")
FULL = RLE.from_coco({"size": [10, 20], "counts": [0, 200]})
EMPTY = RLE.from_coco({"size": [10, 20], "counts": [200]})
HASHES = st.text("0123456789abcdef", min_size=4, max_size=4)
NEW = st.lists(HASHES, min_size=2, max_size=40, unique=True)
SPLITS = st.sampled_from([None, *Split])


def image(key: int, sha256: str = "", split: Split | None = None) -> Image:
    number = 100 + key
    return Image(
        key, 1, number, f"{key}.png", sha256 or str(key), "", "png", 20, 10, split, "", NOW
    )


def instance(image_id: int, number: int, state: State, rle: RLE | None = FULL) -> Instance:
    draft = Draft(state, CATEGORY.id, (0, 0, 20, 10), rle)
    return Instance(1000 + number, image_id, number, 1, draft, "Ada", "", NOW)


def masks(counts: Sequence[int], state: State = State.ACCEPTED) -> list[tuple[Image, Instance]]:
    """As many masks on each image as the counts say."""
    return [
        (image(key), instance(key, 10 * key + n, state))
        for key, count in enumerate(counts, start=1)
        for n in range(count)
    ]


def freeze(images: Sequence[Image]) -> list[Image]:
    """The images after their parts were stored."""
    splits = choose_splits(images)
    return [replace(image, split=splits[image.id]) for image in images]


@given(NEW)
def test_new_images_are_shared_out_so_that_about_a_quarter_is_held_out(hashes: list[str]) -> None:
    splits = choose_splits([image(key, sha256) for key, sha256 in enumerate(hashes, start=1)])
    held_out = sum(split is Split.HELD_OUT for split in splits.values())
    assert abs(held_out - len(hashes) / 4) < 1
    assert set(splits.values()) == set(Split)


@given(NEW, st.randoms())
def test_names_and_order_of_upload_do_not_matter(hashes: list[str], random: Random) -> None:
    images = [image(key, sha256) for key, sha256 in enumerate(hashes, start=1)]
    shuffled = [replace(i, id=i.id + 500, file_name="other") for i in images]
    random.shuffle(shuffled)
    again = choose_splits(shuffled)
    assert {key + 500: split for key, split in choose_splits(images).items()} == again


@given(st.lists(st.tuples(HASHES, SPLITS), min_size=2, max_size=30, unique_by=lambda p: p[0]))
def test_an_image_that_has_a_part_keeps_it(pairs: list[tuple[str, Split | None]]) -> None:
    images = [image(key, sha256, split) for key, (sha256, split) in enumerate(pairs, start=1)]
    given_parts = {i.id: i.split for i in images if i.split is not None}
    try:
        splits = choose_splits(images)
    except NotAllowed:  # nothing is left to decide, and all is of one kind
        assert None not in [i.split for i in images]
        assert len(set(given_parts.values())) == 1
    else:
        assert given_parts.items() <= splits.items()
        assert splits.keys() == {i.id for i in images}
        assert set(splits.values()) == set(Split)


@given(NEW, NEW)
def test_images_added_later_never_move_the_first(first: list[str], later: list[str]) -> None:
    old = freeze([image(key, sha256) for key, sha256 in enumerate(first, start=1)])
    fresh = [image(100 + n, h) for n, h in enumerate(sorted({*later} - {*first}))]
    splits = choose_splits([*fresh, *old])
    assert {i.id: i.split for i in old}.items() <= splits.items()
    held_out = sum(split is Split.HELD_OUT for split in splits.values())
    assert abs(held_out - len(splits) / 4) < 1


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=12), SPLITS)
def test_the_same_pixels_are_never_learned_from_and_judged_by(
    hashes: list[str], split: Split | None
) -> None:
    images = [image(key, sha256) for key, sha256 in enumerate([*hashes, "a", "d"], start=1)]
    images[-2] = replace(images[-2], split=split)
    splits = choose_splits(images)
    parts = {(i.sha256, splits[i.id]) for i in images}
    assert len(parts) == len({i.sha256 for i in images})


@pytest.mark.parametrize("split", Split)
def test_images_of_one_kind_alone_are_refused(split: Split) -> None:
    with pytest.raises(NotAllowed, match="one more image"):
        choose_splits([image(1, split=split), image(2, split=split)])


def test_reviewed_masks_come_by_image_in_order_of_number() -> None:
    pairs = masks([2, 1, 3])
    labelled = reviewed_masks(reversed(pairs))
    assert [found.number for found, _ in labelled] == [101, 102, 103]
    assert [len(instances) for _, instances in labelled] == [2, 1, 3]


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param([], id="none"),
        pytest.param([2, 1], id="three on two images"),
        pytest.param([4], id="four on one image"),
        pytest.param([100], id="many on one image"),
    ],
)
def test_too_few_masks_or_images_are_refused_with_what_there_is(counts: list[int]) -> None:
    text = f"needs 4 .* on 2 images; there are {sum(counts)} on {len(counts)}"
    with pytest.raises(NotAllowed, match=text):
        reviewed_masks(masks(counts))


@pytest.mark.parametrize("counts", [[3, 1], [1, 1, 1, 1]])
def test_four_masks_on_two_images_are_enough(counts: list[int]) -> None:
    assert len(reviewed_masks(masks(counts))) == len(counts)


@pytest.mark.parametrize(
    ("state", "rle", "counted"),
    [
        pytest.param(State.ACCEPTED, FULL, True, id="accepted"),
        pytest.param(State.CORRECTED, FULL, True, id="corrected"),
        pytest.param(State.PROPOSED, FULL, False, id="proposed"),
        pytest.param(State.REJECTED, FULL, False, id="rejected"),
        pytest.param(State.DELETED, FULL, False, id="deleted"),
        pytest.param(State.ACCEPTED, EMPTY, False, id="an empty mask"),
        pytest.param(State.ACCEPTED, None, False, id="no mask"),
    ],
)
def test_only_a_persons_word_about_a_pixel_is_learned_from(
    state: State, rle: RLE | None, counted: bool
) -> None:
    other = (image(9), instance(9, 90, state, rle))
    labelled = reviewed_masks([*masks([2, 2]), other])
    assert any(found.id == 9 for found, _ in labelled) == counted


def test_a_snapshot_speaks_in_the_numbers_people_see() -> None:
    labelled = reviewed_masks(masks([2, 2]))
    splits = {1: Split.TRAIN, 2: Split.HELD_OUT}
    parts = snapshot(labelled, splits, [CATEGORY], {1: Path("ab/1.png"), 2: Path("cd/2.png")})
    for part, key in ((Split.TRAIN, 1), (Split.HELD_OUT, 2)):
        dataset = parts[part]
        (record,) = dataset.images
        assert (record.id, record.width, record.height) == (100 + key, 20, 10)
        assert record.file_name == f"{'ab' if key == 1 else 'cd'}/{key}.png"
        assert [(c.id, c.name) for c in dataset.categories] == [(3, "leaf")]
        assert [(a.id, a.image_id, a.category_id, a.rle) for a in dataset.annotations] == [
            (10 * key, 100 + key, 3, FULL),
            (10 * key + 1, 100 + key, 3, FULL),
        ]


@pytest.mark.parametrize(
    ("before", "after", "best_epoch", "promoted", "reason"),
    [
        pytest.param(0.5, 0.75, 3, True, "0.5000 -> 0.7500 on 9 masks", id="better"),
        pytest.param(0.5, 0.5, 3, True, "not worse", id="equal"),
        pytest.param(0.5, 0.4999, 3, False, "worse than the model in use", id="worse"),
        pytest.param(0.5, 0.5, 0, False, "no epoch beat", id="the parent itself"),
        pytest.param(0.5, 0.75, 0, False, "no epoch beat", id="better by the parent's own weights"),
        pytest.param(0.5, float("nan"), 3, False, "worse", id="after is not a number"),
        pytest.param(float("nan"), 0.5, 3, False, "worse", id="before is not a number"),
    ],
)
def test_only_weights_that_are_not_worse_pass(
    before: float, after: float, best_epoch: int, promoted: bool, reason: str
) -> None:
    figures = {"before": {"instance_iou": before}, "after": {"instance_iou": after, "n": 9}}
    verdict = judge(figures | {"best_epoch": best_epoch})
    assert verdict.promoted is promoted
    assert reason in verdict.reason
