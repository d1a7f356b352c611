"""The queue, accepting many at once, comments and preferences: rules and routes."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.history import SENT_BACK
from app.records import Draft, Instance, Sketch, State
from app.review import FIX, LOOK, OPEN, Filter, need, order
from tests.studio.conftest import NOW, Studio
from tests.studio.rest import error_of, put, to_body

SKETCH = Sketch(1, 1, 1, 1, State.PROPOSED, 7, True, 0.9, False, 3, "Ada", "proposed", (0, 0, 9, 9))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"score": 0.9}, 0.1, id="sure"),
        pytest.param({"score": 0.2}, 0.8, id="unsure"),
        pytest.param({"score": None}, 0.5, id="not scored"),
        pytest.param({"score": 0.9, "flagged": True}, 0.5, id="sure but flagged"),
        pytest.param({"score": 0.2, "flagged": True}, 0.8, id="unsure and flagged"),
        pytest.param({"has_mask": False, "score": None}, 1.0, id="only a box"),
        pytest.param({"score": 0.9, "reason": SENT_BACK}, 1.0, id="sure but sent back"),
        pytest.param({"state": State.ACCEPTED, "score": 0.2}, 0.0, id="accepted"),
        pytest.param({"state": State.CORRECTED, "score": 0.2}, 0.0, id="corrected"),
        pytest.param({"state": State.REJECTED, "has_mask": False}, 0.0, id="rejected"),
    ],
)
def test_need_is_the_chance_that_a_mask_must_be_mended(
    changes: dict[str, Any], expected: float
) -> None:
    assert need(replace(SKETCH, **changes)) == pytest.approx(expected)


def test_masks_come_least_certain_first_and_images_by_seconds_saved_a_second_spent() -> None:
    sketches = [
        replace(SKETCH, id=10, image_id=1, number=1, score=0.9),
        replace(SKETCH, id=11, image_id=1, number=2, score=0.4),
        replace(SKETCH, id=12, image_id=2, number=3, score=0.1),
        replace(SKETCH, id=13, image_id=3, number=4, score=0.99),
    ]
    for shuffled in permutations(sketches):
        stops = order(shuffled)
        assert [(s.image_id, list(s.instances)) for s in stops] == [
            (2, [12]), (1, [11, 10]), (3, [13])
        ]  # fmt: skip
    rates = {stop.image_id: stop.rate for stop in stops}
    assert rates[1] == pytest.approx(FIX * 0.7 / (OPEN + 2 * LOOK))
    assert rates[2] == pytest.approx(FIX * 0.9 / (OPEN + LOOK))


def test_an_image_of_many_doubts_pays_its_opening_once() -> None:
    many = [replace(SKETCH, id=i, image_id=2, number=i, score=0.5) for i in range(5)]
    assert order([replace(SKETCH, id=9, score=0.5), *many])[0].image_id == 2


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        pytest.param(Filter(states=frozenset({State.PROPOSED})), {"state": State.ACCEPTED}, id="s"),
        pytest.param(Filter(category_id=7), {"category_id": 8}, id="category"),
        pytest.param(Filter(low=0.9), {"score": 0.89}, id="low"),
        pytest.param(Filter(low=0.0), {"score": None}, id="low-unscored"),
        pytest.param(Filter(high=0.9), {"score": 0.91}, id="high"),
        pytest.param(Filter(high=1.0), {"score": None}, id="high-unscored"),
        pytest.param(Filter(person="Ada"), {"person": "Bob"}, id="person"),
        pytest.param(Filter(model_id=3), {"model_id": None}, id="model"),
        pytest.param(Filter(flagged=False), {"flagged": True}, id="flagged"),
    ],
)
def test_a_filter_takes_what_it_says_and_nothing_else(
    wanted: Filter, changes: dict[str, Any]
) -> None:
    assert wanted.takes(SKETCH)
    assert Filter().takes(replace(SKETCH, **changes))
    assert not wanted.takes(replace(SKETCH, **changes))


def scored(studio: Studio, score: float | None, image: int = 0, **changes: object) -> Instance:
    draft: Draft = replace(studio.draft(image), score=score, **changes)  # type: ignore[arg-type]
    return studio.store.add_instance(studio.images[image].id, draft, "Ada", "box", NOW)


def queue(client: TestClient, query: str = "") -> list[tuple[int, list[int]]]:
    answer = client.get(f"/mal/queue/1{query}").json()
    return [(stop["id"], stop["instances"]) for stop in answer["images"]]


def test_the_queue_is_asked_for_by_address(client: TestClient, studio: Studio) -> None:
    sure, unsure, other = (scored(studio, 0.9), scored(studio, 0.3), scored(studio, 0.1, image=1))
    put(client, sure, to_body(sure, state="accepted"))
    first, second = (image.id for image in studio.images[:2])
    assert queue(client) == [(second, [other.id]), (first, [unsure.id, sure.id])]
    assert queue(client, "?state=proposed&low=0.2") == [(first, [unsure.id])]
    assert queue(client, "?state=accepted&state=corrected") == [(first, [sure.id])]
    client.delete(f"/mal/annotations/{other.id}", headers={"if-match": "1"})
    assert queue(client, "?high=0.2") == []
    answer = client.get("/mal/queue/1").json()
    assert (answer["people"], answer["models"]) == (["Ada"], [])


@pytest.mark.parametrize("query", ["low=2", "high=-0.1", "low=x", "state=lost", "flagged=perhaps"])
def test_a_filter_that_cannot_be_is_refused(client: TestClient, query: str) -> None:
    error_of(client.get(f"/mal/queue/1?{query}"), 422, "bad_request")


@pytest.mark.both
def test_all_above_a_score_are_accepted_and_taken_back_as_one_act(
    client: TestClient, studio: Studio
) -> None:
    high = [scored(studio, 0.9), scored(studio, 0.8, image=1)]
    low, boxed = scored(studio, 0.79), scored(studio, 0.95, rle=None)
    corrected = scored(studio, 0.99, state=State.CORRECTED)
    answer = client.post("/mal/accept", json={"project_id": 1, "low": 0.8}).json()
    assert answer["count"] == 2
    states = [studio.store.get_instance(i.id).draft.state for i in (*high, low, boxed, corrected)]
    assert states == ["accepted", "accepted", "proposed", "proposed", "corrected"]
    assert client.delete(f"/mal/accept/1/{answer['act']}").json() == {"count": 2}
    assert [studio.store.get_instance(i.id).draft for i in high] == [i.draft for i in high]
    assert [studio.store.get_instance(i.id).version for i in high] == [3, 3]
    assert client.delete(f"/mal/accept/1/{answer['act']}").json() == {"count": 0}


def test_a_preview_lists_what_would_be_accepted_the_least_certain_first(
    client: TestClient, studio: Studio
) -> None:
    high, low = scored(studio, 0.95), scored(studio, 0.85, image=1)
    scored(studio, 0.79)
    back = scored(studio, 0.99)
    put(client, back, to_body(back, state="corrected"))
    put(client, back, to_body(back, state="proposed", reason="send back"), 2)
    listed = client.get("/mal/accept/1?low=0.8").json()["masks"]
    assert listed[0]["box"] == list(low.draft.box)
    assert [(mask["id"], mask["image_id"], mask["score"]) for mask in listed] == [
        (low.id, low.image_id, 0.85), (high.id, high.image_id, 0.95)
    ]  # fmt: skip
    accepted = client.post("/mal/accept", json={"project_id": 1, "low": 0.8}).json()
    assert accepted["count"] == len(listed)
    assert studio.store.get_instance(back.id).draft.state is State.PROPOSED
    assert client.get("/mal/accept/1?low=0.8").json() == {"masks": []}


@pytest.mark.both
def test_taking_an_act_back_leaves_what_somebody_changed_since(
    client: TestClient, studio: Studio
) -> None:
    kept, back, by_hand = scored(studio, 0.9), scored(studio, 0.9), scored(studio, 0.9)
    put(client, by_hand, to_body(by_hand, state="accepted"))
    act = client.post("/mal/accept", json={"project_id": 1, "low": 0.5}).json()["act"]
    other = client.post("/mal/accept", json={"project_id": 1, "low": 0.5}).json()
    assert other["count"] == 0
    put(client, kept, to_body(kept, state="rejected"), 2)
    assert client.delete(f"/mal/accept/1/{act}").json() == {"count": 1}
    assert studio.store.get_instance(kept.id).draft.state is State.REJECTED
    assert studio.store.get_instance(back.id).draft.state is State.PROPOSED
    assert studio.store.get_instance(by_hand.id).draft.state is State.ACCEPTED


@pytest.mark.both
def test_comments_are_written_and_read_by_image(client: TestClient, studio: Studio) -> None:
    instance = scored(studio, 0.9)
    body = {"image_id": instance.image_id, "instance_id": instance.id, "text": "too wide"}
    written = client.post("/mal/comments", json=body).json()
    assert (written["person"], written["text"], written["instance_id"]) == (
        "Ada", "too wide", instance.id
    )  # fmt: skip
    listed = client.get(f"/mal/comments/{instance.image_id}").json()
    assert listed == {"comments": [written]}
    error_of(client.post("/mal/comments", json=body | {"text": " "}), 422, "bad_input")
    error_of(client.get("/mal/comments/99"), 404, "not_found")


@pytest.mark.both
def test_preferences_are_a_persons_own_and_small(client: TestClient, studio: Studio) -> None:
    assert client.get("/mal/preferences").json() == {}
    liked = {"keys": {"undo": ["U"]}, "hand": "left"}
    assert client.put("/mal/preferences", json=liked).json() == liked
    error_of(client.put("/mal/preferences", json={"pad": "x" * 40_000}), 422, "not_allowed")
    assert client.get("/mal/preferences").json() == liked
    client.headers["x-mal-session"] = studio.sessions.mint("Bob")
    assert client.get("/mal/preferences").json() == {}


@pytest.mark.both
@pytest.mark.parametrize(
    ("reason", "changes", "kept"),
    [
        pytest.param("category", {"category_id": 2}, "send back", id="another category"),
        pytest.param("box", {"box": [1, 2, 60, 90]}, "send back", id="another box"),
        pytest.param("undo", {}, "undo", id="the sending back is undone"),
        pytest.param("category", {"state": "accepted"}, "category", id="somebody vouches for it"),
        pytest.param("category", {"rle": None}, "category", id="another mask"),
    ],
)
def test_a_mask_that_was_sent_back_stays_marked_until_somebody_mends_it(
    client: TestClient, studio: Studio, reason: str, changes: dict[str, object], kept: str
) -> None:
    made = studio.add()
    put(client, made, to_body(made, reason="send back"))
    assert put(client, made, to_body(made, reason=reason, **changes), 2).status_code == 200
    assert studio.store.get_instance(made.id).reason == kept
