"""Large images as pixels on disk, at full size and halved again and again, and cut into tiles.

Derived from the stored raster, and kept within a limit: what was used longest ago goes first and
is made again when it is needed. A file is mapped, not read, so that a tile or the crop of a box
costs what it covers and not the image.
"""

import io
import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.errors import NotFound, from_disk
from app.images.rasters import open_raster, path_of
from app.records import Image
from app.settings import Settings
from mal_core.errors import BadImage

TILE = 512  # pixels of a tile's side, on its own level; the canvas cuts the same ones
KEPT_BYTES = 4 * 2**30  # of all pyramids on disk; one of 100 megapixels takes 0.4
_BAND = 512  # rows handled at a time; even, so that bands halve alike
_UNFINISHED = "making-"
_STALE_S = 3600.0  # an unfinished pyramid this old was left by a crash
_JPEG_QUALITY = 92
Pixels = NDArray[np.uint8]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tile:
    """An encoded tile: JPEG, or PNG where the stored raster is lossless too."""

    data: bytes
    media_type: str


def last_level(width: int, height: int) -> int:
    """The coarsest level of an image: the first that is a single tile."""
    level = 0
    while max(width, height) > TILE << level:
        level += 1
    return level


class Pyramids:
    """The pyramids of one data folder; thread-safe.

    Args:
        settings: where they are kept.
        kept_bytes: the most that all of them may take; the newest one stays in any case.
    """

    def __init__(self, settings: Settings, kept_bytes: int = KEPT_BYTES) -> None:
        self._settings = settings
        self._folder = settings.pyramids
        self._kept_bytes = kept_bytes
        self._making = Lock()

    def level(self, image: Image, level: int) -> Pixels:
        """The pixels of a level, mapped from disk and read-only: (h, w, 3) uint8 RGB.

        Each side is that of the level above halved and rounded up; level 0 is the image.

        Raises:
            NotFound: there is no such level.
            BadImage: the stored raster is missing or damaged.
            StudioError: the disk is full.
        """
        if not 0 <= level <= last_level(image.width, image.height):
            raise NotFound(f"image {image.id} has no level {level}")
        folder = self._folder / image.sha256
        if not folder.exists():
            path_of(self._settings, image)  # a store may be slow; others are not to wait for it
        with self._making:
            if not folder.exists():
                self._make(image, folder)
                self._prune(folder)
            os.utime(folder)
            mapped: Pixels = np.load(folder / f"{level}.npy", mmap_mode="r")
        return mapped

    def tile(self, image: Image, level: int, column: int, row: int) -> Tile:
        """Cut a tile and encode it.

        Args:
            image: the image.
            level: 0 for full size, each further one half of it.
            column: of the tile, from the left, in tiles of TILE pixels; the last may be smaller.
            row: likewise, from the top.

        Raises:
            NotFound: there is no such tile.
            BadImage: the stored raster is missing or damaged.
            StudioError: the disk is full.
        """
        pixels = self.level(image, level)
        part = pixels[max(0, row) * TILE :, max(0, column) * TILE :][:TILE, :TILE]
        if min(column, row) < 0 or part.size == 0:
            raise NotFound(f"image {image.id} has no tile {column}, {row} at level {level}")
        data, code = io.BytesIO(), PilImage.fromarray(np.ascontiguousarray(part))
        if image.extension == "png":
            code.save(data, "PNG", compress_level=1)
            return Tile(data.getvalue(), "image/png")
        code.save(data, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        return Tile(data.getvalue(), "image/jpeg")

    def _make(self, image: Image, folder: Path) -> None:
        """Write all levels into a folder that gets its name when it is whole."""
        begin = time.perf_counter()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=self._folder, prefix=_UNFINISHED, ignore_cleanup_errors=True
            ) as scratch:
                made = Path(scratch, "levels")
                made.mkdir()
                _unpack(self._settings, image, made / "0.npy")
                for level in range(last_level(image.width, image.height)):
                    _halve(made / f"{level}.npy", made / f"{level + 1}.npy")
                made.rename(folder)
        except BadImage:
            raise
        except OSError as error:
            raise from_disk(error, f"{image.file_name} could not be unpacked") from error
        log.info("pyramid of image %d made in %.1f s", image.id, time.perf_counter() - begin)

    def _prune(self, newest: Path) -> None:
        """Remove what was used longest ago beyond the limit, and what a crash left."""
        folders = [entry for entry in self._folder.iterdir() if entry != newest]
        left = self._kept_bytes - _bytes_of(newest)
        for folder in sorted(folders, key=lambda entry: entry.stat().st_mtime, reverse=True):
            is_whole = not folder.name.startswith(_UNFINISHED)
            if is_whole:
                left -= _bytes_of(folder)
            if left < 0 if is_whole else time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder, ignore_errors=True)


def _unpack(settings: Settings, image: Image, path: Path) -> None:
    """Decode the stored raster and write its pixels, a band of rows at a time."""
    with open_raster(settings, image) as file:
        out = _create(path, image.height, image.width)
        for top in range(0, image.height, _BAND):
            bottom = min(top + _BAND, image.height)
            out[top:bottom] = np.asarray(file.crop((0, top, image.width, bottom)), np.uint8)
        out.flush()


def _halve(source: Path, target: Path) -> None:
    """Write a level of half the sides: each pixel is the mean of up to four."""
    pixels = np.load(source, mmap_mode="r")
    height, width = pixels.shape[:2]
    out = _create(target, -(-height // 2), -(-width // 2))
    for top in range(0, height, _BAND):
        band = PilImage.fromarray(np.ascontiguousarray(pixels[top : top + _BAND]))
        half = np.asarray(band.reduce(2))
        out[top // 2 : top // 2 + half.shape[0]] = half
    out.flush()


def _create(
    path: Path, height: int, width: int
) -> "np.memmap[tuple[int, int, int], np.dtype[np.uint8]]":
    return np.lib.format.open_memmap(path, "w+", np.uint8, (height, width, 3))


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
