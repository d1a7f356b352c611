"""Run-length codes: equal to pycocotools where they are masks, refused where they are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mal_core.errors import BadMask
from mal_core.masks import (
    RLE,
    Mask,
    decode,
    decode_crop,
    decode_rect,
    difference,
    encode,
    iou,
    polygons_to_rle,
)

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

HEIGHT, WIDTH = 100, 80
STRIPES = coco_mask.encode(
    np.asfortranarray((np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 7 == 0).astype(np.uint8))
)["counts"].decode()


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    return np.random.default_rng(seed).random((height, width)) < share


def coco_encode(mask: Mask) -> dict[str, object]:
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": packed["size"], "counts": packed["counts"].decode()}


def pack(runs: list[int]) -> str:
    """Write runs as COCO does, whatever they are: the same code for good and bad ones."""
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != -1 if bits & 16 else value != 0
            text += chr(bits + 32 * more + 48)
    return text


@given(masks())
def test_encoding_equals_pycocotools(mask: Mask) -> None:
    height, width = mask.shape
    assert encode(mask, height=height, width=width).to_coco() == coco_encode(mask)


@given(masks())
def test_decoding_gives_the_mask_back(mask: Mask) -> None:
    rle = RLE.from_coco(coco_encode(mask))
    assert np.array_equal(decode(rle), mask)


@given(masks(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_shifted_crop_encodes_as_the_whole_image(
    mask: Mask, left: int, top: int, right: int, bottom: int
) -> None:
    whole = np.pad(mask, ((top, bottom), (left, right)))
    height, width = whole.shape
    assert encode(mask, x0=left, y0=top, height=height, width=width).to_coco() == coco_encode(whole)


@given(masks())
def test_area_and_box_equal_pycocotools(mask: Mask) -> None:
    rle = RLE.from_coco(coco_encode(mask))
    assert rle.area == int(coco_mask.area(rle.to_coco()))
    if rle.box is None:
        assert not mask.any()
        return
    x0, y0, x1, y1 = rle.box
    assert [x0, y0, x1 - x0, y1 - y0] == coco_mask.toBbox(rle.to_coco()).tolist()


@given(masks())
def test_the_decoded_crop_is_the_tight_part_of_the_mask(mask: Mask) -> None:
    height, width = mask.shape
    crop, x0, y0 = decode_crop(encode(mask, height=height, width=width))
    rebuilt = np.zeros_like(mask)
    rebuilt[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = crop
    assert np.array_equal(rebuilt, mask)
    if crop.size:
        edges = (crop[0], crop[-1], crop[:, 0], crop[:, -1])
        assert all(edge.any() for edge in edges)


@given(masks())
def test_runs_as_text_bytes_or_list_are_the_same_mask(mask: Mask) -> None:
    rle = RLE.from_coco(coco_encode(mask))
    size = [rle.height, rle.width]
    for counts in (rle.counts, rle.counts.encode(), rle.runs.tolist()):
        assert RLE.from_coco({"size": size, "counts": counts}) == rle


@given(masks(), st.data())
def test_empty_runs_in_between_do_not_change_the_mask(mask: Mask, data: st.DataObject) -> None:
    rle = RLE.from_coco(coco_encode(mask))
    runs = rle.runs.tolist()
    at = data.draw(st.integers(0, len(runs) - 1))
    part = data.draw(st.integers(0, runs[at]))
    split = [*runs[:at], part, 0, runs[at] - part, *runs[at + 1 :]]
    size = [rle.height, rle.width]
    assert RLE.from_coco({"size": size, "counts": split}) == rle
    assert RLE.from_coco({"size": size, "counts": pack(split)}) == rle


@given(masks(), st.integers(0, 2**32 - 1))
def test_iou_equals_its_definition(first: Mask, seed: int) -> None:
    second = np.random.default_rng(seed).random(first.shape) < 0.5
    height, width = first.shape
    union = (first | second).sum()
    expected = (first & second).sum() / union if union else 1.0
    rles = (encode(mask, height=height, width=width) for mask in (first, second))
    assert iou(*rles) == pytest.approx(expected)


@given(masks(), st.integers(0, 2**32 - 1))
def test_a_difference_is_what_one_mask_has_and_the_other_lacks(first: Mask, seed: int) -> None:
    second = np.random.default_rng(seed).random(first.shape) < 0.5
    height, width = first.shape
    one, other, apart = (
        encode(mask, height=height, width=width) for mask in (first, second, first ^ second)
    )
    assert difference(one, other) == difference(other, one) == apart
    assert difference(one, apart) == other


def test_a_difference_of_masks_of_different_images_is_a_mistake() -> None:
    one, other = (encode(np.ones((2, 2), np.bool_), height=side, width=4) for side in (4, 5))
    with pytest.raises(ValueError, match="sizes differ"):
        difference(one, other)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_text_is_one_mask_or_refused(text: str) -> None:
    try:
        rle = RLE.from_coco({"size": [9, 7], "counts": text})
    except BadMask:
        return
    assert decode(rle).shape == (9, 7)
    assert int(coco_mask.area(rle.to_coco())) == rle.area


@given(st.lists(st.integers(-(2**40), 2**40), max_size=8))
def test_any_list_of_runs_is_one_mask_or_refused(runs: list[int]) -> None:
    fits = all(run >= 0 for run in runs) and sum(runs) == 63
    for counts in (runs, pack(runs)):
        try:
            rle = RLE.from_coco({"size": [9, 7], "counts": counts})
        except BadMask:
            assert not fits
        else:
            assert fits
            assert rle.area == sum(runs[1::2])


COUNTS: dict[str, object] = {
    "truncated in half": STRIPES[: len(STRIPES) // 2],
    "truncated by a number": STRIPES[:-1],
    "doubled": STRIPES * 2,
    "ends in the middle of a number": "o",
    "a number without end": "o" * 200,
    "empty text": "",
    "empty bytes": b"",
    "empty list": [],
    "missing": None,
    "a number": 5,
    "a fraction": 0.5,
    "true": True,
    "an object": {},
    "a tuple": (10, 7990),
    "bytes above ascii": bytes(range(128, 256)),
    "bytes of all kinds": bytes((i * 73) % 256 for i in range(300)),
    "nul inside": STRIPES[:10] + "\0" + STRIPES[10:],
    "nul behind": STRIPES + "\0",
    "newline behind": STRIPES + "\n",
    "space inside": STRIPES[:10] + " " + STRIPES[10:],
    "slash, below the alphabet": "/" + STRIPES,
    "p, above the alphabet": STRIPES + "p",
    "accents": "\u00e9\u4e2d",
    "emoji": "\U0001f600",
    "lone surrogate": "0\ud800",
    "html": "<script>alert(1)</script>",
    "json": '{"size": [1, 1]}',
    "one huge run": "0ooooo7",
    "negative first run": "@@@@",
    "one too few": pack([0, 7999]),
    "one too many": pack([0, 8001]),
    "ten million too many": pack([0, 10_000_000]),
    "two thousand million": pack([0, 2_000_000_000]),
    "wraps at 2^32 to the sum": pack([0, 2**32 - 1, 8001]),
    "wraps at 2^32 exactly": pack([2**32 + 8000]),
    "wraps at 2^64": pack([2**64 + 8000]),
    "negative run in the middle": pack([10, 20, -30, 8000]),
    "negative run that sums right": pack([8010, -10]),
    "most negative": pack([-(2**31), 2**31 + 8000]),
    "zeros only": pack([0, 0, 0, 0]),
    "only a continuation and its end": "o0",
    "list one too few": [0, 7999],
    "list one too many": [0, 8001],
    "list negative": [-10, 8010],
    "list negative in the middle": [10, -20, 8010],
    "list of 2^31": [0, 2**31],
    "list of 2^40": [0, 2**40],
    "list of 2^80": [0, 2**80],
    "list that wraps at 2^64": [2**63, 2**63, 8000],
    "list of floats": [0.5, 7999.5],
    "list of whole floats": [10.0, 7990.0],
    "list of nan": [float("nan"), 8000],
    "list of infinity": [float("inf")],
    "list of text": ["10", "7990"],
    "list of none": [None, 8000],
    "list of booleans": [True, 7999],
    "list of lists": [[10, 7990]],
}
SIZES: dict[str, object] = {
    "missing": None,
    "text": "100x80",
    "one number": 8000,
    "one side": [100],
    "three sides": [100, 80, 1],
    "smaller": [10, 8],
    "larger": [1000, 800],
    "zero": [0, 0],
    "one zero": [0, 8000],
    "negative": [-100, 80],
    "both negative": [-100, -80],
    "too large": [100_000, 100_000],
    "one above the limit": [16385, 1],
    "2^16": [65536, 65536],
    "2^31": [2**31, 2],
    "2^32 more": [2**32 + 100, 80],
    "2^64": [2**64, 80],
    "fractions": [100.5, 80.0],
    "whole floats": [100.0, 80.0],
    "nan": [float("nan"), 80],
    "texts": ["100", "80"],
    "booleans": [True, 80],
    "nones": [None, None],
    "nested": [[100], [80]],
}


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
def test_counts_that_are_no_mask_of_their_size_are_refused(counts: object) -> None:
    with pytest.raises(BadMask):
        RLE.from_coco({"size": [HEIGHT, WIDTH], "counts": counts})


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("counts", [STRIPES, [10, 7990]], ids=["text", "list"])
def test_a_size_that_is_none_or_another_is_refused(size: object, counts: object) -> None:
    with pytest.raises(BadMask):
        RLE.from_coco({"size": size, "counts": counts})


@pytest.mark.parametrize("value", [None, [], "", 5, STRIPES, [[1, 2, 3]]], ids=repr)
def test_what_is_not_an_object_is_refused(value: object) -> None:
    with pytest.raises(BadMask):
        RLE.from_coco(value)


def test_polygons_fill_the_union_of_what_they_enclose() -> None:
    first, second = [10, 10, 30, 10, 30, 40, 10, 40], [20, 30, 50, 30, 50, 60, 20, 60]
    expected = np.zeros((HEIGHT, WIDTH), np.bool_)
    expected[10:40, 10:30] = expected[30:60, 20:50] = True
    assert np.array_equal(decode(polygons_to_rle([first, second], HEIGHT, WIDTH)), expected)


POLYGONS: dict[str, list[object]] = {
    "none": [],
    "no point": [[]],
    "two points": [[1, 1, 2, 2]],
    "half a point": [[1, 1, 2, 2, 3, 3, 4]],
    "nan": [[1, 1, 2, 2, 3, float("nan")]],
    "infinity": [[1, 1, 2, 2, 3, float("inf")]],
    "far away": [[1, 1, 2, 2, 3, 1e9]],
    "text": [["1", 1, 2, 2, 3, 3]],
    "none inside": [[None, 1, 2, 2, 3, 3]],
    "good and bad": [[1, 1, 9, 9, 1, 9], [1, 1]],
}


@pytest.mark.parametrize("polygons", POLYGONS.values(), ids=POLYGONS.keys())
def test_polygons_that_enclose_nothing_are_refused(polygons: list[list[float]]) -> None:
    with pytest.raises(BadMask):
        polygons_to_rle(polygons, HEIGHT, WIDTH)


def test_a_crop_that_leaves_the_image_is_a_callers_mistake() -> None:
    with pytest.raises(ValueError, match="leaves the"):
        encode(np.ones((3, 3), np.bool_), x0=6, height=9, width=8)


def test_runs_whose_sum_would_wrap_around_are_refused() -> None:
    # Each number is the difference from the one two before: 30 bits a step pass 2**63 in time.
    with pytest.raises(BadMask, match="must sum to"):
        RLE.from_coco({"size": [16384, 16384], "counts": "ooooo?" * 400_000})


@pytest.mark.parametrize("seed", range(4))
def test_a_rectangle_of_a_mask_is_that_part_of_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((17, 23), np.bool_)
    mask[4:12, 6:15] = random.random((8, 9)) < 0.5
    rle = encode(mask, height=17, width=23)
    for _ in range(20):
        (x0, x1), (y0, y1) = (np.sort(random.choice(n + 1, 2, False)).tolist() for n in (23, 17))
        assert np.array_equal(decode_rect(rle, (x0, y0, x1, y1)), mask[y0:y1, x0:x1])
