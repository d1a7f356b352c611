"""The routes under /mal/: whom and what they refuse, and that a refusal changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from itsdangerous import TimestampSigner

from app.answers import SECURITY_HEADERS
from app.auth import MAX_AGE, Sessions
from app.entrance import BODY_LIMIT
from app.records import Instance
from tests.studio.conftest import HOST, NOW, Studio
from tests.studio.rest import error_of, everything, propose, put, routes, to_body

MANY_DIGITS = "9" * 5000
NO_ID = [0, -1, 99, 2**63, 10**30]


@pytest.fixture
def instance(studio: Studio) -> Instance:
    """One on an image that is Ada's to do."""
    studio.store.assign(studio.images[0].id, "Ada", "Ada", NOW)
    return studio.add()


@pytest.fixture
def unchanged(studio: Studio, instance: Instance) -> Iterator[None]:
    """Whatever the test does leaves the studio as it was."""
    before = everything(studio)
    yield
    assert everything(studio) == before


@pytest.mark.parametrize("token", ["none", "forged", "expired", "of another folder"])
def test_no_route_answers_without_a_valid_token(
    client: TestClient,
    studio: Studio,
    instance: Instance,
    unchanged: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
) -> None:
    good = client.headers.pop("x-mal-session")
    if token == "expired":
        later = TimestampSigner("any").get_timestamp() + MAX_AGE + 60
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: later)
    tokens = {
        "none": {},
        "forged": {
            "x-mal-session": studio.sessions.mint("Eve").split(".")[0] + good[good.index(".") :]
        },
        "expired": {"x-mal-session": good},
        "of another folder": {"x-mal-session": Sessions(tmp_path / "other").mint("Ada")},
    }
    for method, path, body in routes(instance):
        headers = {"if-match": "1"} | tokens[token]
        response = client.request(method, path, json=body, headers=headers)
        assert "reload the page" in error_of(response, 403, "forbidden")["message"]


