"""Probes, figures, the id of a request, and the end: all before any login."""

import logging
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from app.accounts import Accounts
from app.logs import reference
from app.metrics import Metrics
from app.vitals import Vitals
from app.watch import DRAIN_SECONDS, Drain, Watch
from app.workflow import Workflow
from tests.studio.conftest import HOST, NOW, Studio
from tests.studio.test_logins import CHEAP


@dataclass
class Watched:
    """A small app under watch."""

    app: ASGIApp
    drain: Drain
    metrics: Metrics
    vitals: Vitals
    accounts: Accounts
    inside: FastAPI

    def client(self, host: str = HOST, peer: str = "127.0.0.1") -> TestClient:
        return TestClient(
            self.app, f"http://{host}", raise_server_exceptions=False, client=(peer, 5000)
        )

    def figure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"mal_{name}", labels)


@pytest.fixture
def watched(studio: Studio) -> Watched:
    inside, metrics, drain = FastAPI(), Metrics(), Drain()
    accounts = Accounts(studio.store, CHEAP)
    vitals = Vitals(studio.settings, studio.store, studio.workflow, accounts, metrics, lambda: 3)
    inside.add_api_route("/mal/thing/{name}", lambda name: {"name": name}, methods=["GET"])
    inside.add_api_route("/mal/id", lambda: {"reference": reference()}, methods=["GET"])
    inside.add_api_route("/mal/bad", lambda: 1 / 0, methods=["GET"])
    watched = Watch(inside, vitals, drain)
    return Watched(watched, drain, metrics, vitals, accounts, inside)


@pytest.fixture
def admin(watched: Watched) -> dict[str, str]:
    """The header of an admin's program; from now on there are users."""
    user = watched.accounts.add_user("Ada", "correct horse battery", is_admin=True, by="test")
    return {"Authorization": f"Bearer {watched.accounts.make_token(user.id, 'probe', 1, 'test')}"}


def test_it_lives_while_it_answers(watched: Watched) -> None:
    assert watched.client().get("/healthz").json() == {"status": "ok"}


def test_it_is_ready_with_a_database_a_model_and_room(watched: Watched) -> None:
    answer = watched.client().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def broken(watched: Watched, studio: Studio, how: str) -> Vitals:
    """Vitals of a studio in which something is wrong."""
    settings, store = studio.settings, studio.store
    if how == "disk":
        settings = replace(settings, disk_floor_bytes=2**50)
    elif how == "model":
        for path in settings.models.iterdir():
            path.unlink()
    else:
        store.close()
        settings.data_dir.joinpath("studio.db").unlink()
        settings.data_dir.joinpath("studio.db").mkdir()
    fresh = Workflow(settings, store)
    return Vitals(settings, store, fresh, watched.accounts, Metrics(), lambda: 0)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("disk", "bytes left"),
        ("model", "safetensors: No such file"),
        pytest.param("database", "", marks=pytest.mark.sqlite),
    ],
)
def test_what_is_wrong_makes_it_unready_and_is_said_on_this_machine(
    watched: Watched, studio: Studio, how: str, text: str
) -> None:
    vitals = broken(watched, studio, how)
    client = TestClient(
        Watch(watched.inside, vitals, Drain()), f"http://{HOST}",
        client=("127.0.0.1", 5000),
    )  # fmt: skip
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["status"] == "unavailable"
    if how != "database":  # without one, nobody is known to be of this machine
        assert re.search(text, " ".join(answer.json()["reasons"]))
    assert str(studio.settings.data_dir) not in answer.text


@pytest.mark.parametrize(("host", "peer"), [("studio.example", "127.0.0.1"), (HOST, "10.0.0.9")])
def test_a_stranger_learns_that_it_is_not_ready_and_not_why(
    watched: Watched, studio: Studio, host: str, peer: str
) -> None:
    vitals = broken(watched, studio, "disk")
    app = Watch(watched.inside, vitals, Drain())
    client = TestClient(app, f"http://{host}", client=(peer, 5000))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json() == {"status": "unavailable"}
    assert client.get("/metrics").status_code == 403


def test_with_users_only_an_admins_token_reads_figures(
    watched: Watched, admin: dict[str, str]
) -> None:
    accounts = watched.accounts
    other = accounts.add_user("Eve", "correct horse battery", is_admin=False, by="test")
    token = accounts.make_token(other.id, "hers", 1, "test")
    client = watched.client()
    for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Authorization": "Bearer mal_no"}):
        assert client.get("/metrics", headers=headers).status_code == 403
    assert client.get("/metrics", headers=admin).status_code == 200


