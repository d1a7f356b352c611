"""A real server and a program: the guide's own script, a log without secrets, and a calm end."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from pycocotools.coco import COCO

from app.client import Client
from app.errors import Unreachable
from app.records import State
from app.settings import PHOTOS
from app.store import Store
from app.watch import DRAIN_SECONDS
from app.wire import Instance
from tests.serving import ROOT, Studio

pytestmark = pytest.mark.slow
PASSWORD = "a password that is nowhere else"
FLAGS = ("--log-format", "json", "--device", "cpu")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, *FLAGS)
    studio.start()
    yield studio
    studio.kill()


def script(url: str) -> str:
    """The guide's program, on another address."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "http://127.0.0.1:7860" in found
    return found.replace("http://127.0.0.1:7860", url)


def test_the_guides_program_does_all_of_it(server: Studio, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("coffee.png", "chelsea.png", "rocket.jpg", "horse.png"):
        (tmp_path / "photos" / name).symlink_to(PHOTOS / name)
    done = subprocess.run(
        [sys.executable, "-c", script(server.url)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "8 masks, 8 of them read back pixel for pixel" in done.stdout
    assert re.search(r"^(promoted|rejected|undecided) - .+", done.stdout.splitlines()[-1])
    with zipfile.ZipFile(tmp_path / "cups.zip") as archive:
        archive.extract("annotations.json", tmp_path)
    read = COCO(tmp_path / "annotations.json")
    assert len(read.anns) == 8
    assert all(read.annToMask(one).any() for one in read.anns.values())


def user(server: Studio, *arguments: str, entry: str = "") -> str:
    """Run `python app.py user`; what it says."""
    command = [sys.executable, "app.py", "user", *arguments, "--data-dir", str(server.data)]
    ran = subprocess.run(command, cwd=ROOT, input=entry, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def half_a_save(server: Studio, token: str, instance: Instance) -> tuple[socket.socket, bytes]:
    """Begin to save: all of the request but its end, which is returned."""
    fields = {"state": "accepted", "category_id": instance.category_id, "rle": instance.rle}
    body = json.dumps(fields | {"box": instance.box}).encode()
    head = (
        f"PUT /mal/v1/instances/{instance.id} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {token}\r\nIf-Match: {instance.version}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    line = socket.create_connection(("127.0.0.1", server.port))
    line.settimeout(60)
    line.sendall(head + body[:-10])
    return line, body[-10:]


def lines(server: Studio) -> list[dict[str, Any]]:
    """The log, each line of it JSON but for the one that tells the address."""
    text = server.log.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if not line.startswith("MAL Studio")]


def test_a_stop_waits_for_the_save_in_hand_and_the_log_keeps_every_secret(server: Studio) -> None:
    user(server, "add", "ada", "--password-stdin", entry=PASSWORD)
    token = user(server, "token", "ada", "--label", "story")
    with Client(server.url, token) as client, httpx.Client(base_url=server.url) as other:
        project = client.projects()[0]
        image, category = client.images(project.id)[0], client.categories(project.id)
        drawn = client.propose(image.id, (50, 50, 250, 250), next(iter(category.values())))
        login = {"name": "ada", "password": PASSWORD, "next": "/"}
        origin = {"Origin": server.url}
        entered = other.post("/mal/login", data=login, headers=origin)
        assert entered.status_code == 303
        secret = next(iter(entered.cookies.values()))
        other.post("/mal/login", data=login | {"password": PASSWORD + "!"}, headers=origin)
        other.get(f"/mal/v1/projects?token={token}")
        other.get("/mal/v1/formats", headers={"Authorization": f"Bearer {token}x"})
        assert other.get("/healthz").status_code == 200
        assert client.instance(drawn.id).version == 1
        line, rest = half_a_save(server, token, drawn)
        time.sleep(0.5)  # until it is in hand
        begin = time.monotonic()
        server.terminate()
        refused = wait_until_refused(other)
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "stopping"
        with closing(line):
            line.sendall(rest)
            assert line.recv(64).startswith(b"HTTP/1.1 200")
        server.wait(120)
        assert time.monotonic() - begin < DRAIN_SECONDS + 60
        with pytest.raises(Unreachable):
            client.projects()
    with closing(Store(server.data / "studio.db")) as store:
        assert store.get_instance(drawn.id).draft.state is State.ACCEPTED
    told = server.log.read_text(encoding="utf-8")
    hidden = (token, token.removeprefix("mal_"), secret, PASSWORD, str(ROOT), str(server.data))
    assert [word for word in hidden if word in told] == []
    watched = [one for one in lines(server) if one["logger"] == "app.requests"]
    saved = [one for one in watched if one["method"] == "PUT"]
    assert [(one["route"], one["status"], one["person"]) for one in saved] == [
        ("/mal/v1/instances/{instance_id}", 200, "ada")
    ]
    assert len({one["request_id"] for one in watched}) == len(watched)


def wait_until_refused(client: httpx.Client) -> httpx.Response:
    """Ask until the studio says that it is stopping."""
    for _ in range(200):
        answer = client.get("/readyz")
        if answer.status_code == 503 and "error" in answer.json():
            return answer
        time.sleep(0.05)
    raise AssertionError("the studio takes requests on")