def test_every_route_answers_a_page_with_a_token(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    for method, path, body in routes(instance):
        version = studio.store.get_instance(instance.id).version
        headers = {"if-match": str(version), "origin": f"http://{HOST}"}
        response = client.request(method, path, json=body, headers=headers)
        assert response.status_code == 200, response.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_no_foreign_page_can_change_anything(
    client: TestClient, instance: Instance, unchanged: None, origin: str
) -> None:
    changing = [route for route in routes(instance) if route[0] != "GET"]
    assert len(changing) == 11
    for method, path, body in changing:
        headers = {"if-match": "1", "origin": origin}
        response = client.request(method, path, json=body, headers=headers)
        error_of(response, 403, "forbidden")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1@x", "[::1"])
def test_no_foreign_name_leads_to_us(
    client: TestClient, instance: Instance, unchanged: None, host: str
) -> None:
    for method, path, body in routes(instance):
        headers = {"if-match": "1", "host": host}
        response = client.request(method, path, json=body, headers=headers)
        error_of(response, 403, "forbidden")


def test_a_body_over_the_limit_is_refused_unread(client: TestClient, unchanged: None) -> None:
    body = b'{"pad": "' + b"x" * BODY_LIMIT + b'"}'
    error_of(client.post("/mal/propose", content=body), 413, "too_large")


def test_a_chunked_body_is_refused_as_it_hides_its_size(
    client: TestClient, unchanged: None
) -> None:
    headers = {"content-type": "application/json"}
    response = client.post("/mal/propose", content=iter([b"{}"]), headers=headers)
    error_of(response, 413, "too_large")


@pytest.mark.parametrize("length", [MANY_DIGITS, "-1", "1e3", "\u00b2", "many"])
def test_a_body_that_lies_about_its_size_is_refused(
    client: TestClient, unchanged: None, length: str
) -> None:
    headers = [(b"content-length", length.encode("latin-1"))]
    error_of(client.post("/mal/propose", content=b"{}", headers=headers), 413, "too_large")


def test_a_body_just_under_the_limit_is_read(client: TestClient, studio: Studio) -> None:
    body = json.dumps({"project_id": 1, "name": "n", "pad": ""}).encode()
    body = body.replace(b'"pad": ""', b'"pad": "' + b"x" * (BODY_LIMIT - len(body)) + b'"')
    headers = {"content-type": "application/json"}
    assert client.post("/mal/categories", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("key", [*NO_ID, MANY_DIGITS])
@pytest.mark.parametrize("path", ["projects", "image", "annotations"])
def test_reading_what_is_not_there_says_so(client: TestClient, path: str, key: object) -> None:
    if key == MANY_DIGITS:
        error_of(client.get(f"/mal/{path}/{key}"), 422, "bad_request")
    else:
        error_of(client.get(f"/mal/{path}/{key}"), 404, "not_found")


@pytest.mark.parametrize("key", NO_ID)
def test_changing_what_is_not_there_says_so(
    client: TestClient, studio: Studio, instance: Instance, unchanged: None, key: int
) -> None:
    path, body, headers = f"/mal/annotations/{key}", to_body(instance), {"if-match": "1"}
    answers = [
        client.put(path, json=body, headers=headers),
        client.delete(path, headers=headers),
        put(client, instance, body | {"category_id": key}),
        propose(client, studio, image_id=key),
        propose(client, studio, category_id=key),
        propose(client, studio, instance_id=key, version=1),
        client.post("/mal/categories", json={"project_id": key, "name": "leaf"}),
    ]
    for answer in answers:
        error_of(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(b"", 422, id="no body"),
        pytest.param(b"{", 422, id="half an object"),
        pytest.param(b"[]", 422, id="a list"),
        pytest.param(b"null", 422, id="null"),
        pytest.param(b"[" * 100_000, 400, id="deep nesting"),
        pytest.param(b'{"image_id": ' + MANY_DIGITS.encode() + b"}", 400, id="many digits"),
        pytest.param(b"{\xff}", 400, id="not utf-8"),
    ],
)
@pytest.mark.parametrize("path", ["propose", "categories"])
def test_a_body_that_is_not_json_is_refused(
    client: TestClient, unchanged: None, path: str, content: bytes, status: int
) -> None:
    headers = {"content-type": "application/json"}
    response = client.post(f"/mal/{path}", content=content, headers=headers)
    error_of(response, status, "bad_request")


@pytest.mark.parametrize(
    "box",
    [
        pytest.param("[NaN, 20, 60, 90]", id="nan"),
        pytest.param("[10, 20, Infinity, 90]", id="infinite"),
        pytest.param("[10, 20, 1e400, 90]", id="overflowing"),
        pytest.param("[-1e308, 20, -1e307, 90]", id="huge and outside"),
        pytest.param("[60, 20, 10, 90]", id="corners swapped"),
        pytest.param("[10, 20, 10, 90]", id="no width"),
        pytest.param("[601, 20, 700, 90]", id="right of the image"),
        pytest.param("[10, -50, 60, -1]", id="above the image"),
        pytest.param("[10, 20, 60]", id="three numbers"),
        pytest.param("[10, 20, 60, 90, 1]", id="five numbers"),
        pytest.param('["a", 20, 60, 90]', id="text"),
        pytest.param('{"x0": 10}', id="an object"),
        pytest.param("null", id="null"),
    ],
)
def test_a_box_that_holds_no_pixel_is_refused(
    client: TestClient, studio: Studio, instance: Instance, unchanged: None, box: str
) -> None:
    headers = {"content-type": "application/json", "if-match": "1"}
    wanted = {"image_id": instance.image_id, "category_id": 1} | to_body(instance)
    body = json.dumps(wanted | {"box": 0}).replace('"box": 0', f'"box": {box}')
    for method, path in (("POST", "propose"), ("PUT", f"annotations/{instance.id}")):
        response = client.request(method, f"/mal/{path}", content=body, headers=headers)
        assert error_of(response, 422, response.json()["error"]["code"])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"state": "proven"}, id="unknown state"),
        pytest.param({"state": None}, id="no state"),
        pytest.param({"category_id": "thing"}, id="a category's name"),
        pytest.param({"category_id": 1.5}, id="half a category"),
        pytest.param({"reason": "x" * 65}, id="a long reason"),
        pytest.param({"reason": 3}, id="a number as reason"),
        pytest.param({"reason": "\ud800"}, id="half a character"),
        pytest.param({"rle": "text"}, id="mask as text"),
        pytest.param({"rle": []}, id="mask as list"),
        pytest.param({"rle": {}}, id="empty mask object"),
        pytest.param({"rle": {"size": [400, 600], "counts": "0" * 4_000_000}}, id="endless"),
        pytest.param({"rle": {"size": [400, 600], "counts": "\ud800"}}, id="bad counts"),
        pytest.param({"rle": {"size": [400, 600], "counts": [1e308]}}, id="counts as floats"),
        pytest.param({"rle": {"size": [400, 600], "counts": [-1, 240001]}}, id="negative run"),
        pytest.param({"rle": {"size": [400, 600], "counts": [10**30]}}, id="a huge run"),
        pytest.param({"rle": {"size": [400, 600], "counts": [239_999]}}, id="runs too short"),
        pytest.param({"rle": {"size": [400, 600], "counts": [240_001]}}, id="runs too long"),
        pytest.param({"rle": {"size": [600, 400], "counts": [240_000]}}, id="sides swapped"),
        pytest.param({"rle": {"size": [1, 1], "counts": [1]}}, id="another size"),
        pytest.param({"rle": {"size": [10**9, 10**9], "counts": [10**18]}}, id="a huge size"),
        pytest.param({"rle": None, "state": "accepted"}, id="accepted without a mask"),
        pytest.param({"rle": None, "state": "corrected"}, id="corrected without a mask"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    client: TestClient, instance: Instance, unchanged: None, changes: dict[str, Any]
) -> None:
    content = json.dumps(to_body(instance, **changes))
    headers = {"content-type": "application/json", "if-match": "1"}
    path = f"/mal/annotations/{instance.id}"
    response = client.put(path, content=content, headers=headers)
    assert error_of(response, 422, response.json()["error"]["code"])


