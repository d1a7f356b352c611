"""Stored rasters and thumbnails: what each is called, and how it is read.

The rasters were encoded by the studio itself, so they are decoded in this process.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as PilImage
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from app.images.content import THUMBNAIL, name_of
from app.images.vault import open_vault
from app.records import Image
from app.settings import Settings
from mal_core.errors import BadImage

# Opened by class, not by Image.open, whose pixel limit is smaller than that of intake.
_OPENERS: dict[str, type[ImageFile]] = {"jpg": JpegImageFile, "png": PngImageFile}


def path_of(settings: Settings, image: Image) -> Path:
    """A file of this machine that holds the full raster; to be opened within a minute.

    Raises:
        BadImage: the image store lacks it, or has something else in its place.
        Unavailable: the image store cannot be reached.
    """
    return _fetch(settings, raster_name(image), f"the stored raster of {image.file_name}")


def thumbnail_path(settings: Settings, image: Image) -> Path:
    """Likewise of the JPEG of at most 160 pixels a side."""
    return _fetch(settings, thumbnail_name(image), f"the thumbnail of {image.file_name}")


def raster_name(image: Image) -> str:
    """What the raster of an image is called where images are kept."""
    return name_of(image.sha256, f".{image.extension}")


def thumbnail_name(image: Image) -> str:
    """What its thumbnail is called there."""
    return name_of(image.sha256, THUMBNAIL)


def load_image(settings: Settings, image: Image) -> NDArray[np.uint8]:
    """Decode a stored raster.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        BadImage: the file is missing or damaged.
        Unavailable: the image store cannot be reached.
    """
    with open_raster(settings, image) as file:
        return np.asarray(file, np.uint8)


def read_size(settings: Settings, image: Image) -> tuple[int, int]:
    """Read (width, height) of a stored raster from its header.

    Raises:
        BadImage: the file is missing or damaged.
        Unavailable: the image store cannot be reached.
    """
    try:
        head = open_vault(settings).head(raster_name(image))
        with _OPENERS[image.extension](io.BytesIO(head)) as file:
            return file.size
    except (BadImage, OSError, SyntaxError) as error:
        raise _damaged(image) from error


@contextmanager
def open_thumbnail(settings: Settings, image: Image) -> Iterator[PilImage]:
    """The small JPEG of an image, decoded.

    Raises:
        BadImage: the file is missing or damaged.
    """
    try:
        with JpegImageFile(thumbnail_path(settings, image)) as file:
            file.load()
            yield file
    except (OSError, SyntaxError) as error:
        raise _damaged(image) from error


@contextmanager
def open_raster(settings: Settings, image: Image) -> Iterator[PilImage]:
    """A stored raster, decoded.

    Raises:
        BadImage: the file is missing or damaged.
    """
    with _open(settings, image) as file:
        try:
            file.load()
        except OSError as error:
            raise _damaged(image) from error
        yield file


def _fetch(settings: Settings, name: str, title: str) -> Path:
    try:
        return open_vault(settings).fetch(name)
    except BadImage as error:
        raise BadImage(f"{title} {error}; bring it back from a backup ({name})") from error


def _open(settings: Settings, image: Image) -> ImageFile:
    try:
        return _OPENERS[image.extension](path_of(settings, image))
    except (OSError, SyntaxError) as error:  # Pillow's plugins say SyntaxError for a bad header
        raise _damaged(image) from error


def _damaged(image: Image) -> BadImage:
    return BadImage(
        f"the stored raster of {image.file_name} is missing or damaged; restore the data folder"
        " from a backup"
    )
