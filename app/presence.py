"""Who is here: the last signs of life of the pages that are open; kept in memory only.

A studio that starts anew hears from every open page within one beat, so nothing is stored.
"""

from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from app.leases import LEASE


@dataclass(frozen=True)
class Visit:
    """Somebody looks at a project; `image_id` is None while none of its images is open."""

    project_id: int
    person: str
    image_id: int | None


class Presence:
    """Thread-safe; the time is passed in."""

    def __init__(self) -> None:
        self._seen: dict[Visit, datetime] = {}
        self._lock = Lock()

    def note(self, visit: Visit, now: datetime) -> None:
        """A page gave a sign of life."""
        with self._lock:
            self._seen[visit] = now

    def leave(self, visit: Visit) -> None:
        """A page went elsewhere; another one of the same person there is heard of again."""
        with self._lock:
            self._seen.pop(visit, None)

    def here(self, project_id: int, now: datetime) -> list[Visit]:
        """Who was heard of lately, by name and image; a person may look at several images."""
        with self._lock:
            self._seen = {visit: at for visit, at in self._seen.items() if now - at < LEASE}
            mine = [visit for visit in self._seen if visit.project_id == project_id]
        return sorted(mine, key=lambda visit: (visit.person, visit.image_id or 0))
