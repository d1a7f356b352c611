"""The whole web app on a fresh folder, Gradio's pages included."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.answers import SECURITY_HEADERS
from app.auth import Sessions
from app.canvas import BUNDLE, STATIC
from app.errors import NotAllowed, StudioError
from app.library import SAMPLE_FILES, SAMPLE_NAME
from app.server import alone_on, build_app, serve
from app.settings import Settings
from app.store import Store
from app.watch import Drain
from tests.studio.conftest import HOST, NOW
from tests.studio.faults import watched_disk
from tests.studio.rest import error_of


async def build(settings: Settings) -> FastAPI:
    """Build the app within a running event loop; without one Gradio makes some and leaves them."""
    return build_app(settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "new" / "data"


@pytest.fixture(scope="module")
def page(folder: Path, tiny_weights: Path, shared_database: str) -> Iterator[TestClient]:
    """A browser at the studio's address, its folder made by the start."""
    settings = Settings(
        folder, shared_database, weights=tiny_weights, device="cpu", threads=1, backend="torch"
    )
    app = anyio.run(build, settings)
    with TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as opened:
        yield opened


def test_the_page_of_a_fresh_folder_is_served(page: TestClient) -> None:
    answer = page.get("/")
    assert answer.status_code == 200
    assert "MAL Studio" in answer.text


def test_a_fresh_folder_has_the_sample_project(page: TestClient, folder: Path) -> None:
    headers = {"x-mal-session": Sessions(folder / "secret").mint("Ada")}
    project = page.get("/mal/projects/1", headers=headers).json()
    assert project["name"] == SAMPLE_NAME
    assert [image["file_name"] for image in project["images"]] == list(SAMPLE_FILES)


def test_the_canvas_bundle_is_served(page: TestClient) -> None:
    answer = page.get(f"/mal/static/{BUNDLE}")
    assert answer.content == (STATIC / BUNDLE).read_bytes()
    assert "javascript" in answer.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/", 200, id="Gradio's page"),
        pytest.param("/config", 200, id="Gradio's configuration"),
        pytest.param("/gradio_api/nothing", 404, id="none of Gradio's routes"),
        pytest.param(f"/mal/static/{BUNDLE}", 200, id="the bundle"),
        pytest.param("/mal/static/nothing.js", 404, id="no such bundle"),
        pytest.param("/mal/projects/1", 403, id="without a token"),
    ],
)
def test_every_answer_has_the_security_headers(page: TestClient, path: str, status: int) -> None:
    answer = page.get(path)
    assert answer.status_code == status
    found = {name: answer.headers.get(name) for name in SECURITY_HEADERS}
    assert found == SECURITY_HEADERS


@pytest.mark.parametrize("path", ["/", "/config", f"/mal/static/{BUNDLE}"])
def test_gradios_own_routes_answer_no_foreign_name(page: TestClient, path: str) -> None:
    assert page.get(path, headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload", "/mal/propose"])
def test_no_foreign_page_reaches_a_handler(page: TestClient, path: str) -> None:
    answer = page.post(path, json={}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize("name", ["secret", "studio.db", "images", "exports/../secret"])
def test_nothing_of_the_data_folder_but_exports_is_handed_out(
    page: TestClient, folder: Path, name: str
) -> None:
    assert (folder / "secret").is_file()
    answer = page.get(f"/gradio_api/file={(folder / name).as_posix()}")
    assert answer.status_code == 404


def test_an_export_is_handed_out_under_its_project_only(page: TestClient, folder: Path) -> None:
    (folder / "exports").mkdir(exist_ok=True)
    (folder / "exports" / "project-1-coco-x.zip").write_bytes(b"zip")
    (folder / "exports" / "project-2-coco-x.zip").write_bytes(b"another's")
    answer = page.get("/mal/export/1/project-1-coco-x.zip")
    assert (answer.status_code, answer.content) == (200, b"zip")
    assert "attachment" in answer.headers["content-disposition"]
    assert page.get("/mal/export/1/project-2-coco-x.zip").status_code == 404
    assert page.get("/mal/export/1/project-1-coco-y.zip").status_code == 404


def test_weights_are_handed_out_under_their_hash(page: TestClient, tiny_weights: Path) -> None:
    answer = page.get("/mal/weights/1")
    assert (answer.status_code, answer.content) == (200, tiny_weights.read_bytes())
    assert page.get("/mal/weights/2").status_code == 404


def test_the_page_fetches_nothing_from_elsewhere(page: TestClient) -> None:
    sources = re.findall(r"(?:src|href)=[\"']([^\"']+)", page.get("/").text)
    assert any(source.endswith(".js") for source in sources)
    assert not [source for source in sources if urlsplit(source).netloc]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        pytest.param("full", 507, "disk_full", id="full"),
        pytest.param("broken", 503, "unavailable", id="broken"),
    ],
)
def test_a_page_is_told_that_the_disk_does_not_take_its_upload(
    page: TestClient, kind: str, status: int, code: str
) -> None:
    file = {"files": ("photo.png", bytes(2**20), "image/png")}
    with watched_disk() as disk:
        with disk.refusing(1, kind, stays=True):
            refused = page.post("/gradio_api/upload", files=file)
        taken = page.post("/gradio_api/upload", files=file)
    error_of(refused, status, code)
    assert taken.status_code == 200


def test_there_are_no_pages_about_the_routes(page: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        assert "swagger" not in page.get(path).text.lower()


def test_a_data_folder_that_cannot_be_made_is_said(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "data").write_text("a file is in the way")
    with pytest.raises(StudioError, match="data folder cannot be made: File exists"):
        build_app(Settings(data_dir=tmp_path / "data", weights=tiny_weights))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2"])
def test_nobody_else_reaches_a_studio_where_nobody_must_log_in(
    tmp_path: Path, tiny_weights: Path, host: str
) -> None:
    settings = Settings(data_dir=tmp_path / "data", weights=tiny_weights, host=host, port=0)
    with pytest.raises(StudioError, match=r"no users.*python app\.py user add"):
        serve(settings, pytest.fail)
    assert not settings.data_dir.exists()
    Store(settings.database).close()
    with pytest.raises(StudioError, match="no users"):
        serve(settings, pytest.fail)


def test_with_users_others_may_reach_it(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "data", weights=tiny_weights, host="0.0.0.0", port=0)
    with closing(Store(settings.database)) as store:
        store.add_user("Ada", "hash", is_admin=True, now=NOW)
    app = FastAPI()
    app.state.drain = Drain()
    monkeypatch.setattr("app.server.build_app", lambda _: app)
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    told: list[str] = []
    serve(settings, told.append)
    assert told[0].startswith("http://0.0.0.0:")


def test_a_port_that_is_taken_is_said_before_anything_is_made(
    tmp_path: Path, tiny_weights: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(data_dir=tmp_path / "data", weights=tiny_weights, port=port)
        with pytest.raises(StudioError, match=rf"port {port}: .* choose another with --port"):
            serve(settings, pytest.fail)
    assert not settings.data_dir.exists()


def test_a_folder_is_served_once_unless_its_database_is_a_teams(
    tmp_path: Path, tiny_weights: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data", weights=tiny_weights, port=0)
    team = replace(settings, database_url="postgresql+psycopg://db/mal")
    with alone_on(settings):
        with pytest.raises(NotAllowed, match="another studio serves"):
            serve(settings, pytest.fail)
        with alone_on(team), alone_on(team):
            pass
    assert not settings.database.exists()
    with alone_on(settings):
        pass
