"""The routes under /mal/ as the tests speak to them."""

import re
from typing import Any

from fastapi.testclient import TestClient
from httpx import Response

from app.records import Instance
from tests.studio.conftest import Studio

BOX = [10.0, 20.0, 60.0, 90.0]


def routes(instance: Instance) -> list[tuple[str, str, Any]]:
    """Every route with a body it would take."""
    image, category = instance.image_id, instance.draft.category_id
    box = {"image_id": image, "box": BOX, "category_id": category}
    return [
        ("GET", "/mal/projects/1", None),
        ("GET", f"/mal/image/{image}", None),
        ("GET", f"/mal/image/{image}?size=thumb", None),
        ("GET", f"/mal/image/{image}/0/0/0", None),
        ("GET", f"/mal/annotations/{image}", None),
        ("GET", f"/mal/proposals/{image}", None),
        ("POST", "/mal/propose", box),
        ("POST", "/mal/annotations", to_body(instance, image_id=image, request_id="made")),
        ("PUT", f"/mal/annotations/{instance.id}", to_body(instance)),
        ("DELETE", f"/mal/annotations/{instance.id}", None),
        ("GET", "/mal/queue/1", None),
        ("GET", "/mal/accept/1", None),
        ("POST", "/mal/accept", {"project_id": 1, "low": 1.0}),
        ("DELETE", "/mal/accept/1/never", None),
        ("GET", f"/mal/comments/{image}", None),
        ("POST", "/mal/comments", {"image_id": image, "text": "look"}),
        ("GET", "/mal/preferences", None),
        ("PUT", "/mal/preferences", {"hand": "left"}),
        ("POST", "/mal/here", {"project_id": 1, "image_id": image}),
        ("POST", "/mal/done", {"image_id": image, "is_done": True}),
        ("POST", "/mal/categories", {"project_id": 1, "name": "new"}),
    ]


def to_body(instance: Instance, **changes: object) -> dict[str, Any]:
    """What the canvas would PUT to store an instance as it is."""
    draft = instance.draft
    rle = None if draft.rle is None else draft.rle.to_coco()
    body = {"state": draft.state, "category_id": draft.category_id, "box": draft.box, "rle": rle}
    return body | {"reason": "brush"} | changes


def put(client: TestClient, instance: Instance, body: object, version: object = None) -> Response:
    headers = {"if-match": str(version or instance.version)}
    return client.put(f"/mal/annotations/{instance.id}", json=body, headers=headers)


def propose(client: TestClient, studio: Studio, **changes: object) -> Response:
    body = {"image_id": studio.images[0].id, "box": BOX, "category_id": studio.categories[0].id}
    return client.post("/mal/propose", json=body | changes)


def everything(studio: Studio) -> object:
    """All that a request could change."""
    store = studio.store
    instances = [i for image in studio.images for i in
                 store.list_instances(image.id, include_deleted=True)]  # fmt: skip
    history = [store.list_revisions(instance.id) for instance in instances]
    said = [store.list_comments(image.id) for image in studio.images]
    likes = [store.get_preferences(person) for person in ("Ada", "Eve", "")]
    return (
        history,
        said,
        likes,
        store.list_categories(studio.project.id),
        store.list_images(studio.project.id),
    )


def error_of(response: Response, status: int, code: str) -> dict[str, Any]:
    """The error in its one form; it names neither a place nor the program's insides."""
    assert response.status_code == status, response.text
    ((name, error),) = response.json().items()
    assert (name, error["code"]) == ("error", code)
    assert error["message"]
    assert not re.search(r"/(tmp|work|home|root|usr)/|Traceback|Error\b|\.py", response.text)
    return dict(error)
