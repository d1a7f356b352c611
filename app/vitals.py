"""Whether the studio lives, is ready, and how it does: for probes, balancers and Prometheus.

Anyone may ask whether it answers and whether it is ready; why it is not, and all figures, are for
an admin's token, or, in a studio without users, for its own machine.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from threading import Lock

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.accounts import Accounts
from app.images import open_vault
from app.metrics import Gauges, Metrics, folder_bytes
from app.settings import Settings
from app.store import Store
from app.workflow import Workflow
from mal_core.errors import MALError

PATHS = ("/healthz", "/readyz", "/metrics")
KEPT_SECONDS = 1.0  # an answer of /readyz is good for; strangers may ask as often as they like
MEASURED_SECONDS = 300.0  # folders are measured anew after
FOLDERS = ("images", "cache", "pyramids", "jobs", "models", "exports")


class Vitals:
    """Answers the three routes.

    Args:
        settings: where the data are, and how much room there must be.
        store: the database.
        workflow: has the model.
        accounts: knows whose token it is.
        metrics: the figures.
        waiting: how many requests wait for the model.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        workflow: Workflow,
        accounts: Accounts,
        metrics: Metrics,
        waiting: Callable[[], int],
    ) -> None:
        self._settings, self._store, self._workflow = settings, store, workflow
        self._accounts, self.metrics = accounts, metrics
        self._is_model_loaded = False
        self._looking = Lock()
        self._seen: tuple[float, list[str]] = (-KEPT_SECONDS, ["it has only begun"])
        self._measured: tuple[float, Mapping[str, int]] = (-MEASURED_SECONDS, {})
        metrics.watch(Gauges(waiting, store.count_jobs, self._bytes_by_folder, self._free))

    def answer(self, request: Request) -> Response:
        """What a probe asked for."""
        path = request.scope["path"]
        if path == "/healthz":
            return JSONResponse({"status": "ok"})
        if path == "/readyz":
            return self._readiness(request)
        if not self._may_know(request):
            return JSONResponse({"error": {"code": "forbidden", "message": "for an admin's token,"
                " or this machine where there are no users"}}, 403)  # fmt: skip
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    def reasons(self) -> list[str]:
        """Why the studio is not ready; nothing if it is."""
        if not self._looking.acquire(blocking=False):  # a database at work must not hold all
            return self._seen[1]
        try:
            if time.monotonic() - self._seen[0] >= KEPT_SECONDS:
                found = [look() for look in self._looks()]
                self._seen = (time.monotonic(), [text for text in found if text])
            return self._seen[1]
        finally:
            self._looking.release()

    def _looks(self) -> Sequence[Callable[[], str]]:
        return self._database, self._disk, self._model, open_vault(self._settings).obstacle

    def _readiness(self, request: Request) -> Response:
        reasons = self.reasons()
        told: dict[str, object] = {"status": "unavailable" if reasons else "ready"}
        if reasons and self._may_know(request):
            told["reasons"] = reasons
        headers = {"Retry-After": "5"} if reasons else None
        return JSONResponse(told, 503 if reasons else 200, headers)

    def _may_know(self, request: Request) -> bool:
        try:
            if not self._store.has_users():
                return _is_of_this_machine(request)
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            found = self._accounts.find_token(token) if kind.lower() == "bearer" else None
        except MALError:  # no database, no detail
            return False
        return found is not None and found[1].is_admin

    def _database(self) -> str:
        try:
            with self._store.transaction():  # begins to write, and writes nothing
                return ""
        except MALError as error:
            return str(error)

    def _disk(self) -> str:
        free, floor = self._free(), self._settings.disk_floor_bytes
        if free >= floor:
            return ""
        return f"the data disk has {free:,} bytes left; there must be {floor:,}"

    def _model(self) -> str:
        """Load a model once; later on the workflow keeps those it needs."""
        if not self._is_model_loaded:
            try:
                for project in self._store.list_projects()[-1:]:
                    model = self._workflow.model_in_use(project.id)
                    self._workflow.adopt(model.sha256, model.name)
            except MALError as error:
                return str(error)
            self._is_model_loaded = True
        return ""

    def _free(self) -> int:
        return shutil.disk_usage(self._settings.data_dir).free

    def _bytes_by_folder(self) -> Mapping[str, int]:
        at, sizes = self._measured
        if time.monotonic() - at >= MEASURED_SECONDS:
            sizes = {name: folder_bytes(self._settings.data_dir / name) for name in FOLDERS}
            self._measured = (time.monotonic(), sizes)
        database = self._settings.data_dir.glob("studio.db*")
        return {**sizes, "database": sum(path.stat().st_size for path in database)}


def _is_of_this_machine(request: Request) -> bool:
    """Whether nobody but this machine's own people can have sent it: no page, no other name."""
    names = (request.client.host if request.client else "", request.url.hostname or "")
    return all(name == "localhost" or _is_loopback(name) for name in names)


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