def test_figures_tell_routes_by_template_and_nothing_by_name(
    watched: Watched, studio: Studio
) -> None:
    client = watched.client()
    for name in ("secret-plan.png", "ada"):
        client.get(f"/mal/thing/{name}")
    client.get("/nowhere/secret-plan.png")
    client.request("BREW", "/mal/thing/pot")
    text = client.get("/metrics").text
    route = {"method": "GET", "route": "/mal/thing/{name}"}
    assert watched.figure("requests_total", status="200", **route) == 2
    assert watched.figure("request_seconds_count", **route) == 2
    assert watched.figure("requests_total", method="GET", route="other", status="404") == 1
    assert "BREW" not in text
    for word in ("secret-plan", "ada", "coffee", "Photos", str(studio.settings.data_dir)):
        assert word not in text


def test_figures_tell_what_waits_what_jobs_there_are_and_what_the_disk_holds(
    watched: Watched, studio: Studio
) -> None:
    studio.store.add_job(studio.project.id, "fine-tune", {}, NOW)
    watched.client().get("/metrics")
    assert watched.figure("queue_length") == 3
    assert watched.figure("jobs", state="queued") == 1
    assert watched.figure("jobs", state="running") == 0
    images = sum(path.stat().st_size for path in studio.settings.images.rglob("*.*"))
    assert watched.figure("disk_bytes", folder="images") == images
    is_file = isinstance(studio.settings.database, Path)
    assert bool(watched.figure("disk_bytes", folder="database")) is is_file
    assert (watched.figure("disk_free_bytes") or 0) > 0


def test_figures_tell_the_boxes_that_got_a_mask(studio: Studio) -> None:
    metrics = Metrics()
    workflow = Workflow(studio.settings, studio.store, labelled=metrics.labelled)
    workflow.propose(studio.images[0].id, (10, 10, 60, 60), studio.categories[0].id, "Ada")
    assert metrics.registry.get_sample_value("mal_boxes_proposed_total") == 1
    assert (metrics.registry.get_sample_value("mal_model_seconds_sum") or 0) > 0


def test_two_studios_in_a_process_count_apart(watched: Watched) -> None:
    other = Metrics()
    watched.client().get("/healthz")
    assert b'route="/healthz"' in watched.metrics.text()
    assert b'route="/healthz"' not in other.text()


def test_each_request_has_an_id_that_its_error_and_its_log_line_carry(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "app.requests"):
        answers = [watched.client().get("/mal/id") for _ in range(2)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [answer.json()["reference"] for answer in answers] == ids
    assert len(set(ids)) == 2
    fields: dict[str, Any] = vars(caplog.records[-1])["fields"]
    assert (fields["method"], fields["route"], fields["status"]) == ("GET", "/mal/id", 200)


def test_a_request_that_breaks_is_counted(watched: Watched) -> None:
    watched.client().get("/mal/bad")
    labels = {"method": "GET", "route": "/mal/bad", "status": "500"}
    assert watched.figure("requests_total", **labels) == 1
    assert watched.drain.in_hand == 0


def test_a_stopping_studio_finishes_what_is_in_hand_and_refuses_the_rest(watched: Watched) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> dict[str, bool]:
        begun.set()
        return {"saved": go_on.wait(30)}

    watched.inside.add_api_route("/mal/slow", slow, methods=["PUT"])

    async def story() -> tuple[httpx.Response, list[httpx.Response]]:
        transport = httpx.ASGITransport(watched.app)
        found: list[httpx.Response] = []
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:

            async def save() -> None:
                found.append(await client.put("/mal/slow"))

            async with anyio.create_task_group() as group:
                group.start_soon(save)
                await anyio.to_thread.run_sync(begun.wait, 30)
                assert not watched.drain.is_over
                watched.drain.begin()
                assert not watched.drain.is_over, "a save is in hand"
                paths = ("/mal/id", "/readyz", "/healthz")
                late = [await client.get(path) for path in paths]
                go_on.set()
        return found[0], late

    saved, late = anyio.run(story)
    assert saved.json() == {"saved": True}
    assert [answer.status_code for answer in late] == [503, 503, 200]
    assert late[0].headers["retry-after"] == "5"
    assert late[0].json()["error"]["code"] == "stopping"
    assert watched.drain.is_over


def test_the_end_comes_even_if_something_hangs() -> None:
    now = [0.0]
    drain = Drain(lambda: now[0])
    drain.in_hand = 1
    drain.begin()
    now[0] = DRAIN_SECONDS - 1
    drain.begin()  # told once more: the bound does not move
    assert not drain.is_over
    now[0] = DRAIN_SECONDS
    assert drain.is_over


def test_a_studio_that_was_not_told_to_stop_goes_on() -> None:
    assert not Drain().is_over
