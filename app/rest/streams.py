"""Long bodies to disk, in bounded memory, under names of our own choice."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from fastapi import Request

from app.errors import Busy, TooLarge, on_disk
from app.programs import safe_name
from app.settings import Settings

AT_ONCE = 4  # bodies that may come in at the same time
REFUSED = "the upload could not be kept"
_CHUNK = 2**20  # bytes written at a time


class Receiver:
    """Takes bodies in; few at a time."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.uploads
        self._max_bytes = settings.max_upload_bytes
        self._places = anyio.CapacityLimiter(AT_ONCE)

    @asynccontextmanager
    async def body(self, request: Request, file_name: str) -> AsyncIterator[Path]:
        """The body as a file, which is gone after.

        Args:
            request: whose body.
            file_name: what the program calls it; only the disk's own characters of it are kept.

        Raises:
            TooLarge: it is, or says it is, longer than an upload may be.
            Busy: many are coming in.
            DiskFull, Unavailable: the disk does not take it.
        """
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said[:20]) > self._max_bytes:
            raise self._too_large()
        try:
            self._places.acquire_on_behalf_of_nowait(request)
        except anyio.WouldBlock as error:
            raise Busy("many files are coming in: try again in a moment") from error
        try:
            with on_disk(REFUSED):
                self._folder.mkdir(parents=True, exist_ok=True)
                folder = tempfile.mkdtemp(prefix="api-", dir=self._folder)
            try:
                path = Path(folder, safe_name(file_name))
                with on_disk(REFUSED):
                    await self._write(request, path)
                yield path
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            self._places.release_on_behalf_of(request)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a file may have {self._max_bytes:,} bytes")

    async def _write(self, request: Request, path: Path) -> None:
        waiting, count = bytearray(), 0
        async with await anyio.open_file(path, "xb") as file:
            async for chunk in request.stream():
                count += len(chunk)
                if count > self._max_bytes:
                    raise self._too_large()
                waiting += chunk
                if len(waiting) >= _CHUNK:
                    await file.write(waiting)
                    waiting = bytearray()
            await file.write(waiting)
