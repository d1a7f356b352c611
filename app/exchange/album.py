"""Which image a file means: one of the project, or one that came along and would be new to it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from app.exchange.names import unique_names
from app.exchange.sheets import PHOTOS, Size, is_photo, stem_of, within
from app.images import SUFFIXES, Intake
from app.records import Image, TakenImage
from mal_core.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Match:
    """An image that a file means.

    Attributes:
        name: the one name under which `Album.match` finds it again.
        image: of the project; None if it would be new.
        taken: a new one, decoded beside the project; None if the project has it.
        came_along: whether its picture lies beside the file.
    """

    name: str
    image: Image | None
    taken: TakenImage | None
    came_along: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        known = self.image or self.taken
        assert known is not None
        return known.width, known.height


class Album:
    """Finds images by the names that files give them.

    Args:
        images: of the project.
        files: what came along, by name; those with an image's suffix may be new images.
        intake: decodes them, into a place of its own.
        paints: whether the files' format has masks as PNG; then only a folder of images has images.
    """

    def __init__(
        self,
        images: Sequence[Image],
        files: Mapping[str, Path],
        intake: Intake,
        *,
        paints: bool = False,
    ) -> None:
        self._files = files
        self._intake = intake
        self._known = {image.id: image for image in images}
        self._hashes = {image.sha256: image for image in images}
        self._hashes |= {image.source_sha256: image for image in images}
        self._exported = dict(_exported(images))
        self._stems = {stem_of(name): image for name, image in self._exported.items()}
        self._images = _Names([(image.file_name, image) for image in images])
        pictures = [name for name in files if _may_be_image(name, paints=paints)]
        self._n_pictures = len(pictures)
        self._pictures = _Names([(_bare(name), name) for name in pictures])
        # Kept, since a second look at a data set must not decode anything again.
        self._matches: dict[str, Match | None] = {}
        self._found: dict[str, Match | None] = {}

    def __len__(self) -> int:
        """How many images a file can mean: those that came along, else those of the project."""
        return self._n_pictures or len(self._known)

    def find(self, name: str) -> Size | None:
        """The image of a name, with or without its suffix, for formats that do not say its size.

        Raises:
            InputError: the name fits several images, or the image cannot be decoded.
        """
        if name not in self._found:
            match = self._found[name] = self.match(name) or self._match_stem(name)
            if match is not None:
                self._matches[match.name] = match
        found = self._found[name]
        return None if found is None else Size(found.name, *found.size)

    def match(self, name: str) -> Match | None:
        """The image of a name; None if nobody has it.

        What came along is compared by content first, so that an image of the project is known
        again under any name.

        Raises:
            InputError: the name fits several images, or the image cannot be decoded.
        """
        if name not in self._matches:
            picture = self._pictures.get(name)
            image = self._images.get(name, self._exported.get(name))
            self._matches[name] = self._decide(name, picture, image)
        return self._matches[name]

    def _match_stem(self, stem: str) -> Match | None:
        picture = self._pictures.get_stem(stem)
        image = self._images.get_stem(stem, self._stems.get(stem))
        name = _bare(picture) if picture else image.file_name if image else stem
        return self._decide(name, picture, image)

    def _decide(self, name: str, picture: str | None, image: Image | None) -> Match | None:
        """Say which it is: the image with the picture's content, or of the name, or a new one."""
        if picture is not None:
            image = self._hashes.get(_hash(self._files[picture]), image)
        if image is not None:
            return Match(name, image, None, picture is not None)
        if picture is None:
            return None
        return Match(name, None, self._intake.take(self._files[picture], _bare(picture)), True)


class _Names(Generic[T]):
    """Things by name: by all of it, else by its end; with suffix or without."""

    def __init__(self, items: Iterable[tuple[str, T]]) -> None:
        self._whole: defaultdict[str, list[T]] = defaultdict(list)
        self._last: defaultdict[str, list[tuple[str, T]]] = defaultdict(list)
        self._stem: defaultdict[str, list[T]] = defaultdict(list)
        self._last_stem: defaultdict[str, list[tuple[str, T]]] = defaultdict(list)
        for name, item in items:
            last = PurePosixPath(name).name
            self._whole[name].append(item)
            self._last[last].append((name, item))
            self._stem[stem_of(name)].append(item)
            self._last_stem[stem_of(last)].append((stem_of(name), item))

    def get(self, name: str, otherwise: T | None = None) -> T | None:
        """The thing of a name; `otherwise` if no whole name fits."""
        last = PurePosixPath(name).name
        return _only(self._whole.get(name), otherwise, _ending(name, self._last.get(last)))

    def get_stem(self, stem: str, otherwise: T | None = None) -> T | None:
        """The thing of a name without its suffix."""
        last = PurePosixPath(stem).name
        ends = _ending(stem, self._last_stem.get(last))
        return _only(self._stem.get(stem), otherwise, ends)


def _ending(name: str, found: list[tuple[str, T]] | None) -> list[T]:
    """Those whose names end as a name does; where none goes on so far, all with its last part."""
    found = found or []
    return [i for whole, i in found if whole.endswith(f"/{name}")] or [i for _, i in found]


def _only(whole: list[T] | None, otherwise: T | None, last: list[T] | None) -> T | None:
    """The one thing that fits best, or an InputError."""
    if whole is None and otherwise is not None:
        return otherwise
    fitting = whole or last or []
    if len(fitting) > 1:
        raise InputError(f"{len(fitting)} images have this name")
    return fitting[0] if fitting else None


def _exported(images: Sequence[Image]) -> Iterable[tuple[str, Image]]:
    """Every name that an export of ours may give an image."""
    by_number = {image.number: image for image in images}
    for with_rasters in (True, False):
        for by_stem in (True, False):
            names = unique_names(images, with_rasters=with_rasters, by_stem=by_stem)
            yield from ((name, by_number[number]) for number, name in names.items())


def _may_be_image(name: str, *, paints: bool) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in SUFFIXES and (is_photo(name) or not (paints and suffix == ".png"))


def _bare(name: str) -> str:
    """The name of an image in a data set, without the folder that holds all images."""
    return within(name, *PHOTOS) or name


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
