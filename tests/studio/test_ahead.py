"""Masks proposed before anyone waits for them: they give way, and change nothing of a person's."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.ledger import finished_masks
from app.records import Instance, State
from app.workflow import Workflow
from tests.studio.conftest import Studio
from tests.studio.rest import error_of, propose, put, to_body


def ask_ahead(client: TestClient, studio: Studio, known: Instance, version: int = 1) -> Response:
    asked: dict[str, Any] = {"instance_id": known.id, "version": version, "ahead": True}
    return propose(client, studio, **asked)


def test_a_box_gets_the_mask_that_a_person_would_have_got(
    client: TestClient, studio: Studio
) -> None:
    box = studio.add(masked=False)
    made = ask_ahead(client, studio, box).json()
    asked = propose(client, studio, box=list(box.draft.box)).json()
    for name in ("rle", "score", "flagged", "model", "box", "category_id", "state"):
        assert made[name] == asked[name]
    assert (made["id"], made["version"], made["reason"]) == (box.id, 2, "proposed ahead")


def test_it_gives_way_to_whoever_waits_for_the_model(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = studio.add(masked=False)
    begun, go_on = Event(), Event()
    work = Workflow.propose

    def wait(*arguments: Any, **named: Any) -> object:  # noqa: ANN401
        begun.set()
        go_on.wait(10)
        return work(*arguments, **named)

    monkeypatch.setattr(Workflow, "propose", wait)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(propose, client, studio)
        begun.wait(10)
        refused = ask_ahead(client, studio, box)
        go_on.set()
    error_of(refused, 429, "busy")
    assert asked.result().status_code == 200
    assert studio.store.get_instance(box.id).version == 1
    assert ask_ahead(client, studio, box).status_code == 200


def test_what_a_person_did_meanwhile_stands(client: TestClient, studio: Studio) -> None:
    box = studio.add(masked=False)
    put(client, box, to_body(box, state="rejected"))
    error_of(ask_ahead(client, studio, box), 409, "conflict")
    assert studio.store.get_instance(box.id).draft.state is State.REJECTED
    masked = studio.add()
    error_of(ask_ahead(client, studio, masked), 422, "not_allowed")
    assert studio.store.get_instance(masked.id) == masked


def test_it_is_a_proposal_that_took_nobodys_time(client: TestClient, studio: Studio) -> None:
    box = studio.add(masked=False)
    made = ask_ahead(client, studio, box).json()
    taken = studio.store.get_instance(box.id)
    put(client, taken, to_body(taken, state="accepted", reason="accept"))
    (entry,) = finished_masks(studio.store.list_project_revisions(studio.project.id))
    assert entry.is_untouched
    revisions = studio.store.list_revisions(box.id)
    assert entry.seconds == pytest.approx(
        min(60.0, (revisions[2].saved_at - revisions[0].saved_at).total_seconds())
    )
    assert made["state"] == "proposed"
