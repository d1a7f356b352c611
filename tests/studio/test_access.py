"""Nobody sees or does what is not theirs: every route, every handler, every id that they take.

Routes and handlers are read from the app itself: one that nobody guards, or that takes an id under
a name the guard does not know, fails here.
"""

import re
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from gradio.context import LocalContext

from app.access import LOCAL, RIGHTS, Caller, Right
from app.accounts import Accounts
from app.api import Api
from app.chronicle import Chronicle
from app.downloads import Downloads
from app.errors import Forbidden, NotFound
from app.guard import KINDS
from app.logbook import Logbook
from app.merging import Merging
from app.pages.house import NEEDS, House
from app.people import Role
from app.records import State
from app.registry import Registry
from tests.studio.conftest import NOW, make_app
from tests.studio.houses import handlers, house, pages, team
from tests.studio.rest import BOX, error_of, everything, put, routes, to_body
from tests.studio.team import ROLES, Team

__all__ = ["handlers", "house", "pages", "team"]  # fixtures
FOR_ALL = {"/mal/session", "/mal/login", "/mal/logout", "/mal/account"}  # name no thing
NO_IDS = {"request_id"}


@pytest.fixture
def app(team: Team, api: Api) -> FastAPI:
    registry = Registry(team.studio.store, team.studio.workflow, None)  # type: ignore[arg-type]
    Downloads(api, team.studio.settings, team.studio.store, registry)
    Logbook(api, Chronicle(team.studio.store, lambda: NOW), Merging(team.studio.store, lambda: NOW))
    return make_app(team.studio, api)


def guarded(app: FastAPI) -> list[APIRoute]:
    """The routes under /mal/, but for those that are about nobody's things."""
    parts = [getattr(route, "original_router", None) for route in app.routes]
    found = [route for part in parts if part is not None for route in part.routes]
    assert all(isinstance(route, APIRoute) for route in found)
    return [route for route in found if route.path not in FOR_ALL]


def right_of(route: APIRoute) -> Right | None:
    (tag,) = route.tags
    return None if tag == "own" else Right(tag)


def requests_of(team: Team) -> list[tuple[str, str, Any]]:
    """Every route with what it takes, all of it of the first project."""
    return [
        *routes(team.theirs),
        ("GET", "/mal/export/1/project-1-coco-x.zip", None),
        ("GET", f"/mal/weights/{team.model.id}", None),
        ("GET", "/mal/agreement/1", None),
        ("GET", "/mal/history/1", None),
        ("GET", "/mal/audit/1", None),
    ]


def route_of(app: FastAPI, method: str, path: str) -> APIRoute:
    bare = path.partition("?")[0]
    (found,) = [r for r in guarded(app) if method in r.methods and r.path_regex.fullmatch(bare)]
    return found


def test_every_route_asks_for_a_right(app: FastAPI) -> None:
    assert len(guarded(app)) >= 20
    for route in guarded(app):
        assert len(route.tags) == 1, f"add {route.path} by Api.add"
        names = [d.call.__qualname__ for d in route.dependant.dependencies if d.call]
        assert "Guard.needing.<locals>.check" in names, route.path


def test_the_guard_knows_every_id_that_a_route_takes(app: FastAPI) -> None:
    schemas = app.openapi()
    words = set()
    for route in guarded(app):
        for method in route.methods:
            operation = schemas["paths"][route.path][method.lower()]
            taken = {p["name"] for p in operation.get("parameters", [])}
            taken |= set(re.findall(r"\w+", str(operation.get("requestBody", ""))))
            assert right_of(route) is not None or not taken & set(KINDS), route.path
            words |= {p["name"] for p in operation.get("parameters", [])}
    for name, schema in schemas["components"]["schemas"].items():
        if name.endswith("Body"):
            words |= set(schema["properties"])
    ids = {word for word in words if re.search(r"(^|_)ids?$", word)} - NO_IDS
    assert ids <= set(KINDS)
    assert {"project_id", "image_id", "instance_id", "category_id", "model_id", "from_id"} <= ids


