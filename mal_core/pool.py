"""What training draws from: images decoded once, and instances chosen by number.

Pixels lie in one raw file that is mapped into memory, so that any number of images costs the
memory that is in use only, and every process of a run reads the same copy.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from mal_core import coco
from mal_core.coco import Annotation, Dataset, ImageRecord
from mal_core.dataset import load_image
from mal_core.errors import BadBox, BadImage, TrainingError
from mal_core.files import write_whole
from mal_core.geometry import Image, check_boxes

PIXELS, INDEX = "pictures.raw", "pictures.json"


@dataclass(frozen=True)
class Source:
    """One data set of a run.

    Attributes:
        dataset: its records.
        folder: where its image files are.
        weight: its share of the drawn crops, against the other sources'.
    """

    dataset: Dataset
    folder: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Problem:
    """An image that could not be used; the run goes on without it."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class Item:
    """One instance that can be drawn.

    Attributes:
        picture: its image's number in the pool.
        record: its image as the data set has it.
        annotation: its box, pixels of the image, and its mask or None.
        kind: its source's number and its category there.
    """

    picture: int
    record: ImageRecord
    annotation: Annotation
    kind: tuple[int, int]


class Pictures:
    """Decoded images in one file; `get` is a view of mapped memory."""

    def __init__(self, folder: Path) -> None:
        """Open what `decode` left.

        Raises:
            OSError: there is none.
        """
        self._rows: list[list[int] | None] = json.loads((folder / INDEX).read_bytes())["rows"]
        path = folder / PIXELS
        self._pixels: NDArray[np.uint8] = np.zeros(0, np.uint8)
        if path.stat().st_size:
            self._pixels = np.memmap(path, np.uint8, "r")

    def has(self, number: int) -> bool:
        """Whether an image could be decoded."""
        return self._rows[number] is not None

    def get(self, number: int) -> Image:
        """(h, w, 3) uint8 RGB, read-only; shrunk if the image was larger than the pool's limit."""
        row = self._rows[number]
        assert row is not None
        start, height, width = row
        stop = start + 3 * height * width
        return np.asarray(self._pixels[start:stop]).reshape(height, width, 3)


def decode(sources: Sequence[Source], folder: Path, longest: int) -> Iterator[Problem | None]:
    """Decode every image of the sources once; what an earlier run left there is used again.

    Args:
        sources: the data sets, in the order that numbers their images.
        folder: where the pixels go; it exists.
        longest: larger images are shrunk to this side, pixels.

    Yields:
        One for each image: None, or what is wrong with it.

    Raises:
        TrainingError: the disk refuses.
    """
    key = _key(sources, longest)
    index = folder / INDEX
    if index.exists() and (kept := json.loads(index.read_bytes()))["key"] == key:
        yield from (None if line is None else Problem(*line) for line in kept["problems"])
        return
    index.unlink(missing_ok=True)
    rows: list[list[int] | None] = []
    problems: list[list[str] | None] = []
    try:
        with (folder / PIXELS).open("wb") as file:
            for source in sources:
                for record in source.dataset.images:
                    problem = _append(file, source.folder, record, longest, rows)
                    problems.append([problem.file_name, problem.reason] if problem else None)
                    yield problem
            file.flush()
            os.fsync(file.fileno())
        write_whole(index, json.dumps({"key": key, "rows": rows, "problems": problems}).encode())
    except OSError as error:
        raise TrainingError(f"cannot keep the decoded images: {error.strerror}") from error


def decode_events(
    sources: Sequence[Source], folder: Path, longest: int
) -> Iterator[Mapping[str, Any]]:
    """Decode as `decode` does, and say what happened.

    Yields:
        "skipped" {image, reason} for each image that is left out; "decode" {done, total, skipped}
        every 100 images and at the end.

    Raises:
        TrainingError: the disk refuses.
    """
    total, skipped = sum(len(source.dataset.images) for source in sources), 0
    for done, problem in enumerate(decode(sources, folder, longest), start=1):
        if problem:
            skipped += 1
            yield {"event": "skipped", "image": problem.file_name, "reason": problem.reason}
        if done % 100 == 0 or done == total:
            yield {"event": "decode", "done": done, "total": total, "skipped": skipped}


