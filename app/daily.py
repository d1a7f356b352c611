"""What each person may send in a day; kept in a file, so that a restart forgives nothing."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import orjson
from pydantic import TypeAdapter, ValidationError

from app.errors import Busy, on_disk
from mal_core.files import write_whole

DAY = 24 * 3600.0  # seconds
_KEPT = TypeAdapter(dict[str, tuple[float, int]])  # since when, and how many bytes
log = logging.getLogger(__name__)


class DailyBytes:
    """Counts by person; thread-safe.

    Args:
        path: the file; made at first need.
        limit: bytes that one person may send in a day.
        now: seconds since the epoch.
    """

    def __init__(self, path: Path, limit: int, now: Callable[[], float] = time.time) -> None:
        self._path, self._limit, self._now = path, limit, now
        self._lock = Lock()
        self._sent = _read(path)

    def spend(self, person: str, size: int) -> None:
        """Count bytes that somebody is about to send.

        Raises:
            Busy: they sent too much since their day began; nothing was counted.
            DiskFull, Unavailable: the count cannot be kept.
        """
        with self._lock:
            now = self._now()
            since, sent = self._sent.get(person, (now, 0))
            if now - since >= DAY:
                since, sent = now, 0
            if sent + size > self._limit:
                raise Busy(f"you may send {self._limit:,} bytes a day: go on tomorrow")
            self._sent[person] = (since, sent + size)
            with on_disk("nothing was taken"):
                write_whole(self._path, orjson.dumps(self._sent))


def _read(path: Path) -> dict[str, tuple[float, int]]:
    """What was counted before; nothing where the file cannot be read."""
    try:
        return _KEPT.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError):
        log.warning("%s cannot be read: everybody's day begins anew", path.name)
        return {}
