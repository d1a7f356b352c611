"""One shard: done twice it is the same and costs nothing; what fails is asked for again, alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset, ImageRecord
from mal_core.config import LabelConfig
from mal_core.dataset import load_image
from mal_core.errors import BadImage, InputError
from mal_core.geometry import Box, Image
from mal_core.labeller import NO_MEMORY, Labeller, label_shard
from mal_core.predictor import Prediction, Predictor
from mal_core.shards import ERROR, Shard, Shelf, cut

IMAGES = 3


@pytest.fixture
def labeller(tiny: Checkpoint) -> Labeller:
    return Labeller(Predictor(tiny, torch.device("cpu")), LabelConfig(0.493, relabel=True))


@pytest.fixture
def shard(draw_dataset: Callable[[int, int], Dataset], labeller: Labeller) -> Shard:
    dataset = draw_dataset(0, IMAGES)
    (shard,) = cut(labeller.work(dataset), dataset.categories, labeller.header)
    return shard


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "shards")
    assert shelf.names() == set()
    return shelf


class Files:
    """Image files of which some cannot be read, and what was asked for."""

    def __init__(self, folder: Path, bad: Sequence[int] = ()) -> None:
        self._folder = folder
        self._bad = bad
        self.asked: list[int] = []

    def load(self, record: ImageRecord) -> Image:
        self.asked.append(record.id)
        if record.id in self._bad:
            raise BadImage("gone")
        return load_image(self._folder, record)


def test_a_shard_done_twice_is_the_same_and_asks_for_nothing(
    shard: Shard, labeller: Labeller, shelf: Shelf, tmp_path: Path
) -> None:
    files = Files(tmp_path / "images")
    report = label_shard(shard, labeller, files.load, shelf)
    (path,) = (tmp_path / "shards").iterdir()
    content = path.read_bytes()
    assert files.asked == list(range(IMAGES))
    assert label_shard(shard, labeller, files.load, shelf) == report
    assert files.asked == list(range(IMAGES))
    assert path.read_bytes() == content
    assert report["images"][0] == {"file_name": "0.png", "boxes": 2, "failed": []}


def test_only_images_that_failed_are_asked_for_again(
    shard: Shard, labeller: Labeller, shelf: Shelf, tmp_path: Path
) -> None:
    report = label_shard(shard, labeller, Files(tmp_path / "images", [1]).load, shelf)
    assert report["images"][1]["failed"] == [
        {"annotation": key, "reason": "gone"} for key in (3, 4)
    ]
    files = Files(tmp_path / "images")
    label_shard(shard, labeller, files.load, shelf)
    assert files.asked == [1]
    again = shelf.get(shard.name)
    other = Shelf(tmp_path / "other")
    assert other.names() == set()
    label_shard(shard, labeller, files.load, other)
    assert other.get(shard.name) == again


def test_an_image_too_large_for_the_memory_fails_alone(
    shard: Shard,
    labeller: Labeller,
    shelf: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict = Predictor.predict
    calls: list[int] = []

    def run_short(self: Predictor, image: Image, boxes: Sequence[Box]) -> Prediction:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return predict(self, image, boxes)

    monkeypatch.setattr(Predictor, "predict", run_short)
    label_shard(shard, labeller, Files(tmp_path / "images").load, shelf)
    answers = shelf.get(shard.name)
    assert [a[ERROR] for a in answers[1]] == [NO_MEMORY] * 2
    assert all(ERROR not in a for key in (0, 2) for a in answers[key])


def test_a_shard_of_other_weights_is_refused(
    shard: Shard, labeller: Labeller, shelf: Shelf, tmp_path: Path
) -> None:
    other = replace(labeller.predictor.checkpoint, sha256="1" * 64)
    stranger = replace(labeller, predictor=Predictor(other, torch.device("cpu")))
    with pytest.raises(InputError, match="not those of the run"):
        label_shard(shard, stranger, Files(tmp_path / "images").load, shelf)
    assert shelf.names() == set()
