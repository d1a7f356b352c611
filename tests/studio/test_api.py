"""The routes under /mal/: what they answer."""

import hashlib
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Event

import anyio
import pytest
from fastapi.testclient import TestClient
from itsdangerous import TimestampSigner
from PIL import Image as Pil
from starlette.types import Message

from app.api import Api
from app.auth import MAX_AGE
from app.errors import NotFound
from app.images import load_image, path_of
from app.records import Instance, State
from app.workflow import Workflow
from mal_core.masks import RLE
from mal_core.predictor import Predictor
from tests.studio.conftest import HOST, Studio, blob, make_app
from tests.studio.rest import BOX, error_of, propose, put, to_body


@pytest.fixture
def instance(studio: Studio) -> Instance:
    return studio.add()


def test_a_project_comes_with_its_model_categories_and_images(
    client: TestClient, studio: Studio
) -> None:
    studio.add(0)
    studio.add(0, State.ACCEPTED)
    answer = client.get("/mal/projects/1").json()
    assert (answer["id"], answer["name"]) == (1, "Photos")
    assert answer["model"] == {"id": 1, "name": "tiny"}
    assert (answer["studio"], answer["person"]) == (studio.sessions.studio, "Ada")
    assert answer["categories"] == [
        {"id": c.id, "number": c.number, "name": c.name, "color": c.color}
        for c in studio.categories
    ]
    assert answer["images"][0] == {
        "id": studio.images[0].id,
        "number": 1,
        "file_name": "coffee.png",
        "width": 600,
        "height": 400,
        "notice": "",
        "counts": {"proposed": 1, "corrected": 0, "accepted": 1, "rejected": 0},
        "assigned": [],
    }


