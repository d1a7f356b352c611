"""How many bytes the images of each project take, and that they stay under what it may hold."""

from threading import Lock

from app.errors import OverQuota
from app.images import open_vault, raster_name, thumbnail_name
from app.settings import Settings
from app.store import Store


class Room:
    """Measures a project when it is first asked for, and counts from there; thread-safe.

    A picture that two projects share counts in both. The image that reaches the limit is still
    taken, as nobody knows how large it becomes before it is decoded.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._limit, self._store = settings.project_bytes, store
        self._vault = open_vault(settings)
        self._used: dict[int, int] = {}
        self._lock = Lock()

    def check(self, project_id: int) -> None:
        """See that a project may take another image.

        Raises:
            OverQuota: it is full.
            NotFound: there is no such project.
            Unavailable: the image store cannot be reached.
        """
        if (used := self.used(project_id)) >= self._limit:
            raise OverQuota(
                f"the images of this project take {used:,} bytes, and it may hold {self._limit:,}:"
                " begin another project, or have MAL_PROJECT_BYTES raised"
            )

    def used(self, project_id: int) -> int:
        """Bytes of rasters and thumbnails of a project."""
        with self._lock:
            if project_id not in self._used:
                self._used[project_id] = self._measure(project_id)
            return self._used[project_id]

    def add(self, project_id: int, n_bytes: int) -> None:
        """Count an image that was added, where the project is not measured anew anyway."""
        with self._lock:
            if project_id in self._used:
                self._used[project_id] += n_bytes

    def forget(self, project_id: int) -> None:
        """Measure a project anew when it is next asked for."""
        with self._lock:
            self._used.pop(project_id, None)

    def _measure(self, project_id: int) -> int:
        images = [summary.image for summary in self._store.list_images(project_id)]
        sizes = self._vault.sizes() if images else {}
        names = {name(image) for image in images for name in (raster_name, thumbnail_name)}
        return sum(sizes.get(name, 0) for name in names)
