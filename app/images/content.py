"""Names that say what is in a file, and whether that is true."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from PIL.JpegImagePlugin import JpegImageFile

THUMBNAIL = ".thumb.jpg"
HEAD_BYTES = 4096  # enough for the size of every raster that the studio wrote
MISSING = "cannot be found"


def name_of(sha256: str, suffix: str) -> str:
    """What a file that belongs to a raster with this hash is called."""
    return f"{sha256[:2]}/{sha256}{suffix}"


def compare(path: Path, sha256: str) -> str:
    """What is wrong with a file that should have a hash, at the end of a sentence; or ""."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"cannot be read, {error.strerror}"
    return "" if found == sha256 else "cannot be trusted: another content than its name says"


def trouble_of(path: Path, name: str) -> str:
    """What is wrong with a copy; a thumbnail has its raster's name, so it must be a picture."""
    if not name.endswith(THUMBNAIL):
        return compare(path, PurePosixPath(name).stem)
    try:
        with JpegImageFile(path) as picture:
            picture.load()
    except FileNotFoundError:
        return MISSING
    except (OSError, SyntaxError):  # Pillow's plugins say SyntaxError for a bad header
        return "cannot be trusted: it is damaged"
    return ""


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files in a folder and in its folders; others may add and remove some meanwhile."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(OSError):
                yield path, path.lstat()


def read_head(path: Path) -> bytes:
    """The first HEAD_BYTES of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
