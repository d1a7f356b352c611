"""Shards: bounded lists of boxes, each with one file of answers.

A shard's name holds a hash of all that its answers depend on: images, boxes, weights, settings.
Its file appears whole or not at all, so a shard that is done twice, or on two machines at once,
does no harm, and what is left to do is seen from the names of the files that are there.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import fsspec
import orjson
from fsspec.implementations.local import LocalFileSystem

from mal_core import coco
from mal_core.coco import Annotation, CategoryRecord, ImageRecord
from mal_core.errors import InputError
from mal_core.extras import load_extra
from mal_core.files import write_whole

SHARD_BOXES = 64
FORMS = ("coco", "parquet")
ERROR, FLAGGED = "mal_error", "mal_flagged"
_FIELDS = ("id", "segmentation", "area", FLAGGED, "score")

Answer = dict[str, Any]
Answers = Mapping[int, Sequence[Answer]]  # by image id
Header = Mapping[str, Any]
Work = Sequence[tuple[ImageRecord, Sequence[Annotation]]]


@dataclass(frozen=True)
class Shard:
    """Some images of a data set with the boxes that want a mask.

    Attributes:
        name: of its file, without suffix; in the order of the data set.
        work: the images and their boxes.
        categories: of these boxes.
        header: what the answers depend on besides, JSON-ready.
    """

    name: str
    work: Work
    categories: Sequence[CategoryRecord]
    header: Header

    def to_json(self) -> bytes:
        """The shard without fields of other tools, for another process."""
        content = {"header": self.header, **_content(self.work, self.categories)}
        return orjson.dumps({"name": self.name, **content})

    @classmethod
    def from_json(cls, text: bytes | str) -> "Shard":
        """The shard that another process sent."""
        value = orjson.loads(text)
        work = []
        for key, file_name, width, height, boxes in value["images"]:
            image = ImageRecord(key, file_name, width, height)
            annotations = [Annotation(a, key, c, tuple(box), None) for a, c, *box in boxes]
            work.append((image, annotations))
        categories = [CategoryRecord(key, name) for key, name in value["categories"]]
        return cls(value["name"], work, categories, value["header"])


class Form(Protocol):
    """A format of the files: `coco` or `parquet`."""

    suffix: str

    def write(self, shard: Shard, answers: Answers) -> bytes:
        """A file that holds the boxes of a shard and their answers, the same for the same."""

    def read(self, content: bytes) -> dict[int, list[Answer]]:
        """The answers in a file.

        Raises:
            ValueError: it is damaged.
        """


def cut(
    work: Work, categories: Iterable[CategoryRecord], header: Header, size: int = SHARD_BOXES
) -> list[Shard]:
    """Cut work into shards; an image stays whole, so that its boxes are asked for together.

    Args:
        work: images and boxes, in the order of the data set.
        categories: of the data set.
        header: what the answers depend on besides, JSON-ready.
        size: a shard is full when it has so many boxes, or more by its last image.
    """
    known = {category.id: category for category in categories}
    groups: list[list[tuple[ImageRecord, Sequence[Annotation]]]] = []
    count = size
    for image, annotations in work:
        if count >= size:
            groups.append([])
            count = 0
        groups[-1].append((image, annotations))
        count += len(annotations)
    return [_name(number, group, known, header) for number, group in enumerate(groups)]


class Shelf:
    """The place where the files of a run lie.

    Args:
        where: a folder, which is made, or a URL that fsspec knows.
        form: one of FORMS.

    Raises:
        InputError: the library for the URL or the form is not installed.
    """

    def __init__(self, where: str | Path, form: str = "coco") -> None:
        try:
            self._system, root = fsspec.core.url_to_fs(str(where))
        except (ImportError, ValueError) as error:
            raise InputError(f"{where} cannot be opened: {error}") from error
        self._root = root.rstrip("/")
        self._folder = Path(root) if isinstance(self._system, LocalFileSystem) else None
        self._form: Form = CocoForm() if form == "coco" else load_extra("mal_core.parquet").FORM
        self.name = PurePosixPath(self._root).name

    def names(self) -> set[str]:
        """The shards that are there.

        Raises:
            InputError: something else is there.
        """
        if self._folder is not None:
            self._folder.mkdir(exist_ok=True)
        self._system.invalidate_cache()  # of a listing from before others stored theirs
        try:
            paths = self._system.ls(self._root, detail=False)
        except FileNotFoundError:  # a bucket has no empty folders
            paths = []
        found = [PurePosixPath(path).name for path in paths]
        shown = [name for name in found if not name.startswith(".")]  # drafts that a kill left
        for name in shown:
            if not name.endswith(self._form.suffix):
                raise InputError(
                    f"{self.name} holds {name}, which is no shard: name another folder"
                )
        return {name.removesuffix(self._form.suffix) for name in shown}

    def get(self, name: str) -> dict[int, list[Answer]]:
        """The answers of a shard, by image; nothing if it is not there.

        Raises:
            InputError: its file is damaged.
        """
        try:
            content = self._system.cat_file(self._path(name))
        except FileNotFoundError:
            return {}
        try:
            return self._form.read(content)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self._path(name)} is damaged ({error}): remove it") from error

    def put(self, shard: Shard, answers: Answers) -> None:
        """Store a shard's answers, so that its file is whole or not there.

        Raises:
            OSError: the disk is full, or refuses.
        """
        content = self._form.write(shard, answers)
        path = self._path(shard.name)
        if self._folder is None:
            self._system.pipe_file(path, content)  # an object appears when it is complete
        else:
            write_whole(Path(path), content)

    def clear(self) -> None:
        """Remove all shards."""
        for name in self.names():
            self._system.rm_file(self._path(name))

    def remove(self) -> None:
        """Remove a folder with all that is in it."""
        assert self._folder is not None
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of a folder.

        Raises:
            InputError: another process is in it.
        """
        assert self._folder is not None
        self._folder.mkdir(exist_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise InputError(f"another run is writing {self.name}") from error
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}{self._form.suffix}"