class Pool:
    """The instances of a run, and which of them the n-th crop shows."""

    def __init__(
        self, sources: Sequence[Source], pictures: Pictures, min_area: float, supervision: str
    ) -> None:
        """Take every single object in an image that could be decoded.

        Args:
            sources: the data sets, as given to `decode`.
            pictures: their pixels.
            min_area: boxes below it are left out, square pixels of the image.
            supervision: "mixed", "boxes" (no mask is looked at) or "masks" (only what has one).

        Raises:
            TrainingError: nothing is left, or all weights are zero.
        """
        self.items: list[Item] = []
        shares: list[float] = []
        first = 0
        for number, source in enumerate(sources):
            items = _items(source.dataset, pictures, first, min_area, number)
            mine = [i for i in items if i.annotation.rle or supervision != "masks"]
            self.items += mine
            shares += [source.weight / max(1, len(mine))] * len(mine)
            first += len(source.dataset.images)
        total = sum(shares)
        if not total > 0:
            kind = "mask" if supervision == "masks" else "box"
            raise TrainingError(f"there is no {kind} of {min_area:g} square pixels to learn from")
        self._edges = np.cumsum(np.array(shares) / total)
        self._pictures = pictures
        self.supervision = supervision
        self._masked: dict[tuple[int, int], list[Item]] = {}
        for item in self.items:
            if item.annotation.rle is not None and item.annotation.rle.area:
                self._masked.setdefault(item.kind, []).append(item)

    @property
    def n_masks(self) -> int:
        """How many instances teach by a mask."""
        if self.supervision == "boxes":
            return 0
        return sum(item.annotation.rle is not None for item in self.items)

    def draw(self, random: np.random.Generator) -> Item:
        """Choose an instance: by source, then evenly."""
        place = int(np.searchsorted(self._edges, random.random(), side="right"))
        return self.items[min(place, len(self.items) - 1)]

    def draw_mate(self, item: Item, random: np.random.Generator) -> Item:
        """Choose an instance with a mask of the same source and category, evenly.

        Args:
            item: one with a mask that holds a pixel; it may be drawn itself.
            random: source of the choice.
        """
        mates = self._masked[item.kind]
        return mates[int(random.integers(len(mates)))]

    def picture(self, item: Item) -> tuple[Image, float]:
        """An item's pixels, and their scale: kept pixels per pixel of the image."""
        image = self._pictures.get(item.picture)
        return image, image.shape[1] / item.record.width

    def __len__(self) -> int:
        """How many instances there are."""
        return len(self.items)


def fingerprint(sources: Sequence[Source]) -> str:
    """SHA-256 of all records and weights, hexadecimal: tells what a run learned from."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(coco.write(source.dataset) + f"{source.weight:g}".encode())
    return digest.hexdigest()


def _items(
    dataset: Dataset, pictures: Pictures, first: int, min_area: float, source: int
) -> Iterator[Item]:
    for number, (record, annotations) in enumerate(dataset.by_image(), start=first):
        if not pictures.has(number):
            continue
        for annotation in annotations:
            if not annotation.iscrowd and _area(annotation, record) >= min_area:
                kind = (source, annotation.category_id)
                yield Item(number, record, annotation, kind)


def _area(annotation: Annotation, record: ImageRecord) -> float:
    """Square pixels of the box inside the image; 0 where nothing is."""
    try:
        x0, y0, x1, y1 = check_boxes([annotation.box], record.height, record.width)[0]
    except BadBox:
        return 0.0
    return (x1 - x0) * (y1 - y0)


def _append(
    file: BinaryIO, folder: Path, record: ImageRecord, longest: int, rows: list[list[int] | None]
) -> Problem | None:
    """Write one image's pixels at the end of the file, or say why not."""
    try:
        image = _shrink(load_image(folder, record), longest)
    except BadImage as error:
        rows.append(None)
        return Problem(record.file_name, str(error))
    rows.append([file.tell(), *image.shape[:2]])
    file.write(image.tobytes())
    return None


def _shrink(image: Image, longest: int) -> Image:
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(PilImage.fromarray(image).resize(size, PilImage.Resampling.BICUBIC))


def _key(sources: Sequence[Source], longest: int) -> str:
    """What the pixels depend on: names, sizes and dates of the files, and the limit."""
    digest = hashlib.sha256(str(longest).encode())
    for source in sources:
        for record in source.dataset.images:
            path = source.folder / record.file_name
            stat = path.stat() if path.exists() else None
            facts = [str(path), record.width, record.height]
            facts += [stat.st_size, stat.st_mtime_ns] if stat else [None]
            digest.update(json.dumps(facts).encode())
    return digest.hexdigest()
