"""File names that an export can use: no two equal, and each fit for its raster."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from app.exchange.sheets import stem_of
from app.images import clean_name
from app.records import Image

_SUFFIXES = {"jpg": (".jpg", ".jpeg"), "png": (".png",)}


def unique_names(
    images: Sequence[Image], *, with_rasters: bool, by_stem: bool = False
) -> dict[int, str]:
    """File names by image number.

    Args:
        images: of one project.
        with_rasters: whether suffixes must fit how the rasters are stored.
        by_stem: whether names must differ without their suffixes, too.

    Returns:
        Names of which no two are equal in any case.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    counts = Counter(_said(image, by_stem=by_stem) for image in images)
    for image in images:
        path = PurePosixPath(_visible(clean_name(image.file_name)))
        if with_rasters and path.suffix.lower() not in _SUFFIXES[image.extension]:
            path = path.with_name(f"{path.name}.{image.extension}")
        name, stem = path, path.stem
        if (
            counts[_said(image, by_stem=by_stem)] > 1
        ):  # which of them a bare name means, nobody could tell
            stem += f"-{image.number}"
            name = path.with_name(stem + path.suffix)
        while _key(name, by_stem=by_stem) in taken:
            stem += f"-{image.number}"
            name = path.with_name(stem + path.suffix)
        taken.add(_key(name, by_stem=by_stem))
        names[image.number] = str(name)
    return names


def renamed(images: Sequence[Image], names: Mapping[int, str]) -> dict[str, str]:
    """Each old file name with its image's number, and the name it has in the export instead."""
    return {
        f"{image.file_name} (image {image.number})": names[image.number]
        for image in images
        if names[image.number] != image.file_name
    }


def _said(image: Image, *, by_stem: bool) -> str:
    """What a format says of an image's own name."""
    return stem_of(image.file_name) if by_stem else image.file_name


def _visible(name: str) -> str:
    """A name without leading dots: unpacking passes hidden files over."""
    return "/".join(f"_{part[1:]}" if part.startswith(".") else part for part in name.split("/"))


def _key(name: PurePosixPath, *, by_stem: bool) -> str:
    return str(name.with_suffix("") if by_stem else name).casefold()