def test_the_requests_of_this_test_cover_every_route(app: FastAPI, team: Team) -> None:
    covered = {route_of(app, method, path).path_format + method
               for method, path, _ in requests_of(team)}  # fmt: skip
    assert covered == {r.path_format + m for r in guarded(app) for m in r.methods}


def test_a_stranger_gets_from_every_route_what_they_get_for_nothing(
    app: FastAPI, team: Team
) -> None:
    before = everything(team.studio)
    page = team.page(app, "Eve")
    for method, path, body in requests_of(team):
        if right_of(route_of(app, method, path)) is None:
            continue
        answer = page.request(method, path, json=body, headers={"if-match": "1"})
        said = error_of(answer, 404, "not_found")["message"]
        assert re.fullmatch(
            r"there is no (project|image|instance|category|model version) \d+", said
        )
    assert everything(team.studio) == before


def test_one_foreign_id_among_one_s_own_is_enough_to_be_refused(app: FastAPI, team: Team) -> None:
    before = everything(team.studio)
    page, tried = team.page(app, "Eve"), 0
    foreign = {"project_id": 1, "image_id": team.theirs.image_id, "instance_id": team.theirs.id,
               "category_id": team.theirs.draft.category_id, "from_id": team.theirs.id,
               "left": team.theirs.image_id}  # fmt: skip
    for method, path, body in routes(team.instance):
        path = re.sub(r"/1(?=$|/never)", f"/{team.other.id}", path)
        body = body and {**body, **({"project_id": team.other.id} if "project_id" in body else {})}
        route = route_of(app, method, path)
        model = route.body_field
        shape = model.field_info.annotation if model and body else None
        fields = set(getattr(shape, "model_fields", ()))
        for word in fields & set(foreign):
            answer = page.request(method, path, json={**body, word: foreign[word]})
            error_of(answer, 404, "not_found")
            tried += 1
    assert tried >= 10
    assert everything(team.studio) == before


@pytest.mark.parametrize(
    ("spelt", "status"),
    [(" 1 ", 404), ("1", 404), ("+1", 404), ("1.0", 404), (1.0, 404), (True, 404), ("x", 422)],
)
def test_an_id_is_the_same_however_it_is_spelt(
    app: FastAPI, team: Team, spelt: object, status: int
) -> None:
    page = team.page(app, "Eve")
    body = {"project_id": spelt, "name": "mine now"}
    assert page.post("/mal/categories", json=body).status_code == status
    assert page.get(f"/mal/projects/{spelt}").status_code in (404, 422)
    assert "mine now" not in str(team.studio.store.list_categories(1))


@pytest.mark.parametrize("name", [*ROLES, "Ada"])
def test_each_role_may_do_what_the_table_says_and_no_more(
    app: FastAPI, team: Team, name: str
) -> None:
    page = team.page(app, name)
    rights = set(Right) if name == "Ada" else RIGHTS[ROLES[name]]
    for method, path, body in requests_of(team):
        version = str(team.studio.store.get_instance(team.theirs.id).version)
        answer = page.request(method, path, json=body, headers={"if-match": version})
        right = right_of(route_of(app, method, path))
        may = right is None or right in rights
        if name == "Bob" and f"/annotations/{team.theirs.id}" in path:
            may = False  # Pat accepted it: only reviewers change it
        assert (answer.status_code != 403) == may, (method, path, answer.text)


def test_the_table_of_rights_only_grows_with_the_role() -> None:
    annotator, reviewer, admin = (RIGHTS[role] for role in Role)
    assert annotator < reviewer < admin == set(Right) - {Right.SERVE}


def test_an_annotator_changes_proposals_and_their_own(app: FastAPI, team: Team) -> None:
    page, store = team.page(app, "Bob"), team.studio.store
    proposal = team.studio.add(0)
    corrected = to_body(proposal, state="corrected")
    assert put(page, proposal, corrected).status_code == 200
    mine = store.get_instance(proposal.id)
    assert mine.person == "Bob"
    assert put(page, mine, to_body(mine, state="accepted")).status_code == 200


