"""Files that a crash leaves whole: written beside their place, flushed, renamed, folder flushed."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, so that a crash leaves the old one or the new one.

    Raises:
        OSError: the disk is full, or refuses; nothing is left behind.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        move_whole(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def move_whole(temporary: Path, final: Path) -> None:
    """Move a finished file of the same disk to its place, which it takes over.

    Raises:
        OSError: the disk is full, or refuses; where there was no file, there is none.
    """
    is_new = not final.exists()
    flush(temporary)
    temporary.replace(final)
    try:
        flush(final.parent)
    except OSError:
        if is_new:  # whoever is told that it failed must not find it there
            with suppress(OSError):
                final.unlink()
        raise


def flush(path: Path) -> None:
    """Wait until a file's or folder's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
