"""What every request passes, Gradio's own too: sites, addresses, sizes, logins and quotas."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app import accounts as letting_in
from app import entrance
from app.accounts import Accounts
from app.entrance import AT_ONCE, BODY_LIMIT, UPLOAD, Entrance
from app.server import build_app
from app.settings import Settings
from app.store import Store
from tests.studio.conftest import HOST, Studio
from tests.studio.rest import error_of
from tests.studio.test_logins import CHEAP, GOOD, OTHER

EVIL = "http://evil.example"
GRADIO = ["/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict"]
FORMS = ["/mal/login", "/mal/logout", "/mal/account"]
READ = ["/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/queue/data?session_hash=a",
        "/gradio_api/heartbeat/a", "/gradio_api/upload_progress?upload_id=a", "/mal/projects/1",
        "/mal/image/1", "/mal/account", "/mal/static/mask-canvas.js", "/assets/x.js",
        "/mal/export/1/project-1-coco-x.zip", "/mal/weights/1"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("entrance")


@pytest.fixture(scope="module")
def app(folder: Path, tiny_weights: Path, shared_database: str) -> FastAPI:
    """The whole studio, Gradio's pages included, with one user."""
    settings = Settings(
        folder / "data", shared_database, weights=tiny_weights, device="cpu", threads=1
    )
    store = Store(settings.database)
    Accounts(store, CHEAP).add_user("Ada", GOOD, is_admin=True, by="")
    store.close()

    async def build() -> FastAPI:
        return build_app(settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(letting_in, "HASHER", CHEAP)
        return anyio.run(build)


@pytest.fixture(scope="module")
def running(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def anybody(running: TestClient) -> TestClient:
    """A browser that is not logged in."""
    running.cookies.clear()
    return running


@pytest.fixture
def ada(anybody: TestClient) -> TestClient:
    """A browser in which Ada is logged in."""
    answer = log_in(anybody)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return anybody


def log_in(page: TestClient, name: str = "Ada", password: str = GOOD, **more: str) -> Any:  # noqa: ANN401
    data = {"name": name, "password": password, **more}
    return page.post("/mal/login", data=data, follow_redirects=False)


@pytest.mark.parametrize("path", READ)
def test_nothing_is_read_without_a_login(anybody: TestClient, path: str) -> None:
    error_of(anybody.get(path), 401, "login")


@pytest.mark.parametrize("path", [*GRADIO, "/mal/propose", "/mal/session", *FORMS[1:]])
def test_nothing_is_done_without_a_login(anybody: TestClient, path: str) -> None:
    error_of(anybody.post(path, json={}), 401, "login")


def test_a_browser_is_led_to_the_login_and_back(anybody: TestClient) -> None:
    html = {"accept": "text/html,application/xhtml+xml"}
    answer = anybody.get("/?project=2", headers=html, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (
        303, "/mal/login?next=/%3Fproject%3D2"
    )  # fmt: skip
    page = anybody.get(answer.headers["location"]).text
    assert 'name="next" value="/?project=2"' in page
    assert log_in(anybody, next="/?project=2").headers["location"] == "/?project=2"
    assert anybody.get("/mal/login", follow_redirects=False).headers["location"] == "/"


@pytest.mark.parametrize(
    "onward",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/mal/logout", "x", "/?\n"],
)
def test_the_login_leads_nowhere_else(anybody: TestClient, onward: str) -> None:
    assert log_in(anybody, next=onward).headers["location"] == "/"
    anybody.cookies.clear()
    assert 'name="next" value="/"' in anybody.get(f"/mal/login?next={quote(onward)}").text


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css", "/mal/account", "/gradio_api/info"])
def test_with_a_login_the_studio_is_there(ada: TestClient, path: str) -> None:
    assert ada.get(path).status_code == 200


def test_the_cookie_is_no_script_s_and_no_other_site_s(anybody: TestClient) -> None:
    cookie = log_in(anybody).headers["set-cookie"].lower()
    assert re.match(r"mal-login-[0-9a-f]{16}=[\w-]{43};", cookie)
    assert all(
        part in cookie for part in ("httponly", "samesite=strict", "path=/", "max-age=604800")
    )
    assert "secure" not in cookie
    behind_tls = TestClient(anybody.app, "https://127.0.0.1:7860")
    assert "secure" in log_in(behind_tls).headers["set-cookie"].lower()


def test_each_login_has_a_secret_of_its_own_and_ends_the_one_before(ada: TestClient) -> None:
    before = dict(ada.cookies)
    log_in(ada)
    after = dict(ada.cookies)
    assert before != after
    ada.cookies.clear()
    ada.cookies.update(before)
    assert ada.get("/config").status_code == 401


@pytest.mark.parametrize("everywhere", [False, True])
def test_whoever_logs_out_is_out(ada: TestClient, everywhere: bool) -> None:
    secrets = dict(ada.cookies)
    answer = ada.post(
        "/mal/logout", data={"everywhere": "1"} if everywhere else {}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/mal/login")
    assert answer.headers["clear-site-data"] == '"cache"'
    assert not ada.cookies
    ada.cookies.update(secrets)
    assert ada.get("/config").status_code == 401


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": "Ada", "password": OTHER}, "name or password is wrong"),
        ({"name": "<b>Eve", "password": GOOD}, "name or password is wrong"),
        ({}, "name or password is wrong"),
    ],
)
def test_a_login_that_fails_says_so_beside_its_fields(
    anybody: TestClient, form: dict[str, str], words: str
) -> None:
    answer = anybody.post("/mal/login", data=form)
    assert answer.status_code == 401
    assert f'role="alert">{words}' in answer.text
    assert OTHER not in answer.text
    assert "<b>" not in answer.text
    assert not anybody.cookies


def test_the_page_of_the_login_runs_no_script_and_is_not_kept(anybody: TestClient) -> None:
    answer = anybody.get("/mal/login")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "<script" not in answer.text
    for name in ("name", "password"):
        assert f'<label for="{name}">' in answer.text


def test_the_password_is_changed_on_one_s_account(ada: TestClient) -> None:
    for old, new, again, status, words in (
        (GOOD, OTHER, GOOD, 422, "differ"),
        (OTHER, OTHER, OTHER, 401, "wrong"),
        (GOOD, "short", "short", 422, "10 to 1000"),
        (GOOD, OTHER, OTHER, 200, "Changed"),
        (OTHER, GOOD, GOOD, 200, "Changed"),
    ):
        answer = ada.post("/mal/account", data={"old": old, "new": new, "again": again})
        assert (answer.status_code, words in answer.text) == (status, True)


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:1", ""])
@pytest.mark.parametrize("path", [*GRADIO, *FORMS, "/mal/propose", "/mal/session", "/mal/accept"])
def test_another_site_does_nothing_with_one_s_cookie(
    ada: TestClient, path: str, origin: str
) -> None:
    files = {"files": ("a.png", b"x")} if path == UPLOAD else None
    answer = ada.post(path, files=files, headers={"origin": origin})
    error_of(answer, 403, "forbidden")
    assert ada.get("/config").status_code == 200


def test_one_s_own_page_sends_files(ada: TestClient) -> None:
    files = {"files": ("a.png", b"not a picture at all")}
    answer = ada.post(UPLOAD, files=files, headers={"origin": f"http://{HOST}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", [*GRADIO[1:], *FORMS, "/mal/propose", "/config"])
def test_no_body_is_larger_than_it_may_be(ada: TestClient, path: str) -> None:
    answer = ada.post(path, content=b"x" * (BODY_LIMIT + 1))
    error_of(answer, 413, "too_large")
    error_of(ada.post(path, content=iter([b"x"])), 413, "too_large")


def test_a_form_is_small(anybody: TestClient) -> None:
    error_of(log_in(anybody, password="x" * 20_000), 413, "too_large")
    many = "&".join(f"f{n}=1" for n in range(100))
    error_of(anybody.post("/mal/login", content=many), 413, "too_large")
    error_of(anybody.post("/mal/login", content=b"name=\xff\xfe"), 413, "too_large")


OUTSIDE = ["secret", "studio.db", "images", "models", "../../etc/passwd", "/etc/passwd", "app.py"]
WAYS = ["/gradio_api/file={}", "/gradio_api/file/{}", "/file={}", "/file/{}", "/static/{}",
        "/assets/{}", "/mal/static/{}", "/mal/export/1/{}", "/svelte/{}",
        "/gradio_api/proxy={}"]  # fmt: skip
DISGUISES = [str, lambda p: "../" * 8 + p, lambda p: quote("../" * 8 + p, safe=""),
             lambda p: "..%252f" * 8 + p, lambda p: "....//" * 8 + p, lambda p: f"{p}%00.js",
             lambda p: "..\\" * 8 + p]  # fmt: skip
ELSEWHERE = ["http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/",
             "file:///etc/passwd", "//evil.example/", "ftp://evil.example/x"]  # fmt: skip


def test_no_way_leads_to_a_file_outside_or_to_another_machine(
    ada: TestClient, folder: Path
) -> None:
    probes = [way.format(disguise(name)) for way in WAYS for name in OUTSIDE
              for disguise in DISGUISES]  # fmt: skip
    probes += [way.format(f"{(folder / 'data' / name).as_posix()}") for way in WAYS
               for name in OUTSIDE]  # fmt: skip
    probes += [way.format(quote(place, safe="")) for way in WAYS for place in ELSEWHERE]
    probes += [f"/gradio_api/stream/{name}" for name in OUTSIDE]
    probes += ["/monitoring", "/gradio_api/vibe-code", "/gradio_api/run-history/records", "/docs",
               "/openapi.json", "/gradio_api/deep_link", "/gradio_api/app_id", "/token",
               "/gradio_api/dev/reload", "/pwa_icon", "/robots.txt"]  # fmt: skip
    assert len(set(probes)) >= 500
    for probe in probes:
        answer = ada.get(probe)
        assert answer.status_code in (400, 403, 404, 422), (probe, answer.status_code)
        assert not re.search(rb"root:|SQLite format|import main", answer.content), probe


def test_a_login_with_a_session_of_gradio_s_own_is_none(anybody: TestClient) -> None:
    for path in ("/login", "/gradio_api/login", "/gradio_api/user", "/logout"):
        assert anybody.post(path, data={"username": "Ada", "password": GOOD}).status_code == 404


def test_a_web_socket_is_refused(ada: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as caught:
        ada.websocket_connect("/gradio_api/queue/join").__enter__()
    assert caught.value.code == 1008


@pytest.fixture
def layer(studio: Studio) -> Entrance:
    """The layer alone, in front of an app that never answers until it is let."""
    store = studio.store
    accounts = Accounts(store, PasswordHasher(1, 8, 1))
    accounts.add_user("Ada", GOOD, is_admin=True, by="")

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    settings = replace(studio.settings, daily_upload_bytes=1000)
    return Entrance(inside, settings, store, accounts, "cookie")


def ask(layer: Entrance, token: str, path: str = "/mal/projects/1", size: int = 0) -> Scope:
    method = "POST" if size else "GET"
    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token}".encode()),
               (b"content-length", str(size).encode())]  # fmt: skip
    return {"type": "http", "method": method, "path": path, "headers": headers, "scheme": "http",
            "query_string": b"", "state": {}, "server": ("127.0.0.1", 80)}  # fmt: skip


def test_one_person_has_so_many_requests_at_once_and_no_more(
    layer: Entrance, studio: Studio
) -> None:
    token = layer._accounts.make_token(1, "robot", None, "Ada")
    statuses: list[tuple[int, bytes]] = []

    async def send(message: Any) -> None:  # noqa: ANN401
        if message["type"] == "http.response.start":
            statuses.append((message["status"], dict(message["headers"]).get(b"retry-after", b"")))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(layer, ask(layer, token), None, send)
            while layer._at_once["Ada"] < AT_ONCE:
                await anyio.sleep(0.01)
            await layer(ask(layer, token), None, send)  # type: ignore[arg-type]
            group.cancel_scope.cancel()

    anyio.run(main)
    assert statuses == [(429, b"5")]
    assert not layer._at_once


def test_a_stream_of_events_ends_with_the_login_it_was_opened_with(
    studio: Studio,
) -> None:
    """What comes after is not sent; the app hears that nobody listens any more."""
    store, accounts = studio.store, Accounts(studio.store, CHEAP)
    ada = accounts.add_user("Ada", GOOD, is_admin=True, by="")
    secret, sent, ended = accounts.log_in("Ada", GOOD, ""), [], []

    async def events() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        accounts.revoke_logins(ada.id, "Bob")
        yield b"data: secret\n\n"
        await anyio.sleep_forever()

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(events(), media_type="text/event-stream")(scope, receive, send)
        ended.append(True)

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)
        if not message.get("more_body", True):
            whole.set()

    async def receive() -> Any:  # noqa: ANN401 - as a server does it
        await whole.wait()
        return {"type": "http.disconnect"}

    async def main() -> None:
        nonlocal whole
        whole = anyio.Event()
        layer = Entrance(inside, studio.settings, store, accounts, "cookie")
        scope = ask(layer, "")
        scope["headers"] = [(b"host", b"127.0.0.1"), (b"cookie", f"cookie={secret}".encode())]
        with anyio.fail_after(30):
            await layer(scope, receive, send)

    whole: anyio.Event
    anyio.run(main)
    assert [message.get("body") for message in sent] == [None, b"data: one\n\n", b""]
    assert sent[-1]["more_body"] is False
    assert ended


def test_one_person_sends_so_much_a_day_and_no_more(layer: Entrance) -> None:
    """Also through another door, after a restart; another person has a day of their own."""
    store = layer._store
    ada, bob = (entrance.Caller(name, store.list_users()[0]) for name in ("Ada", "Bob"))

    async def main() -> None:
        for who, size, passes in ((ada, 600, True), (ada, 401, False), (bob, 1000, True),
                                  (ada, 400, True)):  # fmt: skip
            request = entrance.Request(ask(layer, "", UPLOAD, size))
            if passes:
                await layer._check_quota(who, request)
            else:
                with pytest.raises(entrance.Busy, match="1,000 bytes a day"):
                    await layer._check_quota(who, request)
        again = Entrance(layer._app, layer._settings, store, layer._accounts, "cookie")
        with pytest.raises(entrance.Busy, match="1,000 bytes a day"):
            await again._check_quota(ada, entrance.Request(ask(again, "", UPLOAD, 1)))

    anyio.run(main)