def test_what_others_finished_only_reviewers_change(app: FastAPI, team: Team) -> None:
    for state in (State.CORRECTED, State.ACCEPTED):
        finished = team.studio.add(0, state)
        wanted = to_body(finished, state="proposed")
        refused = error_of(put(team.page(app, "Bob"), finished, wanted), 403, "forbidden")
        assert "only a reviewer" in refused["message"]
        steer = {"image_id": finished.image_id, "box": finished.draft.box, "version": 1,
                 "category_id": finished.draft.category_id, "instance_id": finished.id}  # fmt: skip
        answer = team.page(app, "Bob").post("/mal/propose", json=steer)
        error_of(answer, 403, "forbidden")
        assert put(team.page(app, "Rita"), finished, wanted).status_code == 200


def test_an_annotator_who_loses_a_race_keeps_their_work(app: FastAPI, team: Team) -> None:
    proposal = team.studio.add(0)
    assert put(team.page(app, "Rita"), proposal, to_body(proposal, state="accepted")).is_success
    late = put(team.page(app, "Bob"), proposal, to_body(proposal, state="corrected"))
    error_of(late, 409, "conflict")
    kept = [r for r in team.studio.store.list_revisions(proposal.id) if r.is_conflict]
    assert [revision.person for revision in kept] == ["Bob"]


def test_a_role_that_is_taken_away_is_gone_at_once(app: FastAPI, team: Team) -> None:
    page = team.page(app, "Bob")
    assert page.get("/mal/projects/1").status_code == 200
    team.studio.store.set_role(1, team.users["Bob"].id, None)
    assert page.get("/mal/projects/1").status_code == 404


def test_an_answer_of_before_is_not_told_to_who_lost_their_role_since(
    app: FastAPI, team: Team
) -> None:
    """Neither under the ids of then, nor under those of a project that they still see."""
    page, store, studio = team.page(app, "Bob"), team.studio.store, team.studio
    asked = {"image_id": studio.images[0].id, "box": BOX, "category_id": studio.categories[0].id}
    mine = {"image_id": team.image.id, "box": BOX, "category_id": team.category.id}
    copied = {"state": "corrected", "rle": studio.draft().rle.to_coco()}  # type: ignore[union-attr]
    for path, more in (("/mal/propose", {}), ("/mal/annotations", copied)):
        name = {"request_id": f"asked at {path}"}
        made = page.post(path, json=asked | more | name).json()["id"]
        store.set_role(1, team.users["Bob"].id, None)
        store.set_role(team.other.id, team.users["Bob"].id, Role.ANNOTATOR)
        error_of(page.post(path, json=asked | more | name), 404, "not_found")
        told = error_of(page.post(path, json=mine | more | name), 422, "not_allowed")
        assert str(made) not in str(told)
        store.set_role(1, team.users["Bob"].id, Role.ANNOTATOR)
        assert page.post(path, json=asked | more | name).json()["id"] == made


def called_by(caller: Caller | None, handler: Any, *keys: object) -> str:  # noqa: ANN401
    """What somebody is told who calls a handler; "" where it goes through."""
    scope = {"type": "http", "state": {} if caller is None else {"caller": caller}}
    LocalContext.request.set(gr.Request(request=Request(scope)))
    try:
        handler(*keys)
    except gr.Error as error:
        return str(error.message)
    finally:
        LocalContext.request.set(None)
    return ""


def keys_of(team: Team, kinds: tuple[str, ...]) -> list[int]:
    ids = {
        **{"project": 1, "image": team.studio.images[0].id, "model_version": team.model.id},
        "category": team.studio.categories[0].id,
    }
    return [ids[kind] for kind in kinds]


def test_every_handler_of_the_pages_is_guarded(handlers: list[Any]) -> None:
    assert len(handlers) > 60
    for handler in handlers:
        assert getattr(handler, NEEDS, None) is not None, f"guard {handler} by house.shown"


