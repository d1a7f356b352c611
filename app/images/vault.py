"""Where rasters and thumbnails are kept: a folder of the data folder, or a store at a URL.

Both hold the same files under the same names, HASH[:2]/HASH.jpg and HASH[:2]/HASH.thumb.jpg, so
that one may be copied to the other by any tool. What lies under a hash is never changed.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from app.images.content import files_below, read_head, trouble_of
from app.images.remote import Remote
from app.settings import Settings
from mal_core.files import flush, move_whole


class Vault(Protocol):
    """Keeps files under names that their content has; thread-safe."""

    @property
    def scratch(self) -> Path:
        """A folder of this machine for files that are to be kept."""

    def keep(self, name: str, source: Path) -> None:
        """Keep a file; when this returns it outlasts a crash.

        What lies there is left alone, if it is right.

        Args:
            name: HASH[:2]/HASH.EXTENSION.
            source: a finished file in `scratch` or on its disk; it may be gone afterwards.

        Raises:
            BadImage: the file is not what its name says.
            Unavailable: the store cannot be reached.
            OSError: the disk refuses.
        """

    def fetch(self, name: str) -> Path:
        """A file of this machine with that content, to be opened within a minute.

        Raises:
            BadImage: there is none, or it is not what its name says; ends a sentence.
            Unavailable: the store cannot be reached.
            StudioError: the disk refuses.
        """

    def head(self, name: str) -> bytes:
        """The first HEAD_BYTES of a file; raises what `fetch` does."""

    def lay_out(self, names: Iterable[str], folder: Path) -> Path:
        """A folder with these files under their names, for a program that reads them for long.

        Args:
            names: which files; some may be named twice.
            folder: where they may be laid, new, for the caller to remove.

        Raises:
            BadImage, Unavailable, StudioError: as `fetch`.
            OSError: the folder cannot be made.
        """

    def trouble(self, name: str) -> str:
        """What is wrong with a file that is kept, at the end of a sentence; "" if nothing.

        Raises:
            Unavailable: the store cannot be reached.
        """

    def sizes(self) -> Mapping[str, int]:
        """The bytes of all that is kept, by name.

        Raises:
            Unavailable: the store cannot be reached.
        """

    def obstacle(self) -> str:
        """Why it cannot be used now; "" if it can. Known within seconds."""


def open_vault(settings: Settings) -> Vault:
    """What the settings say to keep images in.

    Raises:
        StudioError: the library for such a URL is not installed, or there is none.
    """
    if not settings.images_url:
        return Folder(settings.images)
    return _open_remote(settings.images_url, settings.cache, settings.cache_bytes)


@functools.cache  # its connections are shared by all who ask
def _open_remote(url: str, cache: Path, cache_bytes: int) -> Remote:
    return Remote(url, cache, cache_bytes)


class Folder:
    """A folder on this machine; see `Vault`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.scratch = root

    def keep(self, name: str, source: Path) -> None:
        """Move a file to its place, so that a crash leaves either all of it or nothing."""
        final = self._root / name
        if final.exists():
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        move_whole(source, final)
        flush(final.parent.parent)

    def fetch(self, name: str) -> Path:
        """Where it lies, if it does."""
        return self._root / name

    def head(self, name: str) -> bytes:
        """Its beginning."""
        return read_head(self._root / name)

    def lay_out(self, names: Iterable[str], folder: Path) -> Path:
        """The folder itself: nothing in it is ever removed."""
        return self._root

    def trouble(self, name: str) -> str:
        """Read it and compare."""
        return trouble_of(self._root / name, name)

    def sizes(self) -> Mapping[str, int]:
        """Look through the folder."""
        files = files_below(self._root)
        return {path.relative_to(self._root).as_posix(): facts.st_size for path, facts in files}

    def obstacle(self) -> str:
        """None that the data folder itself would not have."""
        return ""
