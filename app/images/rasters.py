"""The folder of stored rasters: where each lies, how it gets there, how it is read.

The rasters were encoded by the studio itself, so they are decoded in this process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as PilImage
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from app.records import Image
from app.settings import Settings
from mal_core.errors import BadImage
from mal_core.files import flush, move_whole

# Opened by class, not by Image.open, whose pixel limit is smaller than that of intake.
_OPENERS: dict[str, type[ImageFile]] = {"jpg": JpegImageFile, "png": PngImageFile}


def path_of(settings: Settings, image: Image) -> Path:
    """Where the full raster of an image lies."""
    return raster_path(settings, image.sha256, image.extension)


def thumbnail_path(settings: Settings, image: Image) -> Path:
    """Where the JPEG of at most 160 pixels a side lies."""
    return raster_path(settings, image.sha256, "thumb.jpg")


def raster_path(settings: Settings, sha256: str, extension: str) -> Path:
    """Where a raster with this hash belongs."""
    return settings.images / sha256[:2] / f"{sha256}.{extension}"


def load_image(settings: Settings, image: Image) -> NDArray[np.uint8]:
    """Decode a stored raster.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        BadImage: the file is missing or damaged.
    """
    with open_raster(settings, image) as file:
        return np.asarray(file, np.uint8)


def read_size(settings: Settings, image: Image) -> tuple[int, int]:
    """Read (width, height) of a stored raster from its header.

    Raises:
        BadImage: the file is missing or damaged.
    """
    with _open(settings, image) as file:
        return file.size


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


def put(temporary: Path, final: Path) -> None:
    """Move a finished file to its place, so that a crash leaves either all of it or nothing.

    A file that is there already is left alone: a content hash names its only content.

    Raises:
        OSError: the disk is full, or refuses.
    """
    if final.exists():
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    move_whole(temporary, final)
    flush(final.parent.parent)


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
