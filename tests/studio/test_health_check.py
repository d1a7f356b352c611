"""A project looked through: what is read, what is remembered, and the queue of a finding."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pil

from app.api import Api
from app.desk import Desk
from app.errors import NotFound
from app.health import Health, Kind, Report
from app.images import thumbnail_path
from app.records import Instance, State
from app.review import Review
from mal_core.masks import RLE, encode
from tests.studio.conftest import NOW, PHOTOS, Studio, blob
from tests.studio.rest import error_of, put, to_body


@pytest.fixture
def health(studio: Studio) -> Health:
    return Health(studio.settings, studio.store, lambda: NOW)


@pytest.fixture
def api(studio: Studio, health: Health) -> Api:
    made = Api(studio.workflow, studio.sessions)
    Desk(made, studio.store, Review(studio.store, lambda: NOW), health)
    return made


def check(health: Health) -> Report:
    for _ in health.check(1):
        pass
    report = health.report(1)
    assert report is not None
    return report


def add(studio: Studio, rle: RLE | None, image: int = 0, **changes: Any) -> Instance:  # noqa: ANN401
    """Store an instance whose box is tight."""
    draft = replace(studio.draft(image), rle=rle, **changes)
    if rle is not None and rle.box is not None:
        x0, y0, x1, y1 = map(float, rle.box)
        draft = replace(draft, box=(x0, y0, x1, y1))
    return studio.store.add_instance(studio.images[image].id, draft, "Ada", "box", NOW)


def tiny(studio: Studio, image: int = 0, x0: int = 12) -> Instance:
    return add(studio, blob(studio.images[image], x0=x0, size=5), image)


def kinds_of(report: Report, instance: Instance) -> set[Kind]:
    return {kind for kind, found in report.found.items() if instance.id in found}


def test_a_healthy_project_has_no_findings(studio: Studio, health: Health) -> None:
    for image in range(3):
        add(studio, blob(studio.images[image]), image)
    report = check(health)
    assert (report.found, report.places, report.alike, report.unseen) == ({}, {}, [], [])
    assert report.crowds.tolist() == [1, 1, 1]
    assert report.lengths.tolist() == [40, 40, 40]
    assert report.categories == {(studio.categories[0].id, State.PROPOSED): 3}
    assert report.checked_at == NOW


def test_each_instance_is_found_with_its_version_and_its_image(
    studio: Studio, health: Health
) -> None:
    whole = studio.images[1]
    nothing = np.zeros((0, 0), np.bool_)
    empty = add(studio, encode(nothing, height=whole.height, width=whole.width), 1)
    bare, small = add(studio, None, 2), tiny(studio)
    one, double = add(studio, blob(whole), 1), add(studio, blob(whole, x0=15), 1)
    other = add(studio, blob(whole, y0=28), 1, category_id=studio.categories[1].id)
    report = check(health)
    assert kinds_of(report, empty) == {Kind.EMPTY}
    assert kinds_of(report, bare) == {Kind.NO_MASK}
    assert kinds_of(report, small) == {Kind.TINY}
    assert kinds_of(report, one) == kinds_of(report, double) == {Kind.DOUBLE, Kind.OVERLAP}
    assert kinds_of(report, other) == {Kind.OVERLAP}
    assert report.found[Kind.DOUBLE] == {one.id: 1, double.id: 1}
    assert report.places == dict.fromkeys(
        (Kind.EMPTY, Kind.NO_MASK, Kind.TINY, Kind.DOUBLE, Kind.OVERLAP), 1
    )


@pytest.mark.parametrize("state", [State.REJECTED, State.DELETED])
def test_what_is_out_of_the_data_set_is_not_looked_at(
    studio: Studio, health: Health, state: State
) -> None:
    made = tiny(studio)
    studio.store.save_instance(made.id, replace(made.draft, state=state), 1, "Ada", "no", NOW)
    report = check(health)
    assert report.found == {}
    assert report.crowds.tolist() == [0, 0, 0]


def test_a_second_check_reads_only_what_changed(
    studio: Studio, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny(studio), tiny(studio, image=1)
    assert health.changed(1) == 3
    check(health)
    assert health.changed(1) == 0
    put_in_order = replace(second.draft, rle=blob(studio.images[1]))
    studio.store.save_instance(second.id, put_in_order, 1, "Ada", "brush", NOW)
    assert health.changed(1) == 1
    read, seen = [], []
    list_instances = studio.store.list_instances

    def listing(image_id: int) -> list[Instance]:
        read.append(image_id)
        return list_instances(image_id)

    monkeypatch.setattr(studio.store, "list_instances", listing)
    monkeypatch.setattr("app.health.check.hash_of", seen.append)
    assert check(health).found == {Kind.TINY: {first.id: 1}, Kind.BOX: {second.id: 2}, Kind.LEAK: {
        second.id: 2}}  # fmt: skip
    assert (read, seen) == ([studio.images[1].id], [])


def test_an_abandoned_check_leaves_the_report_before_it(studio: Studio, health: Health) -> None:
    report = check(health)
    tiny(studio)
    next(health.check(1))
    assert health.report(1) is report
    assert health.changed(1) == 1


def test_a_copy_of_a_photo_at_another_size_is_found(
    studio: Studio, health: Health, tmp_path: Path
) -> None:
    with Pil.open(PHOTOS / "chelsea.png") as photo:
        photo.resize((300, 200)).save(tmp_path / "again.jpg", quality=60)
    library, intake = studio.library()
    with intake:
        assert [step.line for step in library.add_files(1, [tmp_path / "again.jpg"])] == [""]
    groups = [[image.file_name for image in group] for group in check(health).alike]
    assert groups == [["chelsea.png", "again.jpg"]]


def test_an_image_whose_file_is_gone_is_told_and_the_rest_is_looked_at(
    studio: Studio, health: Health
) -> None:
    thumbnail_path(studio.settings, studio.images[0]).unlink()
    thumbnail_path(studio.settings, studio.images[1]).write_bytes(b"no JPEG")
    found = tiny(studio)
    report = check(health)
    assert report.unseen == studio.images[:2]
    assert kinds_of(report, found) == {Kind.TINY}
    for image in studio.images[:2]:
        Pil.new("RGB", (9, 9)).save(thumbnail_path(studio.settings, image))
    assert check(health).unseen == []


def test_there_are_no_findings_before_the_first_check(health: Health) -> None:
    assert health.report(1) is None
    with pytest.raises(NotFound, match="Health page"):
        health.found(1, Kind.TINY)
    with pytest.raises(NotFound):
        next(health.check(99))


def queue(client: TestClient, query: str) -> list[int]:
    answer = client.get(f"/mal/queue/1?{query}")
    assert answer.status_code == 200, answer.text
    return [key for stop in answer.json()["images"] for key in stop["instances"]]


def test_the_queue_of_a_finding_holds_exactly_its_instances_until_they_change(
    client: TestClient, studio: Studio, health: Health
) -> None:
    one, two = tiny(studio), tiny(studio, image=1)
    accepted = tiny(studio, image=1, x0=50)
    put(client, accepted, to_body(accepted, state="accepted"))
    add(studio, blob(studio.images[2]), 2)
    check(health)
    assert set(queue(client, "finding=tiny")) == {one.id, two.id, accepted.id}
    assert queue(client, "finding=tiny&state=accepted") == [accepted.id]
    assert queue(client, "finding=huge") == []
    assert client.get("/mal/queue/1?finding=tiny").json()["finding"] == "Tiny masks"
    assert client.get("/mal/queue/1").json()["finding"] == ""
    put(client, one, to_body(one, state="accepted"))
    assert set(queue(client, "finding=tiny")) == {two.id, accepted.id}
    check(health)
    assert set(queue(client, "finding=tiny")) == {one.id, two.id, accepted.id}


def test_accepting_many_keeps_to_the_finding(
    client: TestClient, studio: Studio, health: Health
) -> None:
    found = tiny(studio)
    add(studio, blob(studio.images[1]), 1)
    check(health)
    masks = client.get("/mal/accept/1?finding=tiny").json()["masks"]
    assert [mask["id"] for mask in masks] == [found.id]
    body = {"project_id": 1, "finding": "tiny"}
    assert client.post("/mal/accept", json=body).json()["count"] == 1


def test_a_finding_that_is_not_there_is_refused(client: TestClient) -> None:
    error_of(client.get("/mal/queue/1?finding=lost"), 422, "bad_request")
    error_of(client.get("/mal/queue/1?finding=tiny"), 404, "not_found")
