"""Strokes sent with an instance steer its mask; the outcome is one correction, with undo."""

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.bodies import STROKE_POINTS, STROKES
from app.records import Instance, State
from mal_core.masks import RLE, decode
from tests.studio.conftest import Studio
from tests.studio.rest import BOX, error_of, everything, propose, put, to_body

ADD: dict[str, Any] = {"adds": True, "radius": 6.0, "points": [[70.0, 40.0], [90.0, 44.0]]}
ERASE: dict[str, Any] = {"adds": False, "radius": 4.0, "points": [[35.0, 55.0]]}


@pytest.fixture
def instance(studio: Studio) -> Instance:
    return studio.add()


def steer(
    client: TestClient, studio: Studio, instance: Instance, *strokes: object, **changes: object
) -> Response:
    known = {"instance_id": instance.id, "version": instance.version}
    return propose(client, studio, strokes=list(strokes), **{**known, **changes})


def under(stroke: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Pixels near the first point of a stroke, well inside its radius."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    px, py = stroke["points"][0]
    return np.asarray(np.hypot(x + 0.5 - px, y + 0.5 - py) <= stroke["radius"] - 1)


def test_strokes_always_win_and_are_one_correction(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    response = steer(client, studio, instance, ADD, ERASE)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["id"], answer["version"], answer["state"]) == (instance.id, 2, "corrected")
    assert answer["box"] == list(instance.draft.box)
    assert (answer["person"], answer["reason"]) == ("Ada", "smart stroke")
    mask = decode(RLE.from_coco(answer["rle"]))
    assert mask[under(ADD, mask.shape)].all()
    assert not mask[under(ERASE, mask.shape)].any()
    first, second = studio.store.list_revisions(instance.id)
    assert first.draft == instance.draft
    assert (second.reason, second.draft.model_id) == ("smart stroke", studio.project.model_id)
    assert "model;dur=" in response.headers["server-timing"]


def test_undo_brings_back_what_the_strokes_changed(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    steer(client, studio, instance, ADD)
    undone = put(client, instance, to_body(instance, reason="undo"), version=2)
    assert undone.status_code == 200
    assert studio.store.get_instance(instance.id).draft == instance.draft


def test_the_mask_in_hand_stays_where_no_stroke_points(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    dot = {"adds": True, "radius": 1.0, "points": [[300.0, 200.0]]}
    assert instance.draft.rle is not None
    before = decode(instance.draft.rle)
    after = decode(RLE.from_coco(steer(client, studio, instance, dot).json()["rle"]))
    changed = before ^ after
    assert changed[199:201, 299:301].all()
    assert not changed[:150, :150].any()


def test_a_box_without_a_mask_can_be_stroked(client: TestClient, studio: Studio) -> None:
    bare = studio.add(masked=False)
    answer = steer(client, studio, bare, ADD).json()
    assert answer["state"] == "corrected"
    mask = decode(RLE.from_coco(answer["rle"]))
    assert mask[under(ADD, mask.shape)].all()


def test_without_strokes_a_proposal_stays_a_proposal(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    assert steer(client, studio, instance).json()["state"] == "proposed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"radius": 0}, "bad_request", id="no-radius"),
        pytest.param({"radius": 1e4}, "bad_request", id="radius-beyond-reason"),
        pytest.param({"radius": "nan"}, "bad_request", id="radius-not-a-number"),
        pytest.param({"points": []}, "bad_request", id="no-points"),
        pytest.param({"points": [[1.0]]}, "bad_request", id="half-a-point"),
        pytest.param({"points": [["inf", 2.0]]}, "bad_request", id="point-without-end"),
        pytest.param({"points": [[1, 2]] * (STROKE_POINTS + 1)}, "bad_request", id="many-points"),
        pytest.param({"adds": "perhaps"}, "bad_request", id="adds-a-word"),
        pytest.param({"points": [[-20, -20]]}, "not_allowed", id="beside-the-image"),
        pytest.param({"points": [[5, 5], [5000, 5]]}, "not_allowed", id="far-off"),
    ],
)
def test_a_bad_stroke_is_refused_and_nothing_changes(
    client: TestClient, studio: Studio, instance: Instance, change: dict[str, Any], code: str
) -> None:
    before = everything(studio)
    error_of(steer(client, studio, instance, ADD, ADD | change), 422, code)
    assert everything(studio) == before


def test_there_is_an_end_to_the_number_of_strokes(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    error_of(steer(client, studio, instance, *[ADD] * (STROKES + 1)), 422, "bad_request")


def test_strokes_need_the_instance_they_correct(client: TestClient, studio: Studio) -> None:
    error = error_of(propose(client, studio, strokes=[ADD]), 422, "not_allowed")
    assert "instance_id and version" in error["message"]


def test_strokes_on_another_image_s_instance_are_refused(
    client: TestClient, studio: Studio
) -> None:
    other = studio.add(1)
    error_of(steer(client, studio, other, ADD), 422, "not_allowed")
    error_of(steer(client, studio, other, ADD, instance_id=999), 404, "not_found")


def test_strokes_on_a_mask_that_somebody_changed_are_kept_beside_it(
    client: TestClient, studio: Studio, instance: Instance
) -> None:
    put(client, instance, to_body(instance, state=State.ACCEPTED))
    error = error_of(steer(client, studio, instance, ADD), 409, "conflict")
    assert error["current"]["state"] == "accepted"
    kept = studio.store.list_revisions(instance.id)[-1]
    assert (kept.is_conflict, kept.draft.state, kept.draft.box) == (
        True,
        State.CORRECTED,
        tuple(BOX),
    )
