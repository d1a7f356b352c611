"""Whatever goes out by a link or to a program, asked for by real requests of every role.

The routes for programs are read from the app, so that a new one without a request here fails.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from app.access import RIGHTS, Right
from app.downloads import export_address, weights_address
from app.logbook import audit_address, history_address
from app.records import Sieve
from tests.studio.conftest import NOW, Studio
from tests.studio.programs import Door, opened
from tests.studio.rest import BOX, error_of, everything, to_body
from tests.studio.team import ROLES, Team, make_team

NAME = "project-1-coco-x.zip"
SECRET = b"nobody else's"
PEOPLE = (*ROLES, "Ada", "Eve")


@pytest.fixture
def team(studio: Studio) -> Team:
    """With files that a link leads to, and acts in the log of both projects."""
    made = make_team(studio)
    for folder, name in ((studio.settings.exports, NAME),
                         (studio.settings.models, f"{made.model.sha256}.safetensors")):  # fmt: skip
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(SECRET)
    for project, word in ((studio.project.id, "in the first"), (made.other.id, "in Eve's")):
        studio.store.add_audit("Pat", "export", NOW, project_id=project, subject=word)
    studio.store.add_audit("Ada", "user.add", NOW, subject="of the studio")
    return made


@pytest.fixture
def door(team: Team) -> Iterator[Door]:
    with opened(team.studio) as made:
        yield made


def links(team: Team) -> dict[str, Right]:
    """Every address that a page leads to, and what one must have a right to."""
    first = team.studio.project.id
    return {
        history_address(first, Sieve()): Right.VIEW,
        history_address(first, Sieve(person="Pat", text="x")): Right.VIEW,
        audit_address(first): Right.MANAGE,
        export_address(first, Path(NAME)): Right.EXPORT,
        weights_address(team.model.id): Right.EXPORT,
        f"/mal/v1/projects/{first}/exports/{NAME}": Right.EXPORT,
        f"/mal/image/{team.theirs.image_id}": Right.VIEW,
        f"/mal/image/{team.theirs.image_id}?size=thumb": Right.VIEW,
        f"/mal/v1/images/{team.theirs.image_id}/file": Right.VIEW,
    }


def rights_of(name: str) -> frozenset[Right]:
    """In the first project."""
    if name == "Ada":
        return frozenset(Right)
    return RIGHTS[ROLES[name]] if name in ROLES else frozenset()


@pytest.mark.parametrize("name", PEOPLE)
def test_a_link_saves_what_its_role_may_have_and_nothing_else(
    door: Door, team: Team, name: str
) -> None:
    page = team.page(door.app, name)
    for address, right in links(team).items():
        if address.startswith("/mal/image"):  # the page asks for these itself
            answer = page.get(address)
        else:
            page.headers.pop("x-mal-session", None)  # a link sends the cookie alone
            answer = page.get(address)
            page.headers["x-mal-session"] = team.studio.sessions.mint(name)
        if right in rights_of(name):
            assert answer.status_code == 200, (address, answer.text)
            assert answer.content
        else:
            is_member = name in ROLES
            error_of(answer, *((403, "forbidden") if is_member else (404, "not_found")))
            assert SECRET not in answer.content


@pytest.mark.parametrize("address", ["/mal/history/1", "/mal/audit/1", f"/mal/export/1/{NAME}"])
def test_a_link_is_nothing_without_a_login(door: Door, address: str) -> None:
    error_of(TestClient(door.app, "http://127.0.0.1:7860").get(address), 401, "login")


def test_an_export_of_another_project_is_not_had_under_the_number_of_one_s_own(
    door: Door, team: Team
) -> None:
    page = team.page(door.app, "Eve")
    mine = team.other.id
    for name in (NAME, f"../exports/{NAME}", f"project-{mine}-x/../{NAME}", f"%2e%2e/{NAME}"):
        for way in (f"/mal/export/{mine}/", f"/mal/v1/projects/{mine}/exports/"):
            answer = page.get(way + name)
            assert answer.status_code in (404, 422), (way + name, answer.status_code)
            assert SECRET not in answer.content


def test_the_log_tells_an_admin_of_a_project_of_that_project_alone(door: Door, team: Team) -> None:
    told = {name: team.page(door.app, name).get(audit_address(project)).text
            for name, project in (("Pat", 1), ("Eve", team.other.id), ("Ada", 1))}  # fmt: skip
    assert [("in the first" in text, "in Eve's" in text, "of the studio" in text)
            for text in told.values()] == [
        (True, False, False), (False, True, False), (True, True, True)
    ]  # fmt: skip


def test_the_history_of_a_project_tells_nothing_of_another(door: Door, team: Team) -> None:
    lines = team.page(door.app, "Eve").get(history_address(team.other.id, Sieve())).text
    assert "hers" in lines
    assert "Pat" not in lines


def requests_of(team: Team) -> dict[str, tuple[str, Any]]:
    """A request to every route for programs that names something, all of the first project."""
    project, image = f"/mal/v1/projects/{team.studio.project.id}", team.theirs.image_id
    one, job = f"/mal/v1/instances/{team.theirs.id}", f"/mal/v1/jobs/{team_job(team)}"
    image_at, category = f"/mal/v1/images/{image}", team.theirs.draft.category_id
    box, given = {"box": BOX, "category_id": category}, {"image_ids": [image], "person": "Bob"}
    return {
        "GET /projects/{project_id}": (project, None),
        "GET /projects/{project_id}/categories": (f"{project}/categories", None),
        "POST /projects/{project_id}/categories": (f"{project}/categories", {"name": "new"}),
        "GET /projects/{project_id}/images": (f"{project}/images", None),
        "POST /projects/{project_id}/images": (f"{project}/images?file_name=a.png", b"x"),
        "POST /projects/{project_id}/imports": (f"{project}/imports?file_name=a.json", b"{"),
        "POST /projects/{project_id}/exports": (f"{project}/exports", {"format": "none"}),
        "GET /projects/{project_id}/exports/{name}": (f"{project}/exports/{NAME}", None),
        "POST /projects/{project_id}/train": (f"{project}/train", {}),
        "POST /projects/{project_id}/propose": (f"{project}/propose", None),
        "GET /projects/{project_id}/jobs": (f"{project}/jobs", None),
        "GET /projects/{project_id}/models": (f"{project}/models", None),
        "POST /projects/{project_id}/models/{number}/use": (f"{project}/models/99/use", None),
        "POST /projects/{project_id}/roll-back": (f"{project}/roll-back", None),
        "GET /images/{image_id}/file": (f"{image_at}/file", None),
        "GET /images/{image_id}/instances": (f"{image_at}/instances", None),
        "POST /images/{image_id}/boxes": (f"{image_at}/boxes", {"boxes": [box]}),
        "POST /images/{image_id}/propose": (f"{image_at}/propose", box),
        "GET /instances/{instance_id}": (one, None),
        "PUT /instances/{instance_id}": (one, to_body(team.theirs)),
        "POST /instances/{instance_id}/propose": (f"{one}/propose", None),
        "POST /instances/{instance_id}/review": (f"{one}/review", {"verdict": "accept"}),
        "GET /projects/{project_id}/assignments": (f"{project}/assignments", None),
        "POST /projects/{project_id}/assignments": (f"{project}/assignments", given),
        "POST /projects/{project_id}/withdrawals": (f"{project}/withdrawals", given),
        "POST /projects/{project_id}/deal": (f"{project}/deal", {"people": ["Bob"]}),
        "GET /projects/{project_id}/agreement": (f"{project}/agreement", None),
        "POST /images/{image_id}/done": (f"{image_at}/done", {}),
        "GET /jobs/{job_id}": (job, None),
        "POST /jobs/{job_id}/pause": (f"{job}/pause", None),
        "POST /jobs/{job_id}/go": (f"{job}/go", None),
        "POST /jobs/{job_id}/stop": (f"{job}/stop", None),
        "POST /jobs/{job_id}/verdict": (f"{job}/verdict", {"use": False}),
    }


def team_job(team: Team) -> int:
    """A fine-tune of the first project that is over."""
    jobs = team.studio.store.list_jobs(team.studio.project.id, "train")
    return jobs[0].id if jobs else team.studio.store.add_job(1, "train", {}, NOW).id


def programs_routes(door: Door) -> dict[str, Right | None]:
    """What each route for programs asks for, as its tag says."""
    found = {}
    for part in door.app.routes:
        for route in getattr(getattr(part, "original_router", None), "routes", []):
            if isinstance(route, APIRoute) and route.path.startswith("/mal/v1/"):
                (tag,), (method,) = route.tags, route.methods
                path = route.path.removeprefix("/mal/v1")
                found[f"{method} {path}"] = None if tag == "own" else Right(tag)
    return found


def test_every_route_for_programs_that_names_something_is_tried(door: Door, team: Team) -> None:
    named = {act for act, right in programs_routes(door).items() if "{" in act}
    assert named == requests_of(team).keys()
    assert all(programs_routes(door)[act] is not None for act in named)


@pytest.mark.parametrize("name", PEOPLE)
def test_a_program_does_what_the_role_of_its_person_may_and_nothing_else(
    door: Door, team: Team, name: str
) -> None:
    page, routes = team.page(door.app, name), programs_routes(door)
    before, wanted = everything(team.studio), requests_of(team)
    for act, (address, body) in wanted.items():
        version = str(team.studio.store.get_instance(team.theirs.id).version)
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers = {} if act.startswith("GET") else {"if-match": version}
        answer = page.request(act.split()[0], address, headers=headers, **sent)
        may = routes[act] in rights_of(name)
        if name == "Bob" and act.split()[1].startswith("/instances/") and act[:3] != "GET":
            may = False  # Pat accepted it: only reviewers change it
        if name == "Eve":
            said = error_of(answer, 404, "not_found")["message"]
            assert re.fullmatch(r"there is no (project|image|instance|job) \d+", said), act
        elif not may:
            error_of(answer, 403, "forbidden")
        else:
            assert answer.status_code not in (401, 403, 500), (act, answer.text)
    assert name != "Eve" or everything(team.studio) == before