def test_no_handler_answers_a_stranger_or_anybody_not_logged_in(
    handlers: list[Any], team: Team
) -> None:
    before, asked = everything(team.studio), 0
    for handler in handlers:
        right, kinds = getattr(handler, NEEDS)
        if right is None:
            continue
        keys, asked = keys_of(team, kinds), asked + 1
        told = called_by(team.caller("Eve"), handler, *keys)
        assert re.match("there is no |only an admin of the studio", told), (handler, told)
        assert called_by(None, handler, *keys) == "log in first"
    assert asked > 50
    assert everything(team.studio) == before


def test_no_handler_lets_a_role_do_more_than_the_table_says(
    handlers: list[Any], team: Team
) -> None:
    before, refused = everything(team.studio), 0
    for handler in handlers:
        right, kinds = getattr(handler, NEEDS)
        for name, role in ROLES.items():
            if right is None or right in RIGHTS[role]:
                continue
            told = called_by(team.caller(name), handler, *keys_of(team, kinds))
            assert re.search("you may not|only an admin of the studio", told), (handler, told)
            refused += 1
    assert refused > 40
    assert everything(team.studio) == before


def test_a_second_id_must_be_one_s_to_see(handlers: list[Any], team: Team) -> None:
    seen = 0
    for handler in handlers:
        _, kinds = getattr(handler, NEEDS)
        if "model_version" in kinds[1:]:
            rest = [team.model.id] * (len(kinds) - 1)
            told = called_by(team.caller("Eve"), handler, team.other.id, *rest)
            assert told == f"there is no model version {team.model.id}"
            seen += 1
    assert seen >= 4


def test_everybody_sees_their_own_projects_only(house: House, team: Team) -> None:
    for name, names in (("Eve", ["Eve's"]), ("Bob", ["Photos"]), ("Ada", ["Photos", "Eve's"])):
        found = house.access.projects(team.caller(name))
        assert [project.name for project in found] == names
    assert len(house.access.projects(LOCAL)) == 2


def test_a_model_that_came_with_the_studio_is_everybody_s_to_see_and_nobody_s_to_change(
    house: House, team: Team
) -> None:
    bundled, pat = team.studio.project.model_id, team.caller("Pat")
    house.access.check(pat, Right.VIEW, "model_version", bundled)
    house.access.check(pat, Right.EXPORT, "model_version", bundled)
    with pytest.raises(Forbidden, match="only an admin of the studio"):
        house.access.check(pat, Right.TRAIN, "model_version", bundled)
    with pytest.raises(NotFound):
        house.access.check(pat, Right.VIEW, "model_version", 99)


def test_the_revision_names_who_is_logged_in_and_not_whom_the_page_claims(
    app: FastAPI, team: Team
) -> None:
    page, proposal = team.page(app, "Bob"), team.studio.add(0)
    page.headers["x-mal-session"] = team.studio.sessions.mint("Rita")
    error_of(put(page, proposal, to_body(proposal)), 403, "forbidden")
    renewed = page.post("/mal/session")
    error_of(renewed, 403, "forbidden")
    page.headers["x-mal-session"] = team.studio.sessions.mint("Bob")
    assert page.post("/mal/session").is_success
    assert put(page, proposal, to_body(proposal)).json()["person"] == "Bob"


def test_a_token_speaks_for_its_user_without_a_page(app: FastAPI, team: Team) -> None:
    token = Accounts(team.studio.store).make_token(team.users["Bob"].id, "robot", None, "Ada")
    program = TestClient(app, "http://127.0.0.1:7860", raise_server_exceptions=False)
    program.headers["authorization"] = f"Bearer {token}"
    assert program.get("/mal/projects/1").json()["person"] == "Bob"
    error_of(program.get(f"/mal/projects/{team.other.id}"), 404, "not_found")
    error_of(program.post("/mal/accept", json={"project_id": 1}), 403, "forbidden")
    program.headers["authorization"] = f"Bearer {token}x"
    error_of(program.get("/mal/projects/1"), 401, "login")
