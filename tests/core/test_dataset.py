"""Training examples show what the predictor would see, and the mask that belongs to it."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from mal_core.coco import Annotation, Dataset, ImageRecord
from mal_core.config import CropConfig
from mal_core.dataset import (
    boxed,
    cell_weights,
    chance_examples,
    edge_distance,
    exact_examples,
    jitter_box,
    labelled,
    load_image,
    mirror,
    pictures_of,
    read_image,
    stack,
    touched,
    training_examples,
)
from mal_core.errors import BadBox, BadDataset, BadImage
from mal_core.finetune_config import FinetuneConfig
from mal_core.geometry import Box, Crop
from mal_core.masks import encode

Draw = Callable[[int, int], Dataset]
CROP = CropConfig(size=64)
RECORD = ImageRecord(1, "a.png", 7, 5)
STILL = FinetuneConfig(box_jitter=0.0, margin_spread=0.0)


def save(path: Path, width: int = 7, height: int = 5, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    PilImage.fromarray(pixels).save(path, **options)
    return path


def test_an_image_is_read_as_rgb(tmp_path: Path) -> None:
    pixels = load_image(save(tmp_path / "a.png").parent, RECORD)
    assert (pixels.shape, pixels.dtype) == ((5, 7, 3), np.uint8)
    assert np.array_equal(pixels, np.asarray(PilImage.open(tmp_path / "a.png")))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA"])
def test_other_kinds_of_colour_become_rgb(tmp_path: Path, mode: str) -> None:
    PilImage.new(mode, (7, 5), 1).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (5, 7, 3)


def test_a_photo_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90 degrees clockwise to show
    PilImage.fromarray(np.zeros((5, 7, 3), np.uint8)).save(tmp_path / "a.png", exif=exif)
    upright = replace(RECORD, width=5, height=7)
    assert load_image(tmp_path, upright).shape == (7, 5, 3)
    with pytest.raises(BadImage, match=r"a\.png is 5x7, but the data set says 7x5"):
        load_image(tmp_path, RECORD)


@pytest.mark.parametrize("name", ["../secret.png", "sub/../../secret.png", "link.png"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    save(tmp_path / "secret.png")
    inside = tmp_path / "images"
    save(inside / "sub" / "a.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(BadImage, match="leaves the image folder"):
        load_image(inside, replace(RECORD, file_name=name))


def test_an_absolute_name_is_refused(tmp_path: Path) -> None:
    secret = save(tmp_path / "secret.png")
    (tmp_path / "images").mkdir()
    with pytest.raises(BadImage, match="leaves the image folder"):
        load_image(tmp_path / "images", replace(RECORD, file_name=str(secret)))


def test_an_image_in_a_subfolder_is_found(tmp_path: Path) -> None:
    save(tmp_path / "sub" / "a.png")
    assert load_image(tmp_path, replace(RECORD, file_name="sub/a.png")).shape == (5, 7, 3)


@pytest.mark.filterwarnings("ignore:Truncated File Read")  # Pillow says so of a TIFF as well
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_a_damaged_image_is_refused(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "a.png", width=40, height=30, format=kind)
    whole = path.read_bytes()
    assert read_image(path).shape == (30, 40, 3)
    for share in (0.0, 0.02, 0.6):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(BadImage, match=r"cannot read a\.png"):
            read_image(path)


def test_what_is_no_image_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    save(tmp_path / "a.png", format="GIF")
    for path in (tmp_path / n for n in ("a.jpg", "a.png", ".", "missing.png")):
        with pytest.raises(BadImage, match="cannot read"):
            read_image(path)


def test_an_image_too_large_to_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PilImage, "MAX_IMAGE_PIXELS", 16)
    with pytest.raises(BadImage, match="decompression bomb"):
        read_image(save(tmp_path / "a.png"))


def test_only_masks_of_single_objects_count() -> None:
    mask = encode(np.ones((2, 2), np.bool_), height=5, width=7)
    empty = encode(np.zeros((2, 2), np.bool_), height=5, width=7)
    good = Annotation(1, 1, 1, (0, 0, 2, 2), mask)
    others = [
        replace(good, id=2, rle=None),
        replace(good, id=3, rle=empty),
        replace(good, id=4, iscrowd=True),
    ]
    images = [RECORD, ImageRecord(2, "b.png", 7, 5)]
    alone = replace(others[0], id=5, image_id=2)
    assert labelled(Dataset(images, [], [good, *others, alone])) == [(RECORD, [good])]


def test_the_same_seed_gives_the_same_examples(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(0, 2)
    first, second, other = (
        stack(list(training_examples(data, tmp_path / "images", CROP, FinetuneConfig(seed=seed))))
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(value, vars(second)[name]) for name, value in vars(first).items())
    assert not torch.equal(first.crop, other.crop)


def test_there_are_as_many_views_as_asked_for(draw_dataset: Draw, tmp_path: Path) -> None:
    config = FinetuneConfig(views=3)
    examples = list(training_examples(draw_dataset(0, 2), tmp_path / "images", CROP, config))
    batch = stack(examples)
    assert batch.crop.shape == (12, 3, 64, 64)
    assert batch.planes.shape == (12, 4, 64, 64)
    assert batch.target.shape == batch.weight.shape == (12, 32, 32)
    assert batch.grid.shape == (12, 5, 32, 32)
    assert batch.has_mask.shape == (12,)


def test_every_second_view_is_mirrored(draw_dataset: Draw, tmp_path: Path) -> None:
    views = list(training_examples(draw_dataset(0, 2), tmp_path / "images", CROP, STILL))
    for plain, mirrored in zip(views[::2], views[1::2], strict=True):
        for name in ("crop", "planes", "target"):
            assert torch.equal(getattr(mirrored, name), getattr(plain, name).flip(-1))
        assert not torch.equal(mirrored.crop, plain.crop)
        again = mirror(mirrored)
        assert torch.equal(again.crop, plain.crop)


def test_an_exact_example_is_what_the_predictor_sees(draw_dataset: Draw, tmp_path: Path) -> None:
    data, folder = draw_dataset(0, 1), tmp_path / "images"
    exact = list(exact_examples(data, folder, CROP))
    still = list(training_examples(data, folder, CROP, STILL))[::2]
    for first, second in zip(exact, still, strict=True):
        assert torch.equal(first.crop, second.crop)
        assert torch.equal(first.target, second.target)


def test_the_target_is_the_coverage_of_the_crop_by_the_mask(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    data = draw_dataset(0, 3)
    for example, annotation in zip(
        exact_examples(data, tmp_path / "images", CROP), data.annotations, strict=True
    ):
        assert annotation.rle is not None
        x0, y0, x1, y1 = Crop.around(annotation.box, CROP.margin).window
        share = annotation.rle.area / ((x1 - x0) * (y1 - y0))
        assert float(example.target.mean()) == pytest.approx(share, abs=0.01)
        inside = example.planes[0, ::2, ::2] == 0
        assert float(example.target[inside].max()) < 0.6  # a cell beside the box's edge at most


def test_a_box_that_leaves_its_image_is_clipped(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(0, 1)
    x0, y0, _, _ = data.annotations[0].box
    sticking, clipped = (
        replace(data, annotations=[replace(data.annotations[0], box=box)])
        for box in ((x0, y0, 99.0, 99.0), (x0, y0, 64.0, 64.0))
    )
    first, second = (
        next(iter(exact_examples(d, tmp_path / "images", CROP))) for d in (sticking, clipped)
    )
    assert torch.equal(first.crop, second.crop)
    assert torch.equal(first.planes, second.planes)


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0, 0.5),
    st.sampled_from([(0.0, 0.0, 7.0, 5.0), (6.5, 4.5, 7.0, 5.0), (-3.0, -3.0, 1.0, 99.0)]),
)
def test_a_jittered_box_stays_inside_its_image(seed: int, deviation: float, box: Box) -> None:
    x0, y0, x1, y1 = jitter_box(box, deviation, np.random.default_rng(seed), RECORD)
    assert 0 <= x0 < x1 <= 7
    assert 0 <= y0 < y1 <= 5


def test_jitter_moves_each_side_by_a_share_of_its_length() -> None:
    random, record = np.random.default_rng(0), replace(RECORD, width=10_000, height=10_000)
    box = (4000.0, 4000.0, 6000.0, 4100.0)
    moved = np.array([jitter_box(box, 0.05, random, record) for _ in range(2000)]) - box
    np.testing.assert_allclose(moved.std(0), [100, 5, 100, 5], rtol=0.1)
    np.testing.assert_allclose(moved.mean(0), 0, atol=10)


def test_without_jitter_the_box_is_itself() -> None:
    assert jitter_box((1.0, 1.0, 5.0, 4.0), 0, np.random.default_rng(0), RECORD) == (1, 1, 5, 4)


def test_a_box_outside_its_image_cannot_be_jittered() -> None:
    with pytest.raises(BadBox):
        jitter_box((20.0, 1.0, 25.0, 4.0), 0.01, np.random.default_rng(0), RECORD)


def test_boxes_count_where_masks_are_not_asked_for() -> None:
    mask = encode(np.ones((2, 2), np.bool_), height=5, width=7)
    empty = encode(np.zeros((2, 2), np.bool_), height=5, width=7)
    good = Annotation(1, 1, 1, (0, 0, 2, 2), mask)
    box = replace(good, id=2, rle=None)
    others = [replace(good, id=3, rle=empty), replace(box, id=4, iscrowd=True)]
    assert boxed(Dataset([RECORD], [], [good, box, *others])) == [(RECORD, [good, box])]


def test_a_box_without_a_mask_makes_an_example_without_a_target(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    data = draw_dataset(0, 1)
    bare = replace(data, annotations=[replace(a, rle=None) for a in data.annotations])
    folder = tmp_path / "images"
    pairs = zip(
        training_examples(data, folder, CROP, STILL),
        training_examples(bare, folder, CROP, STILL),
        strict=True,
    )
    for masked, boxed_only in pairs:
        assert bool(masked.has_mask)
        assert not bool(boxed_only.has_mask)
        assert not boxed_only.target.any()
        assert torch.equal(masked.crop, boxed_only.crop)
        assert torch.equal(masked.grid, boxed_only.grid)
        inside = torch.nn.functional.avg_pool2d(boxed_only.planes[:1], 2)[0] > 0.5
        assert torch.equal(boxed_only.grid[3], inside * boxed_only.grid[4])


def half_touched(vouched: bool | None) -> tuple[Annotation, Crop]:
    """A square of 32 x 32 pixels in a crop of 64 cells, one pixel each; its left half touched."""
    square, left = (np.ones((32, width), np.bool_) for width in (32, 16))
    rle, strokes = (encode(m, x0=16, y0=16, height=64, width=64) for m in (square, left))
    extra: dict[str, object] = {"mal_touched": strokes.to_coco()}
    if vouched is not None:
        extra["mal_vouched"] = vouched
    annotation = Annotation(1, 1, 1, (16, 16, 48, 48), rle, extra=extra)
    return annotation, Crop((16.0, 16.0, 48.0, 48.0), (0.0, 0.0, 64.0, 64.0))


def weights_of(annotation: Annotation, window: Crop, config: FinetuneConfig) -> torch.Tensor:
    """Weights, -1 beside the border of the touched pixels, where they are between two values."""
    target = torch.zeros(64, 64)
    target[16:48, 16:48] = 1
    return without_border(cell_weights(annotation, window, target, config))


def without_border(weights: torch.Tensor) -> torch.Tensor:
    """-1 in the two rows or columns along each side of the touched pixels."""
    weights = weights.clone()
    for edge in (16, 48):
        weights[edge - 1 : edge + 1, 15:33] = -1
    for edge in (16, 32):
        weights[15:49, edge - 1 : edge + 1] = -1
    return weights


@pytest.mark.parametrize("vouched", [None, True])
def test_touched_pixels_weigh_more_and_a_vouched_mask_counts_whole(vouched: bool | None) -> None:
    expected = torch.ones(64, 64)
    expected[16:48, 16:32] = 3
    assert torch.equal(weights_of(*half_touched(vouched), STILL), without_border(expected))


def test_an_edge_that_nobody_looked_at_counts_nothing() -> None:
    expected = torch.ones(64, 64)
    for row in range(64):
        for column in range(64):
            # The band of 1.5 cells: centres 0.5 and 1.5 cells from the edge, on both sides.
            across = max(16 - (column + 0.5), column + 0.5 - 48)
            down = max(16 - (row + 0.5), row + 0.5 - 48)
            if max(across, down) >= 0:  # outside: to the nearest cell of the square
                gap = math.hypot(max(across + 0.5, 0), max(down + 0.5, 0)) - 0.5
            else:
                gap = -max(across, down)
            if gap <= 1.5:
                expected[row, column] = 0
    expected[16:48, 16:32] = 3  # the person's own strokes are sure
    weights = weights_of(*half_touched(vouched=False), STILL)
    assert torch.equal(weights, without_border(expected))


def test_the_width_of_the_band_and_the_weight_are_settings() -> None:
    config = replace(STILL, unseen_band=0.0, touched_weight=5.0)
    weights = weights_of(*half_touched(vouched=False), config)
    assert sorted(set(weights.flatten().tolist())) == [-1, 1, 5]


def test_a_view_s_weights_are_mirrored_with_it(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(0, 1)
    first = data.annotations[0]
    assert first.rle is not None
    strokes = {"mal_touched": first.rle.to_coco(), "mal_vouched": False}
    marked = replace(first, extra=strokes)
    data = replace(data, annotations=[marked])
    plain, mirrored = training_examples(data, tmp_path / "images", CROP, STILL)
    assert torch.equal(mirrored.weight, plain.weight.flip(-1))
    assert float(plain.weight.min()) == 0
    assert float(plain.weight.max()) == 3


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        pytest.param({"mal_touched": {"size": [5, 7], "counts": "1"}}, "mal_touched", id="runs"),
        pytest.param({"mal_touched": "all"}, "mal_touched", id="no-runs"),
        pytest.param(
            {"mal_touched": encode(np.ones((2, 2), np.bool_), height=9, width=9).to_coco()},
            "not of its image's size",
            id="size",
        ),
        pytest.param({"mal_vouched": "yes"}, "must be true or false", id="vouched"),
    ],
)
def test_our_own_fields_are_checked(extra: dict[str, object], message: str) -> None:
    mask = encode(np.ones((2, 2), np.bool_), height=5, width=7)
    with pytest.raises(BadDataset, match=f"annotation 8.*{message}"):
        touched(Annotation(8, 1, 1, (0, 0, 2, 2), mask, extra=extra))


@pytest.mark.parametrize("full", [False, True])
def test_a_mask_without_an_edge_has_none_to_doubt(full: bool) -> None:
    assert bool(torch.isinf(edge_distance(torch.full((4, 5), full))).all())


def test_crops_of_other_photos_are_the_same_for_a_seed_and_lie_inside(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg"):
        save(tmp_path / name, width=40, height=30)
    (tmp_path / "notes.txt").write_text("no image")
    paths = pictures_of(tmp_path)
    assert [path.name for path in paths] == ["a.jpg", "b.png"]
    first, second, other = (
        stack(list(chance_examples(paths, 7, CROP, seed))) for seed in (0, 0, 1)
    )
    assert len(first.crop) == 7
    assert torch.equal(first.crop, second.crop)
    assert not torch.equal(first.crop, other.crop)
    assert not first.has_mask.any()
    assert torch.equal(first.grid[:, 3] * first.grid[:, 4], first.grid[:, 3])  # box in image


def test_few_crops_of_many_photos_take_one_of_each(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", width=40, height=30) for n in range(3)]
    paths.append(tmp_path / "missing.png")  # its turn never comes
    assert len(list(chance_examples(paths, 3, CROP, 0))) == 3