def test_an_annotation_comes_with_all_the_canvas_shows(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    assert client.get(f"/mal/annotations/{instance.image_id}").json() == {
        "image_id": instance.image_id,
        "annotations": [
            {
                "id": instance.id,
                "image_id": instance.image_id,
                "number": 1,
                "version": 1,
                "state": "proposed",
                "category_id": studio.categories[0].id,
                "box": BOX,
                "rle": blob(studio.images[0]).to_coco(),
                "score": None,
                "flagged": False,
                "model_id": None,
                "model": None,
                "person": "Ada",
                "reason": "box",
                "saved_at": "2026-11-23T06:00:00+00:00",
            }
        ],
    }


def test_a_deleted_annotation_is_not_listed(client: TestClient, instance: Instance) -> None:
    client.delete(f"/mal/annotations/{instance.id}", headers={"if-match": "1"})
    path = f"/mal/annotations/{instance.image_id}"
    assert client.get(path).json()["annotations"] == []
    (ghost,) = client.get(f"{path}?deleted=true").json()["annotations"]
    assert (ghost["id"], ghost["state"], ghost["version"]) == (instance.id, "deleted", 2)


def test_a_token_too_old_to_be_served_gets_the_page_a_new_one(
    client: TestClient, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = TimestampSigner("any").get_timestamp() + MAX_AGE + 60
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: later)
    error_of(client.get("/mal/projects/1"), 403, "forbidden")
    client.headers["x-mal-session"] = client.post("/mal/session").json()["token"]
    assert client.get("/mal/projects/1").json()["person"] == "Ada"
    client.headers["x-mal-session"] = "forged"
    error_of(client.post("/mal/session"), 403, "forbidden")


def test_an_image_is_its_stored_bytes(client: TestClient, studio: Studio) -> None:
    image = studio.images[0]
    response = client.get(f"/mal/image/{image.id}")
    assert hashlib.sha256(response.content).hexdigest() == image.sha256
    assert response.headers["content-type"] == "image/png"
    assert "private" in response.headers["cache-control"]


def test_a_thumbnail_is_a_small_jpeg(client: TestClient, studio: Studio) -> None:
    response = client.get(f"/mal/image/{studio.images[0].id}?size=thumb")
    assert response.headers["content-type"] == "image/jpeg"
    assert Pil.open(BytesIO(response.content)).size == (160, 107)


def test_an_image_the_browser_has_is_not_sent_again(client: TestClient, studio: Studio) -> None:
    paths = [f"/mal/image/{studio.images[0].id}{size}" for size in ("", "?size=thumb")]
    first, other = (client.get(path).headers["etag"] for path in paths)
    assert first != other
    again = client.get(paths[0], headers={"if-none-match": first})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first
    assert client.get(paths[0], headers={"if-none-match": other}).status_code == 200


@pytest.mark.parametrize("size", ["", "huge", "\u20ac", 'x"', "a%0d%0ax: y"])
def test_a_size_that_is_not_there_is_refused(client: TestClient, size: str) -> None:
    error_of(client.get(f"/mal/image/1?size={size}"), 422, "bad_request")


def test_a_lost_raster_is_told_without_its_path(client: TestClient, studio: Studio) -> None:
    path_of(studio.settings, studio.images[0]).unlink()
    key = studio.images[0].id
    error_of(client.get(f"/mal/image/{key}"), 500, "internal")
    error_of(client.get(f"/mal/annotations/{key}"), 422, "bad_input")


def test_a_proposal_is_what_the_predictor_says_bit_for_bit(
    client: TestClient, studio: Studio, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio.workflow._predictors, "of", lambda *_: predictor)
    response = propose(client, studio, request_id="r1")
    pixels = load_image(studio.settings, studio.images[0])
    prediction = predictor.predict(pixels, [BOX])
    answer = response.json()
    assert RLE.from_coco(answer["rle"]) == prediction.masks()[0]
    assert answer["score"] == float(prediction.scores[0])
    assert answer["flagged"] == prediction.flagged(prediction.masks()[0], 0)
    assert (answer["state"], answer["version"], answer["number"]) == ("proposed", 1, 1)
    assert (answer["box"], answer["person"], answer["model"]) == (BOX, "Ada", "tiny")


def test_a_proposal_is_stored_as_it_was_answered(client: TestClient, studio: Studio) -> None:
    answer = propose(client, studio).json()
    listed = client.get(f"/mal/annotations/{studio.images[0].id}").json()["annotations"]
    assert listed == [answer]


def test_the_time_is_told_by_stage(client: TestClient, studio: Studio) -> None:
    timing = propose(client, studio).headers["server-timing"]
    found = re.findall(r"(\w+);dur=([0-9.]+)(?:, |$)", timing)
    stages = ["wait", "decode", "crop", "model", "paste", "rle", "score", "store"]
    assert [name for name, _ in found] == stages


@pytest.mark.both
def test_a_request_asked_again_gets_the_instance_it_made(
    client: TestClient, studio: Studio
) -> None:
    first = propose(client, studio, request_id="lost answer").json()
    assert propose(client, studio, request_id="lost answer").json() == first
    assert propose(client, studio, request_id="another").json()["id"] != first["id"]
    assert len(studio.store.list_instances(studio.images[0].id)) == 2


def test_a_request_is_known_again_after_a_restart(client: TestClient, studio: Studio) -> None:
    first = propose(client, studio, request_id="answered, then kill -9").json()
    again = make_app(studio, Api(Workflow(studio.settings, studio.store), studio.sessions))
    with TestClient(again, f"http://{HOST}") as restarted:
        restarted.headers.update(client.headers)
        assert propose(restarted, studio, request_id="answered, then kill -9").json() == first
        restarted.headers["x-mal-session"] = studio.sessions.mint("Bob")
        other = propose(restarted, studio, request_id="answered, then kill -9").json()
    assert other["id"] != first["id"]


def test_a_box_is_clipped_to_its_image(client: TestClient, studio: Studio) -> None:
    answer = propose(client, studio, box=[-50, -1e9, 60.5, 90]).json()
    assert answer["box"] == [0, 0, 60.5, 90]


def test_a_box_too_many_is_sent_away_for_a_second(
    client: TestClient, studio: Studio, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()

    def wait(*_: object) -> None:
        begun.set()
        go_on.wait(10)
        raise NotFound("no image")

    monkeypatch.setattr("app.api.WAITING_LIMIT", 2)
    monkeypatch.setattr(studio.workflow, "propose", wait)
    with ThreadPoolExecutor(3) as pool:
        taken = [pool.submit(propose, client, studio) for _ in range(3)]
        begun.wait()
        while api._model.statistics().tasks_waiting < 2:
            time.sleep(0.01)
        refused = propose(client, studio)
        go_on.set()
    error_of(refused, 429, "busy")
    assert refused.headers["retry-after"] == "1"
    assert [future.result().status_code for future in taken] == [404] * 3


def test_no_work_is_done_for_a_page_that_left(client: TestClient, studio: Studio) -> None:
    body = {"image_id": studio.images[0].id, "box": BOX, "category_id": studio.categories[0].id}
    content = json.dumps(body).encode()
    headers = {**client.headers, "host": HOST, "content-type": "application/json"}
    messages = iter([{"type": "http.request", "body": content}, {"type": "http.disconnect"}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        **{"type": "http", "method": "POST", "path": "/mal/propose", "query_string": b""},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    anyio.run(client.app, scope, receive, send)
    assert sent[0]["status"] == 204
    assert studio.store.list_instances(studio.images[0].id) == []


def test_an_instance_can_be_proposed_anew(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    box, known = [100, 100, 300, 300], {"instance_id": instance.id, "version": 1}
    answer = propose(client, studio, box=box, **known).json()
    assert (answer["id"], answer["version"], answer["box"]) == (instance.id, 2, box)
    assert len(studio.store.list_instances(instance.image_id)) == 1


def test_the_newest_proposal_of_each_instance_can_be_compared_with_what_became_of_it(
    client: TestClient, studio: Studio
) -> None:
    made = [propose(client, studio).json() for _ in range(2)]
    image = studio.images[0]
    drawn = client.post(
        "/mal/annotations",
        json={**to_body(studio.add()), "image_id": image.id, "request_id": "a copy"},
    )
    assert drawn.status_code == 200
    body = {"state": "corrected", "category_id": made[0]["category_id"], "box": BOX}
    body |= {"rle": blob(image).to_coco()}
    saved = client.put(
        f"/mal/annotations/{made[0]['id']}", json=body, headers={"if-match": "1"}
    ).json()
    assert saved["rle"] != made[0]["rle"]
    assert client.get(f"/mal/proposals/{image.id}").json() == {
        "proposals": [{"id": one["id"], "rle": one["rle"]} for one in made]
    }


@pytest.mark.parametrize("key", [0, 99, 2**63])
def test_no_image_no_proposals(client: TestClient, key: int) -> None:
    error_of(client.get(f"/mal/proposals/{key}"), 404, "not_found")


def test_a_proposal_that_comes_too_late_is_kept_beside_the_newer_version(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    put(client, instance, to_body(instance, state="accepted"))
    response = propose(client, studio, instance_id=instance.id, version=1)
    error = error_of(response, 409, "conflict")
    assert (error["current"]["version"], error["current"]["state"]) == (2, "accepted")
    kept = {r.id: r for r in studio.store.list_revisions(instance.id)}[error["kept"]]
    assert (kept.is_conflict, kept.draft.state) == (True, State.PROPOSED)


def test_a_save_makes_the_next_version(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    mask = blob(studio.images[0], size=9)
    body = to_body(instance, state="corrected", rle=mask.to_coco(), box=[1, 2, 3, 4.5])
    answer = put(client, instance, body).json()
    assert (answer["version"], answer["state"], answer["box"]) == (
        2,
        "corrected",
        [1, 2, 3, 4.5],
    )
    assert studio.store.get_instance(instance.id).draft.rle == mask


@pytest.mark.parametrize("version", ['"1"', " 1 "])
def test_a_version_may_be_quoted_as_http_wants_it(
    client: TestClient, instance: Instance, version: str
) -> None:
    assert put(client, instance, to_body(instance), version).json()["version"] == 2


def test_counts_are_stored_in_the_form_pycocotools_writes(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    rle = {"size": [400, 600], "counts": [100, 0, 50, 7, 0, 3, 239_840]}
    answer = put(client, instance, to_body(instance, rle=rle)).json()
    assert RLE.from_coco(answer["rle"]).runs.tolist() == [150, 10, 239_840]


@pytest.mark.both
def test_of_two_saves_the_late_one_gets_both_versions_to_choose_from(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    first = put(client, instance, to_body(instance, state="accepted")).json()
    late = put(client, instance, to_body(instance, state="rejected"))
    error = error_of(late, 409, "conflict")
    assert error["current"] == first
    revisions = studio.store.list_revisions(instance.id)
    assert [(r.draft.state, r.is_conflict) for r in revisions] == [
        (State.PROPOSED, False),
        (State.ACCEPTED, False),
        (State.REJECTED, True),
    ]
    assert error["kept"] == revisions[-1].id


def test_a_mask_that_exists_becomes_an_instance_once_however_often_it_is_asked(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    body = to_body(instance, state="corrected", reason="copy", request_id="c1")
    body["image_id"] = instance.image_id
    made, again = (client.post("/mal/annotations", json=body).json() for _ in range(2))
    assert (made == again, made["number"], made["version"]) == (True, 2, 1)
    assert (made["state"], made["person"], made["score"]) == ("corrected", "Ada", None)
    assert RLE.from_coco(made["rle"]) == instance.draft.rle
    (revision,) = studio.store.list_revisions(made["id"])
    assert revision.reason == "copy"


def test_a_mask_made_from_a_proposal_keeps_its_model_and_score(
    client: TestClient, studio: Studio
) -> None:
    proposed = propose(client, studio).json()
    body = {key: proposed[key] for key in ("image_id", "category_id", "box", "rle")}
    body |= {"state": "corrected", "request_id": "part", "from_id": proposed["id"]}
    made = client.post("/mal/annotations", json=body).json()
    kept = ("score", "flagged", "model_id", "model")
    assert [made[key] for key in kept] == [proposed[key] for key in kept]
    assert client.post("/mal/annotations", json=body | {"request_id": ""}).status_code == 422
    gone = client.post("/mal/annotations", json=body | {"request_id": "no", "from_id": 99})
    error_of(gone, 404, "not_found")
    assert len(studio.store.list_instances(proposed["image_id"])) == 2


@pytest.mark.both
def test_a_late_deletion_deletes_nothing(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    put(client, instance, to_body(instance, state="accepted"))
    path, headers = f"/mal/annotations/{instance.id}", {"if-match": "1"}
    error = error_of(client.delete(path, headers=headers), 409, "conflict")
    assert error["current"]["state"] == "accepted"
    assert studio.store.get_instance(instance.id).draft.state is State.ACCEPTED


def test_undo_brings_a_deleted_annotation_back(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    path = f"/mal/annotations/{instance.id}"
    gone = client.delete(path, headers={"if-match": "1"}).json()
    assert (gone["state"], gone["version"]) == ("deleted", 2)
    back = put(client, instance, to_body(instance, reason="undo"), 2).json()
    assert (back["state"], back["version"]) == ("proposed", 3)
    assert studio.store.get_instance(instance.id).draft == instance.draft


@pytest.mark.both
def test_a_category_is_added_once_whatever_its_case(client: TestClient, studio: Studio) -> None:
    first, again = (
        client.post("/mal/categories", json={"project_id": 1, "name": name}).json()
        for name in ("  Leaf ", "leaf")
    )
    assert first == again
    assert (first["name"], first["number"]) == ("Leaf", 3)
