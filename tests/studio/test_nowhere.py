"""Addresses of elsewhere, given in every place that takes text or files: the studio asks nobody.

A listener on this machine must hear nothing, and no name may be looked up in this process.
"""

import io
import json
import socket
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image as Pil

from app.backup import MANIFEST
from app.errors import StudioError
from app.exchange import FORMATS
from app.restore import restore
from app.server import build_app
from app.settings import Settings
from mal_core.errors import MALError
from tests.studio.conftest import HOST, Studio
from tests.studio.programs import Door, opened
from tests.studio.rest import error_of

PUBLIC = "http://example.org/x.png"


class Listener:
    """A server that only notes who comes."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.heard: list[object] = []
        self.address = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            with caller:
                self.heard.append(caller.recv(1000))


@pytest.fixture
def listener() -> Iterator[Listener]:
    with closing(Listener()) as opened_door:
        yield opened_door
        assert opened_door.heard == []


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What this process looks up or connects to, which fails."""
    asked: list[object] = []

    def ask(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("there is no network")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", ask)
        patch.setattr(socket.socket, "connect", ask)
        patch.setattr(socket.socket, "connect_ex", ask)
        yield asked
    assert asked == []


@pytest.fixture
def door(studio: Studio) -> Iterator[Door]:
    with opened(studio) as made:
        yield made


def datasets(address: str) -> dict[str, dict[str, bytes]]:
    """Files of each format that name an address wherever they may name an image or a place."""
    far = f"{address}/x.png"
    image = {"id": 1, "width": 600, "height": 400, "file_name": far, "coco_url": far,
             "flickr_url": far, "url": far, "path": far}  # fmt: skip
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25,
           "iscrowd": 0, "segmentation": [[1, 1, 6, 1, 6, 6]]}  # fmt: skip
    category = {"id": 1, "name": "a", "supercategory": far}
    coco = {"info": {"url": far}, "licenses": [{"id": 1, "url": far}], "images": [image],
            "annotations": [box], "categories": [category]}  # fmt: skip
    size = "<size><width>600</width><height>400</height><depth>3</depth></size>"
    xml = (f"<annotation><folder>{far}</folder><filename>{far}</filename><path>{far}</path>"
           f"{size}</annotation>")  # fmt: skip
    cvat = f'<annotations><image id="0" name="{far}" width="600" height="400"/></annotations>'
    label = {"imagePath": far, "imageData": None, "imageHeight": 400, "imageWidth": 600,
             "shapes": []}  # fmt: skip
    item = {"id": far, "image": {"path": far, "size": [400, 600]}, "annotations": []}
    return {
        "coco": {"a.json": json.dumps(coco).encode()},
        "coco-panoptic": {"panoptic.json": json.dumps(coco | {"annotations": [
            {"image_id": 1, "file_name": far, "segments_info": []}]}).encode()},
        "voc": {"a.xml": xml.encode(), "b.xml": entity(far) + xml.encode(), "c.xml": schema(far)},
        "cvat": {"a.xml": cvat.encode(), "b.xml": entity(far) + cvat.encode()},
        "labelme": {"a.json": json.dumps(label).encode()},
        "datumaro": {"a.json": json.dumps({"items": [item], "categories": {}}).encode()},
        "yolo": {"data.yaml": f"path: {address}\ntrain: {far}\nnames: [a]\n".encode(),
                 "a.txt": b"0 .5 .5 .1 .1\n"},
        "png": {"masks/a.svg": f"<svg><image href='{far}'/></svg>".encode()},
    }  # fmt: skip


def entity(far: str) -> bytes:
    return f'<!DOCTYPE a [<!ENTITY b SYSTEM "{far}"><!ENTITY % c SYSTEM "{far}"> %c;]>'.encode()


def schema(far: str) -> bytes:
    """A reader that followed these would ask there."""
    return (f'<?xml-stylesheet href="{far}"?><a xmlns:xi="http://www.w3.org/2001/XInclude">'
            f'<xi:include href="{far}"/></a>').encode()  # fmt: skip


