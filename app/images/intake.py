"""Intake of an upload: decoded in a child process, stored under the hash of its new bytes."""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

import app
from app.errors import on_disk
from app.images.content import THUMBNAIL, name_of
from app.images.vault import open_vault
from app.records import TakenImage
from app.settings import Settings
from mal_core.errors import BadImage

_TIMEOUT_S = 60.0
_NAME_MAX = 255
_ROOT = Path(app.__file__).resolve().parent.parent


class Intake:
    """Takes uploads in, one at a time, from any thread.

    Args:
        settings: where rasters are stored, and the limits.
        timeout_s: how long one file may take to decode.
    """

    def __init__(self, settings: Settings, timeout_s: float = _TIMEOUT_S) -> None:
        self._settings = settings
        self._vault = open_vault(settings)
        self._decoder = _Decoder(settings.max_pixels, timeout_s)

    def __enter__(self) -> "Intake":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child process; the next `take` starts another."""
        self._decoder.close()

    def take(self, path: Path, file_name: str) -> TakenImage:
        """Decode a file and store its raster and thumbnail.

        Args:
            path: the uploaded file; only read.
            file_name: the name it came with; used in texts and exports, never as a path.

        Raises:
            BadImage: the file is not an image we take; the text names the file and says why.
            DiskFull, Unavailable: the raster could not be kept, by the disk or the image store.
        """
        name = clean_name(file_name)
        if (size := path.stat().st_size) > self._settings.max_upload_bytes:
            limit = self._settings.max_upload_bytes
            raise BadImage(f"{name} has {size:,} bytes; the limit is {limit:,}")
        with on_disk(f"{name} could not be stored"), self._scratch() as folder:
            reply = self._decoder.ask(path.resolve(), Path(folder).resolve())
            if "refused" in reply:
                raise BadImage(f"{name} {reply['refused']}")
            if "fault" in reply:
                raise OSError(*reply["fault"])
            n_bytes = sum(file.stat().st_size for file in Path(folder).iterdir())
            sha256 = self._store(Path(folder), reply["extension"])
        return TakenImage(sha256, _hash(path), **reply, file_name=name, n_bytes=n_bytes)

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A folder on the disk of the rasters, so that they need only be moved."""
        scratch = self._vault.scratch
        scratch.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="incoming-", dir=scratch)

    def _store(self, folder: Path, extension: str) -> str:
        """Keep raster and thumbnail, the thumbnail first."""
        sha256 = _hash(folder / "raster")
        self._vault.keep(name_of(sha256, THUMBNAIL), folder / "thumb.jpg")
        self._vault.keep(name_of(sha256, f".{extension}"), folder / "raster")
        return sha256


class _Decoder:
    """The child process, started when first needed and again after it died."""

    def __init__(self, max_pixels: int, timeout_s: float) -> None:
        self._command = [sys.executable, "-m", "app.images.decode", str(max_pixels)]
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, source: Path, folder: Path) -> dict[str, Any]:
        """Have one file decoded into a folder; a child that dies or stalls has refused it."""
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._stop()
                self._child = self._start()
            line = self._exchange(self._child, {"source": str(source), "folder": str(folder)})
            if line.endswith(b"\n"):
                reply: dict[str, Any] = orjson.loads(line)
                return reply
            self._stop()
        return {"refused": "could not be decoded: it needed too much memory or time, or is hostile"}

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def _exchange(self, child: subprocess.Popen[bytes], request: dict[str, str]) -> bytes:
        """Send a line and wait for one; what is not a whole line means that the child is gone."""
        if child.stdin is None or child.stdout is None:
            raise RuntimeError("the decoder was started without pipes")
        watch = threading.Timer(self._timeout_s, child.kill)
        watch.daemon = True
        watch.start()
        try:
            child.stdin.write(orjson.dumps(request) + b"\n")
            child.stdin.flush()
            return child.stdout.readline()
        except BrokenPipeError:
            return b""
        finally:
            watch.cancel()

    def _stop(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        with suppress(BrokenPipeError):  # a request the child never read
            self._child.communicate()
        self._child = None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clean_name(file_name: str) -> str:
    """Keep a name as people know it, with folders, but fit to be shown and exported."""
    printable = "".join(c if c.isprintable() else "_" for c in file_name.replace("\\", "/"))
    parts = [part for part in printable.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[-_NAME_MAX:].lstrip("/") or "image"