@pytest.mark.parametrize("version", ["*", "", "abc", 'W/"1"', "-1", "0", "2", "1.0", "\u00b9",
                                     "9" * 9, MANY_DIGITS])  # fmt: skip
def test_a_version_that_never_was_is_refused(
    client: TestClient, instance: Instance, unchanged: None, version: str
) -> None:
    path, headers = f"/mal/annotations/{instance.id}", {"if-match": version.encode("latin-1")}
    error_of(client.put(path, json=to_body(instance), headers=headers), 422, "not_allowed")
    error_of(client.delete(path, headers=headers), 422, "not_allowed")


def test_a_save_must_say_its_version(
    client: TestClient, instance: Instance, unchanged: None
) -> None:
    path = f"/mal/annotations/{instance.id}"
    for response in (client.put(path, json=to_body(instance)), client.delete(path)):
        assert "if-match" in error_of(response, 422, "bad_request")["message"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "\u0000", None, 5])
def test_a_category_needs_a_name_for_one_line(
    client: TestClient, unchanged: None, name: object
) -> None:
    response = client.post("/mal/categories", json={"project_id": 1, "name": name})
    assert error_of(response, 422, response.json()["error"]["code"])


def test_a_route_or_method_that_is_not_there_says_so(client: TestClient) -> None:
    error_of(client.get("/mal/nothing"), 404, "bad_request")
    error_of(client.patch("/mal/annotations/1"), 405, "bad_request")


def test_a_mistake_of_ours_is_told_by_reference_only(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(_: int, **__: bool) -> None:
        raise RuntimeError("the insides of /home/ada")

    monkeypatch.setattr(studio.workflow, "open_image", fail)
    response = client.get("/mal/annotations/1")
    message = error_of(response, 500, "internal")["message"]
    reference = message.split()[-1]
    assert "ada" not in response.text
    assert reference in caplog.text
    assert "the insides of /home/ada" in caplog.text


@pytest.fixture
def foreign(studio: Studio) -> int:
    """A category of another project."""
    other = studio.store.add_project("Other", studio.project.model_id, NOW)
    return studio.store.add_category(other.id, "theirs").id


def test_a_category_of_another_project_is_refused(
    client: TestClient, studio: Studio, instance: Instance, unchanged: None, foreign: int
) -> None:
    known = {"instance_id": instance.id, "version": 1}
    for response in (
        propose(client, studio, category_id=foreign),
        propose(client, studio, category_id=foreign, **known),
        put(client, instance, to_body(instance, category_id=foreign)),
    ):
        error_of(response, 422, "not_allowed")


def test_an_instance_of_another_image_is_not_proposed_anew(
    client: TestClient, studio: Studio, instance: Instance, unchanged: None
) -> None:
    other = studio.images[1].id
    response = propose(client, studio, image_id=other, instance_id=instance.id, version=1)
    error_of(response, 422, "not_allowed")


@pytest.mark.parametrize("known", [{"instance_id": 1}, {"version": 1}])
def test_an_instance_is_named_with_its_version_or_not_at_all(
    client: TestClient, studio: Studio, unchanged: None, known: dict[str, int]
) -> None:
    error_of(propose(client, studio, **known), 422, "not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", "/mal/projects/1", {}, 200, id="success"),
        pytest.param("GET", "/mal/image/1", {}, 200, id="image"),
        pytest.param("GET", "/mal/projects/99", {}, 404, id="not found"),
        pytest.param("GET", "/mal/nothing", {}, 404, id="no route"),
        pytest.param("GET", "/mal/projects/1", {"host": "evil"}, 403, id="foreign host"),
        pytest.param("POST", "/mal/propose", {"origin": "evil"}, 403, id="foreign origin"),
        pytest.param("GET", "/mal/annotations/1", {}, 500, id="our mistake"),
    ],
)
def test_every_answer_has_the_security_headers(
    client: TestClient,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    monkeypatch.setattr(studio.workflow, "open_image", lambda _: 1 / 0)
    response = client.request(method, path, headers=headers)
    assert response.status_code == status
    found = {name: response.headers.get(name) for name in SECURITY_HEADERS}
    assert found == SECURITY_HEADERS
