"""A disk that refuses, by every route that writes: 507 or 503 with words, and then on as before.

Once as the app sees it, at the first write of each route; and once for real: a server on a small
file system of its own that is full, or, where none may be mounted, one whose files may not grow.
"""

import io
import itertools
import json
import resource
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pil

from app.jobs import Jobs
from app.records import Job, JobState, ModelState, State
from mal_core import coco
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord
from tests.studio.conftest import Studio, open_studio
from tests.studio.faults import Disk, watched_disk
from tests.studio.nursery import Nursery, wait_until
from tests.studio.programs import Door, opened
from tests.studio.rest import everything, to_body
from tests.studio.test_server_killed import serving
from tests.studio.trainer import ended, learned

pytestmark = [pytest.mark.soak, pytest.mark.sqlite]  # whose disk it is
Ask = Callable[[str, str, Any], tuple[int, dict[str, Any]]]
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Route:
    """A request that writes, made anew for each try.

    Attributes:
        make: method, path and body of a request; JSON, or bytes.
        done: its status when all is well.
    """

    make: Callable[[Studio], tuple[str, str, Any]]
    done: int = 200


def save(studio: Studio) -> tuple[str, str, Any]:
    one = studio.store.list_instances(studio.images[0].id)[0]
    return "PUT", f"/mal/annotations/{one.id}", to_body(one, version=one.version)


def delete(studio: Studio) -> tuple[str, str, Any]:
    one = studio.store.list_instances(studio.images[0].id)[-1]
    return "DELETE", f"/mal/annotations/{one.id}", {"version": one.version}


def create(studio: Studio) -> tuple[str, str, Any]:
    one = studio.store.list_instances(studio.images[0].id)[0]
    body = to_body(one, image_id=one.image_id, request_id=f"made {next(_NUMBERS)}")
    return "POST", "/mal/annotations", body


def propose(studio: Studio) -> tuple[str, str, Any]:
    box = {"image_id": studio.images[0].id, "box": [10.0, 20.0, 60.0, 90.0]}
    return "POST", "/mal/propose", box | {"category_id": studio.categories[0].id}


def add_boxes(studio: Studio) -> tuple[str, str, Any]:
    box = {
        "box": [float(next(_NUMBERS) % 50), 2.0, 60.0, 80.0],
        "category_id": studio.categories[0].id,
    }
    return "POST", f"/mal/v1/images/{studio.images[0].id}/boxes", {"boxes": [box]}


def upload(studio: Studio) -> tuple[str, str, Any]:
    name = f"new-{next(_NUMBERS)}.png"
    return "POST", f"/mal/v1/projects/{studio.project.id}/images?file_name={name}", photo()


def bring(studio: Studio) -> tuple[str, str, Any]:
    image = studio.images[0]
    box = (float(next(_NUMBERS) % 50), 2.0, 60.0, 80.0)
    data = Dataset(
        [ImageRecord(1, image.file_name, image.width, image.height)],
        [CategoryRecord(1, "thing")],
        [Annotation(1, 1, 1, box, None)],
    )
    path = studio.settings.data_dir.parent / "boxes.json"
    coco.save(data, path)
    address = f"/mal/v1/projects/{studio.project.id}/imports?file_name=boxes.json"
    return "POST", address, path.read_bytes()


def export(studio: Studio) -> tuple[str, str, Any]:
    return "POST", f"/mal/v1/projects/{studio.project.id}/exports", {"format": "coco"}


def train(studio: Studio) -> tuple[str, str, Any]:
    return "POST", f"/mal/v1/projects/{studio.project.id}/train", {}


CANVAS = {
    "save": Route(save),
    "delete": Route(delete),
    "create": Route(create),
    "propose": Route(propose),
}
ROUTES = CANVAS | {
    "boxes": Route(add_boxes, 201),
    "upload": Route(upload),
    "import": Route(bring),
    "export": Route(export, 201),
    "train": Route(train, 202),
}


def photo() -> bytes:
    """A picture that is in no project yet."""
    noise = np.random.default_rng(next(_NUMBERS)).integers(0, 255, (64, 64, 3), np.uint8)
    Pil.fromarray(noise).save(data := io.BytesIO(), "PNG")
    return data.getvalue()


def fill(studio: Studio) -> None:
    """Masks to save, to export and to learn from."""
    for index in (0, 0, 0, 1, 2):
        studio.add(index, State.ACCEPTED)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with watched_disk() as watched:
        yield watched


@pytest.fixture
def door(disk: Disk, studio: Studio) -> Iterator[Door]:
    fill(studio)
    with opened(studio) as made:
        made.http.headers["x-mal-session"] = studio.sessions.mint("Ada")
        yield made


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        pytest.param("full", 507, "disk_full", id="full"),
        pytest.param("broken", 503, "unavailable", id="broken"),
        pytest.param("read-only", 503, "unavailable", id="read-only"),
    ],
)
def test_every_route_that_writes_says_what_the_disk_refuses_and_then_works(
    disk: Disk,
    studio: Studio,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    status: int,
    code: str,
) -> None:
    monkeypatch.setattr("app.jobs.Jobs._carry_out", lambda *_: None)  # only its start is asked for
    for name, route in ROUTES.items():
        ask, request, before = by_door(door.http), route.make(studio), everything(studio)
        with disk.refusing(1, kind, stays=True):
            told = ask(*request)
        check(name, told, status, code)
        assert everything(studio) == before, name
        assert ask(*request)[0] == route.done, name


