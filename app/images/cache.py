"""What was lately used of an image store, in a folder of this machine.

Several studios may share the folder: a file appears whole, and what one of them removes another
fetches again.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import from_disk
from app.images.content import files_below
from mal_core.files import move_whole

USED_SECONDS = 60.0  # what was asked for within these stays: somebody is about to open it
_SWEEPS = 16  # times it is looked through while as much as it may hold comes in
_UNFINISHED = "incoming-"  # as intake calls its own, too
_STALE_SECONDS = 3600.0  # an unfinished file this old was left by a crash
_NO_COPY = "the image could not be fetched"


class Cache:
    """Files by name, up to a limit; what was used longest ago goes first. Thread-safe.

    Args:
        folder: made when it is needed.
        max_bytes: the most it is to hold, but for what was used within the last minute.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._added = max_bytes  # since it was looked through

    def use(self, name: str) -> Path | None:
        """A file that is there, which counts as used now; None if it is not."""
        path = self.folder / name
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for a file that is to be taken in.

        Raises:
            StudioError: the disk refuses.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder)
        except OSError as error:
            raise from_disk(error, _NO_COPY) from error
        try:
            yield Path(made)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def take(self, source: Path, name: str) -> Path:
        """Move a finished file in, in place of what is there.

        Raises:
            StudioError: the disk refuses.
        """
        path = self.folder / name
        self._added += source.stat().st_size
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            move_whole(source, path)
        except OSError as error:
            raise from_disk(error, _NO_COPY) from error
        if self._added * _SWEEPS >= self._max_bytes:
            self._added = 0
            self._sweep()
        return path

    def _sweep(self) -> None:
        """Remove what was used longest ago beyond the limit, and what a crash left."""
        now, left = time.time(), self._max_bytes
        found = sorted(files_below(self.folder), key=lambda one: one[1].st_mtime, reverse=True)
        for path, facts in found:
            left -= facts.st_size
            is_part = path.parent.name.startswith(_UNFINISHED)
            limit = _STALE_SECONDS if is_part else USED_SECONDS
            if (is_part or left < 0) and now - facts.st_mtime > limit:
                _remove_unless_used(path, now - limit)


def _remove_unless_used(path: Path, since: float) -> None:
    """Remove a file that nobody asked for since then, nor while the folder was looked through."""
    with suppress(FileNotFoundError):
        if path.stat().st_mtime < since:
            path.unlink()