class CocoForm:
    """A COCO file a shard: its images, its categories, its boxes with masks or `mal_error`."""

    suffix = ".json"

    def write(self, shard: Shard, answers: Answers) -> bytes:
        """See `Form`."""
        entries = []
        for image, annotations in shard.work:
            found = {answer["id"]: answer for answer in answers[image.id]}
            entries += [coco.fill_in(_entry(a) | found[a.id], image) for a in annotations]
        images = [
            {"id": i.id, "file_name": i.file_name, "width": i.width, "height": i.height}
            for i, _ in shard.work
        ]
        document = {
            "images": images,
            "categories": [{"id": c.id, "name": c.name} for c in shard.categories],
            "annotations": entries,
            "mal_label": shard.header,
        }
        return orjson.dumps(document)

    def read(self, content: bytes) -> dict[int, list[Answer]]:
        """See `Form`."""
        answers: dict[int, list[Answer]] = {}
        for entry in orjson.loads(content)["annotations"]:
            fields = ("id", ERROR) if ERROR in entry else _FIELDS
            answer = {name: entry[name] for name in fields if name in entry}
            answers.setdefault(entry["image_id"], []).append(answer)
        return answers


def failed(answers: Sequence[Answer]) -> list[Answer]:
    """The answers that are errors."""
    return [answer for answer in answers if ERROR in answer]


def _entry(annotation: Annotation) -> dict[str, Any]:
    x0, y0, x1, y1 = annotation.box
    place = {"image_id": annotation.image_id, "category_id": annotation.category_id}
    return {"id": annotation.id, **place, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def _name(number: int, work: Work, known: Mapping[int, CategoryRecord], header: Header) -> Shard:
    used = sorted({a.category_id for _, annotations in work for a in annotations})
    categories = [known[key] for key in used]
    content = orjson.dumps([header, _content(work, categories)])
    return Shard(
        f"{number:06d}-{hashlib.sha256(content).hexdigest()[:16]}", work, categories, header
    )


def _content(work: Work, categories: Sequence[CategoryRecord]) -> dict[str, Any]:
    images = [
        [i.id, i.file_name, i.width, i.height, [[a.id, a.category_id, *a.box] for a in found]]
        for i, found in work
    ]
    return {"images": images, "categories": [[c.id, c.name] for c in categories]}