def by_door(http: TestClient) -> Ask:
    def ask(method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401
        headers, content = to_request(body)
        answer = http.request(method, path, content=content, headers=headers)
        return answer.status_code, answer.json()

    return ask


def to_request(body: Any) -> tuple[dict[str, str], bytes]:  # noqa: ANN401
    """Headers and content of a body; a version in it goes where routes look for one."""
    if isinstance(body, bytes):
        return {"content-type": "application/octet-stream"}, body
    told = dict(body)
    version = {"if-match": str(told.pop("version"))} if "version" in told else {}
    return version | {"content-type": "application/json"}, json.dumps(told).encode()


def check(name: str, told: tuple[int, dict[str, Any]], status: int, code: str) -> None:
    error = told[1].get("error", {})
    assert (told[0], error.get("code")) == (status, code), (name, told)
    assert len(error["message"]) > 20, name
    assert "Error" not in error["message"], name


def test_a_fine_tune_that_ends_on_a_full_disk_is_published_once_there_is_room(
    disk: Disk,
    studio: Studio,
    jobs: Jobs,
    child: Callable[[str], None],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even the failure can be written down then; the job stays first in line."""
    monkeypatch.setattr("app.worker.PAUSE_SECONDS", 0.02)
    publish, tries = Jobs._publish, itertools.count()

    def on_a_full_disk(own: Jobs, job: Job, result: dict[str, Any]) -> None:
        if next(tries) == 0:
            full.__enter__()
        publish(own, job, result)

    full = disk.refusing(1, "full", stays=True)
    monkeypatch.setattr(Jobs, "_publish", on_a_full_disk)
    child(learned(weights, 0.75))
    started = jobs.start(studio.project.id)
    wait_until(lambda: disk.count > 6)  # by then it was tried more than once
    assert studio.store.get_job(started.id).ended_at is None
    full.__exit__(None, None, None)
    job = ended(studio, started.id)
    assert (job.state, job.launches) == (JobState.DONE, 2)
    assert job.result["state"] == ModelState.PROMOTED


# For real


class Full:
    """A folder on a disk that can be filled and emptied again, or on one that seems so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
        try:
            self.is_mounted = (
                subprocess.run(mount, capture_output=True, check=False).returncode == 0
            )
        except FileNotFoundError:
            self.is_mounted = False
        self._old = resource.RLIM_INFINITY

    def fill(self, pid: int) -> None:
        """Leave no room for whatever the process wants to write."""
        if not self.is_mounted:
            self._old = resource.prlimit(pid, resource.RLIMIT_FSIZE)[0]
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def empty(self, pid: int) -> None:
        """Make room."""
        if self.is_mounted:
            (self.folder / "ballast").unlink()
        else:
            limits = (self._old, resource.RLIM_INFINITY)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Full]:
    made = Full(tmp_path / "disk")
    yield made
    made.close()


def test_a_server_on_a_full_disk_says_so_loses_nothing_and_goes_on(
    nursery: Nursery,
    prepared: Path,
    studio: Studio,
    full: Full,
    tmp_path: Path,
    scale: Callable[[int, int], int],
    tell: Callable[[str], None],
) -> None:
    data = full.folder / "data"
    subprocess.run(["cp", "-r", str(prepared), str(data)], check=True)
    own = open_studio(replace(studio.settings, data_dir=data))
    fill(own)
    whole, routes = scale(0, 1), ROUTES if scale(0, 1) else CANVAS
    kind = f"tests.studio.{'whole_server:serve_all' if whole else 'servers:serve_routes'}"
    said: list[str] = []
    with serving(nursery, own, kind, tmp_path / "said") as (pid, address):
        ask = by_network(address, own.sessions.mint("Ada"))
        for name, route in routes.items():
            request, before = route.make(own), everything(own)
            full.fill(pid)
            status, answer = ask(*request)
            full.empty(pid)
            assert status in (507, 503), (name, answer)
            assert status == 507 or not full.is_mounted, (name, answer)
            check(name, (status, answer), status, answer["error"]["code"])
            said.append(f"{name} {status}")
            assert everything(own) == before, name
            assert ask(*request)[0] == route.done, name
    assert list(own.store.find_troubles()) == []
    own.store.close()
    where = "a full tmpfs" if full.is_mounted else "files that may not grow"
    tell(f"{where}: {', '.join(said)}; each done when there was room")


def by_network(address: str, token: str) -> Ask:
    def ask(method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401
        headers, content = to_request(body)
        headers |= {"x-mal-session": token}
        answer = httpx.request(
            method, address + path, content=content, headers=headers, timeout=120
        )
        return answer.status_code, answer.json()

    return ask