def packed(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_import_that_names_addresses_asks_nobody(
    door: Door, listener: Listener, looked_up: list[object], dry_run: bool
) -> None:
    tried = set()
    for address in (listener.address, PUBLIC, "ftp://example.org", "file:///etc", "//example.org"):
        for name, files in datasets(address).items():
            for part in [files, *({one: data} for one, data in files.items())]:
                query = {"file_name": "a.zip", "format": name, "dry_run": dry_run}
                answer = door.http.post(
                    "/mal/v1/projects/1/imports", params=query, content=packed(part)
                )
                assert answer.status_code in (200, 422), answer.text
                assert not looked_up
                tried.add(name)
    assert {FORMATS[name].read for name in tried} | {FORMATS["png-semantic"].read} >= {
        FORMATS[name].read for name in ("coco", "yolo", "voc", "labelme", "cvat", "datumaro")
    }


def test_an_upload_that_calls_itself_or_holds_an_address_asks_nobody(
    door: Door, listener: Listener, looked_up: list[object]
) -> None:
    far = f"{listener.address}/x.png"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{far}'/></svg>".encode()
    picture = io.BytesIO()
    Pil.fromarray(np.zeros((9, 9, 3), np.uint8)).save(picture, "PNG")
    for name in (far, PUBLIC, "s3://bucket/x.png", "file:///etc/passwd", "\\\\host\\share\\x.png"):
        for data in (
            svg,
            picture.getvalue(),
            far.encode(),
            f"[InternetShortcut]\nURL={far}".encode(),
        ):
            answer = door.http.post(
                "/mal/v1/projects/1/images", params={"file_name": name}, content=data
            )
            assert answer.status_code in (200, 422), answer.text


def test_a_backup_that_names_addresses_asks_nobody(
    studio: Studio, listener: Listener, looked_up: list[object], tmp_path: Path
) -> None:
    for number, name in enumerate((f"{listener.address}/x", PUBLIC, f"images/{PUBLIC}")):
        manifest = {"format": 1, "schema": listener.address, "images_url": PUBLIC,
                    "files": {name: {"size": 1, "sha256": "0" * 64, "url": PUBLIC}}}  # fmt: skip
        path = tmp_path / f"{number}.zip"
        path.write_bytes(packed({MANIFEST: json.dumps(manifest).encode(), name: b"x"}))
        with pytest.raises((StudioError, MALError)):
            restore(replace(studio.settings, data_dir=tmp_path / f"new {number}"), path)
    with pytest.raises(StudioError, match="there is no file"):
        restore(replace(studio.settings, data_dir=tmp_path / "new"), Path(PUBLIC))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> FastAPI:
    """The whole studio, Gradio's pages included."""
    folder = tmp_path_factory.mktemp("nowhere")
    settings = Settings(folder, weights=tiny_weights, device="cpu", threads=1, backend="torch")

    async def build() -> FastAPI:
        return build_app(settings)

    return anyio.run(build)


def events(config: dict[str, Any], path: str) -> Iterator[dict[str, Any]]:
    """Each event of the pages that takes files, with one that lies at an address."""
    kinds = {one["id"]: one["type"] for one in config["components"]}
    file = {"path": path, "url": path, "orig_name": "x.png", "meta": {"_type": "gradio.FileData"}}
    for event in config["dependencies"]:
        if "file" in (found := [kinds.get(key) for key in event["inputs"]]):
            data = [[file] if kind == "file" else None for kind in found]
            yield {"fn_index": event["id"], "data": data, "session_hash": "a"}


@pytest.mark.parametrize("act", ["run/predict", "queue/join"])
def test_an_event_of_the_pages_fetches_no_file_from_an_address(
    pages: FastAPI, listener: Listener, looked_up: list[object], act: str
) -> None:
    """Gradio itself would, before any handler of ours is asked."""
    tried = 0
    with TestClient(pages, f"http://{HOST}", raise_server_exceptions=False) as page:
        config = page.get("/config").json()
        for path in (f"{listener.address}/x.png", PUBLIC, " HTTPS://example.org/", "ftp://a/b"):
            for event in events(config, path):
                tried += 1
                for body in (json.dumps(event), json.dumps(event | {"event_data": float("nan")}),
                             json.dumps(event | {"trigger_id": "\ud800"})):  # fmt: skip
                    answer = page.post(f"/gradio_api/{act}", content=body,
                                       headers={"content-type": "application/json"})  # fmt: skip
                    said = error_of(answer, 422, "not_allowed")["message"]
                    assert "the studio fetches none" in said
    assert tried >= 4 * 8


def test_a_file_with_a_chosen_place_is_still_refused(pages: FastAPI) -> None:
    with TestClient(pages, f"http://{HOST}", raise_server_exceptions=False) as page:
        for event in events(page.get("/config").json(), "/etc/passwd"):
            answer = page.post("/gradio_api/run/predict", json=event)
            assert answer.status_code >= 400
            assert "root:" not in answer.text
