"""How much a person may send in a day, and a project may hold."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app import daily
from app.daily import DAY, DailyBytes
from app.errors import Busy, DiskFull, NotFound, OverQuota
from app.room import Room
from tests.studio.conftest import PHOTOS, Studio
from tests.studio.programs import Door, opened
from tests.studio.rest import error_of


def test_a_day_begins_with_its_first_byte_and_forgives_when_it_is_over(tmp_path: Path) -> None:
    now, acts = (
        [1000.0],
        (
            *((0, 600, True), (10, 401, False), (10, 400, True), (20, 1, False)),
            *((DAY - 1, 1, False), (DAY, 1000, True), (DAY + 5, 1, False)),
        ),
    )
    for at, size, passes in acts:
        now[0] = 1000.0 + at
        sent = DailyBytes(tmp_path / "sent.json", 1000, lambda: now[0])  # as after a restart
        if passes:
            sent.spend("Ada", size)
        else:
            with pytest.raises(Busy, match="1,000 bytes a day"):
                sent.spend("Ada", size)
    sent.spend("Öl", 1000)


def test_a_clock_that_steps_back_forgives_nothing(tmp_path: Path) -> None:
    now = [10 * DAY]
    sent = DailyBytes(tmp_path / "sent.json", 1000, lambda: now[0])
    sent.spend("Ada", 1000)
    now[0] = 0.0
    with pytest.raises(Busy):
        sent.spend("Ada", 1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Ada": 3}', '{"Ada": ["a", "b"]}', "\0"])
def test_a_damaged_count_begins_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "sent.json"
    path.write_text(text)
    DailyBytes(path, 1000).spend("Ada", 1000)
    assert "cannot be read" in caplog.text
    with pytest.raises(Busy):
        DailyBytes(path, 1000).spend("Ada", 1)


def test_a_disk_that_is_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(daily, "write_whole", full)
    with pytest.raises(DiskFull, match="nothing was taken"):
        DailyBytes(tmp_path / "sent.json", 1000).spend("Ada", 1)


def files_of(studio: Studio) -> int:
    return sum(path.stat().st_size for path in studio.settings.images.rglob("*") if path.is_file())


def test_a_project_takes_what_its_files_take(studio: Studio) -> None:
    room = Room(studio.settings, studio.store)
    assert room.used(studio.project.id) == files_of(studio) > 0
    empty = studio.store.add_project("Empty", studio.project.model_id, studio.project.created_at)
    assert room.used(empty.id) == 0
    with pytest.raises(NotFound):
        room.check(99)


@pytest.fixture
def door(studio: Studio) -> Iterator[Door]:
    """A studio whose project is full once one more image is in."""
    full = replace(studio.settings, project_bytes=files_of(studio) + 1)
    with opened(replace(studio, settings=full)) as made:
        yield made


def test_a_full_project_takes_no_image_and_says_so(door: Door, studio: Studio) -> None:
    """The one that reaches the limit is taken; another project still takes images."""
    data = (PHOTOS / "coins.png").read_bytes()
    for name, more, status in (("a.png", b"", 200), ("b.png", b"x", 507)):
        answer = door.http.post("/mal/v1/projects/1/images", params={"file_name": name},
                                content=data + more)  # fmt: skip
        assert answer.status_code == status, answer.text
    assert "MAL_PROJECT_BYTES" in error_of(answer, 507, "over_quota")["message"]
    assert len(studio.store.list_images(1)) == len(studio.images) + 1
    other = door.http.post("/mal/v1/projects", json={"name": "Other"}).json()["id"]
    answer = door.http.post(f"/mal/v1/projects/{other}/images", params={"file_name": "a.png"},
                            content=data)  # fmt: skip
    assert answer.status_code == 200
    with pytest.raises(OverQuota):
        door.client().upload(1, PHOTOS / "cell.png")


def test_what_an_import_brought_counts_when_the_next_image_comes(
    door: Door, studio: Studio
) -> None:
    library, intake = replace(studio, settings=replace(
        studio.settings, project_bytes=files_of(studio) + 1)).library()  # fmt: skip
    with intake:
        room = library._room
        room.check(1)
        with pytest.raises(Exception, match="format"):
            library.import_files(1, "none", [], "Ada")
        assert 1 not in room._used
        list(library.add_files(1, [PHOTOS / "coins.png"]))
        assert room.used(1) == files_of(studio) == Room(studio.settings, studio.store).used(1)
        with pytest.raises(OverQuota):
            library.import_files(1, "coco", [PHOTOS / "coins.png"], "Ada")
