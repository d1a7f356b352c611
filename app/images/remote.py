"""An image store at a URL: whatever fsspec speaks to, such as s3://bucket/prefix.

What it is given counts as kept once it was read back and found right; what it is asked for is
checked against its hash and then stays on this machine for a while (app.images.cache).
"""

import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from threading import Lock, Thread

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app.errors import NO_ROOM, StudioError, Unavailable, from_disk
from app.images.cache import Cache
from app.images.content import HEAD_BYTES, MISSING, read_head, trouble_of
from mal_core.errors import BadImage, MALError

PAUSE_SECONDS = 5.0  # a store that failed is not asked again within these
REACH_SECONDS = 3.0  # is waited for by those who only want to know whether it answers
SIGN = "mal-studio.txt"  # lies beside the rasters: the store is there and can be written
# One dead server must not hold a thread for minutes, as the clients' own patience would.
_S3 = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 1}}
_TRIES = 3
_WHAT = "the image store"
_DOWN = f"{_WHAT} cannot be reached, read or written; nothing was kept, try again"
_NOWHERE = f"{_WHAT} is not there: its bucket or folder must be made first"
log = logging.getLogger(__name__)


class Remote:
    """A store at a URL, and what was lately used of it in a folder; see `Vault`.

    Args:
        url: of fsspec; the credentials come from the environment.
        cache: the folder; may be deleted while nobody uses it.
        cache_bytes: the most it is to hold, but for what was used within the last minute.

    Raises:
        StudioError: such a URL cannot be opened here.
    """

    def __init__(self, url: str, cache: Path, cache_bytes: int) -> None:
        self._system, self._root = _connect(url)
        self._cache = Cache(cache, cache_bytes)
        # Whoever waits for a file that comes in already does not ask for it again.
        self._turns = [Lock() for _ in range(16)]
        self._silent_until = 0.0
        self._looking: Thread | None = None
        self._seen = ""

    @property
    def scratch(self) -> Path:
        """The cache's own folder."""
        return self._cache.folder

    def keep(self, name: str, source: Path) -> None:
        """Send a file, unless it is there, and read it back, which leaves it in the cache."""
        if trouble := trouble_of(source, name):
            raise BadImage(trouble)
        with self._turn(name):
            try:
                self._download(name)
            except BadImage:  # not there, or not whole: what another program left
                self._upload(name, source)
                self._read_back(name)

    def fetch(self, name: str) -> Path:
        """What is in the cache, or comes in now."""
        if (path := self._cache.use(name)) is not None:
            return path
        with self._turn(name):
            return self._cache.use(name) or self._download(name)

    def head(self, name: str) -> bytes:
        """Of the cache, or only as much of the store; not checked against the hash."""
        with suppress(FileNotFoundError):
            return read_head(self.scratch / name)
        try:
            with self._asking():
                head: bytes = self._system.cat_file(self._place(name), start=0, end=HEAD_BYTES)
        except FileNotFoundError as error:
            raise BadImage(MISSING) from error
        return head

    def lay_out(self, names: Iterable[str], folder: Path) -> Path:
        """Hard links, which stay when the cache lets a file go."""
        for name in dict.fromkeys(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _link(self.fetch(name), path)
            except BadImage as error:
                text = f"the stored raster {name} {error}; bring it back from a backup"
                raise BadImage(text) from error
        return folder

    def trouble(self, name: str) -> str:
        """Read what the store has, whatever is in the cache."""
        try:
            with self._copy(name):
                return ""
        except BadImage as error:
            return str(error)

    def sizes(self) -> Mapping[str, int]:
        """List the store."""
        try:
            with self._asking():
                found = self._system.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        root = f"{self._root}/"
        sizes = {str(path).removeprefix(root): int(info["size"]) for path, info in found.items()}
        return {name: size for name, size in sizes.items() if name != SIGN}

    def obstacle(self) -> str:
        """Look for the studio's sign, or leave it there; one look at a time."""
        if self._looking is None or not self._looking.is_alive():
            self._looking = Thread(target=self._look, name=_WHAT, daemon=True)
            self._looking.start()
        looking = self._looking
        looking.join(REACH_SECONDS)
        return f"{_WHAT} does not answer" if looking.is_alive() else self._seen

    def _look(self) -> None:
        self._seen = self._find_sign()

    def _find_sign(self) -> str:
        sign = self._place(SIGN)
        try:
            with self._asking(), suppress(FileNotFoundError):
                self._system.info(sign)
                return ""
            with self._asking():
                self._system.pipe_file(sign, b"Images of a MAL Studio, by their content.\n")
        except FileNotFoundError:
            return _NOWHERE
        except MALError as error:
            return str(error)
        return ""

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _turn(self, name: str) -> Lock:
        return self._turns[int(name[0], 16)]

    def _upload(self, name: str, source: Path) -> None:
        place = self._place(name)
        try:
            with self._asking():
                if isinstance(self._system, LocalFileSystem):
                    self._system.makedirs(PurePosixPath(place).parent, exist_ok=True)
                self._system.put_file(str(source), place)
        except FileNotFoundError as error:
            raise Unavailable(f"{_NOWHERE}; nothing was kept") from error

    def _read_back(self, name: str) -> None:
        try:
            self._download(name)
        except BadImage as error:
            raise Unavailable(f"{_WHAT} did not keep what it was given; try again") from error

    def _download(self, name: str) -> Path:
        """Bring a file into the cache, in place of what is there."""
        with self._copy(name) as copy:
            return self._cache.take(copy, name)

    @contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        """What the store has under a name, once it is found to be right; then it is removed."""
        with self._cache.scratch() as folder:
            path = folder / "file"
            # Once more where it is wrong: it may have been damaged on its way.
            if (trouble := self._get(name, path)) and (trouble := self._get(name, path)):
                raise BadImage(trouble)
            yield path

    def _get(self, name: str, path: Path) -> str:
        """Bring a file here, and say what is wrong with it."""
        try:
            with self._asking():
                self._system.get_file(self._place(name), str(path))
        except FileNotFoundError as error:
            raise BadImage(MISSING) from error
        return trouble_of(path, name)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn whatever the store's client raises into an error of ours, but for a missing file.

        A store that is gone is not asked again at once: those who wait behind each other for it
        would each wait as long.
        """
        if time.monotonic() < self._silent_until:
            raise Unavailable(_DOWN)
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # every store's client has errors of its own
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise from_disk(error, "there is no room for images") from error
            self._silent_until = time.monotonic() + PAUSE_SECONDS
            log.warning("%s: %s: %.300s", _WHAT, type(error).__name__, error)
            raise Unavailable(f"{_DOWN} ({type(error).__name__})") from error


def _connect(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL, and the path of the URL in it."""
    options = {"use_listings_cache": False, "skip_instance_cache": True}
    is_s3 = url.startswith(("s3://", "s3a://"))
    if is_s3:
        options["config_kwargs"] = _S3 | fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    try:
        system, root = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError, OSError) as error:  # "Install s3fs to access S3"
        raise StudioError(f"images_url cannot be opened: {error}") from error
    if is_s3:
        system.retries = _TRIES
    return system, root.rstrip("/")


def _link(path: Path, target: Path) -> None:
    """The same content under another name, which stays when the first is removed."""
    try:
        os.link(path, target)
    except OSError:  # another disk, or one that knows no links
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise from_disk(error, "the images could not be laid out") from error
