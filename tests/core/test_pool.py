"""Images are decoded once, bad ones are named and left out, instances are drawn by weight."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mal_core.coco import Dataset
from mal_core.dataset import load_image
from mal_core.errors import TrainingError
from mal_core.pool import Pictures, Pool, Problem, Source, decode, fingerprint

Draw = Callable[[int, int], Dataset]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


@pytest.fixture
def source(draw_dataset: Draw, tmp_path: Path) -> Source:
    return Source(draw_dataset(0, 3), tmp_path / "images")


def fill(sources: list[Source], kept: Path, longest: int = 1024) -> list[Problem | None]:
    return list(decode(sources, kept, longest))


def boxes_only(dataset: Dataset) -> Dataset:
    return replace(dataset, annotations=[replace(a, rle=None) for a in dataset.annotations])


def test_the_kept_pixels_are_the_decoded_ones(source: Source, kept: Path) -> None:
    assert fill([source], kept) == [None, None, None]
    pictures = Pictures(kept)
    for number, record in enumerate(source.dataset.images):
        np.testing.assert_array_equal(pictures.get(number), load_image(source.folder, record))


def test_a_large_image_is_kept_small_and_says_its_scale(source: Source, kept: Path) -> None:
    fill([source], kept, longest=32)
    pool = Pool([source], Pictures(kept), 0, "mixed")
    image, scale = pool.picture(pool.items[0])
    assert image.shape == (32, 32, 3)
    assert scale == 0.5


def test_kept_pixels_are_used_again_until_a_file_changes(source: Source, kept: Path) -> None:
    fill([source], kept)
    before = (kept / "pictures.raw").stat().st_mtime_ns
    assert fill([source], kept) == [None, None, None]
    assert (kept / "pictures.raw").stat().st_mtime_ns == before
    (source.folder / "1.png").write_bytes(b"now damaged")
    problems = fill([source], kept)
    assert [p is None for p in problems] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("0.png", b"", "cannot read 0.png", id="empty"),
        pytest.param("1.png", b"\x89PNG\r\n\x1a\n torn", "cannot read 1.png", id="torn"),
        pytest.param("2.png", None, "cannot read 2.png", id="missing"),
    ],
)
def test_a_bad_image_is_named_and_the_others_are_used(
    source: Source, kept: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is None:
        (source.folder / name).unlink()
    else:
        (source.folder / name).write_bytes(content)
    (problem,) = [p for p in fill([source], kept) if p]
    assert problem.file_name == name
    assert reason in problem.reason
    pool = Pool([source], Pictures(kept), 0, "mixed")
    assert {item.record.file_name for item in pool.items} == {"0.png", "1.png", "2.png"} - {name}


def test_an_image_of_another_size_is_left_out(source: Source, kept: Path) -> None:
    first = replace(source.dataset.images[0], width=63)
    data = replace(source.dataset, images=[first, *source.dataset.images[1:]], annotations=[])
    (problem,) = [p for p in fill([replace(source, dataset=data)], kept) if p]
    assert "64x64, but the data set says 63x64" in problem.reason


def test_a_full_disk_is_a_training_error(
    source: Source, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mal_core.pool.write_whole", refuse)
    with pytest.raises(TrainingError, match="No space left"):
        fill([source], kept)


def test_sources_are_drawn_by_weight_and_instances_evenly(
    draw_dataset: Draw, tmp_path: Path, kept: Path
) -> None:
    folder = tmp_path / "images"
    sources = [Source(draw_dataset(0, 1), folder, 3.0), Source(draw_dataset(1, 4), folder, 1.0)]
    fill(sources, kept)
    pool = Pool(sources, Pictures(kept), 0, "mixed")
    random = np.random.default_rng(0)
    drawn = [pool.draw(random).record.file_name for _ in range(4000)]
    assert drawn.count("0.png") / 4000 == pytest.approx(0.75, abs=0.03)
    assert drawn.count("3.png") / 4000 == pytest.approx(0.0625, abs=0.02)


def test_boxes_alone_hide_the_masks_and_masks_alone_leave_boxes_out(
    source: Source, kept: Path
) -> None:
    half = [replace(a, rle=None) if a.id % 2 else a for a in source.dataset.annotations]
    mixed = replace(source, dataset=replace(source.dataset, annotations=half))
    fill([mixed], kept)
    pools = {kind: Pool([mixed], Pictures(kept), 0, kind) for kind in ("mixed", "boxes", "masks")}
    assert {kind: len(pool) for kind, pool in pools.items()} == {"mixed": 6, "boxes": 6, "masks": 3}
    assert {k: p.n_masks for k, p in pools.items()} == {"mixed": 3, "boxes": 0, "masks": 3}


def test_crowds_and_small_boxes_are_left_out(source: Source, kept: Path) -> None:
    fill([source], kept)
    first, *others = source.dataset.annotations
    crowd = replace(source.dataset, annotations=[replace(first, iscrowd=True), *others])
    assert len(Pool([replace(source, dataset=crowd)], Pictures(kept), 0, "mixed")) == 5
    with pytest.raises(TrainingError, match="no box of 5000 square pixels"):
        Pool([source], Pictures(kept), 5000, "mixed")


def test_no_mask_and_no_weight_are_said(source: Source, kept: Path) -> None:
    fill([source], kept)
    bare = replace(source, dataset=boxes_only(source.dataset))
    with pytest.raises(TrainingError, match="no mask"):
        Pool([bare], Pictures(kept), 0, "masks")
    with pytest.raises(TrainingError, match="no box"):
        Pool([replace(source, weight=0.0)], Pictures(kept), 0, "mixed")


def test_the_fingerprint_tells_data_and_weights_apart(source: Source) -> None:
    other = replace(source, dataset=boxes_only(source.dataset))
    prints = {fingerprint([s]) for s in (source, other, replace(source, weight=2.0))}
    assert len(prints) == 3
    assert fingerprint([source]) == fingerprint([replace(source)])
