"""Nothing acknowledged is lost: a race, a full disk, a file that is no database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from app.errors import Conflict, StudioError
from app.records import Draft, Instance, ModelState, NewModel, State, TakenImage
from app.store import Store

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "studio.db")
    yield opened
    opened.close()


@pytest.fixture
def instance(store: Store) -> Instance:
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    project = store.add_project("Leaves", model.id, NOW)
    category = store.add_category(project.id, "leaf")
    taken = TakenImage("raster", "source", "png", 40, 30, "a.png", "")
    image, _ = store.add_image(project.id, taken, NOW)
    draft = Draft(State.PROPOSED, category.id, (1.0, 2.0, 30.0, 20.0), None)
    return store.add_instance(image.id, draft, "Ada", "box", NOW)


def test_a_race_has_one_winner_and_the_loser_is_kept(store: Store, instance: Instance) -> None:
    start = Barrier(2)

    def save(score: float) -> Instance | Conflict:
        draft = replace(instance.draft, score=score)
        start.wait()
        try:
            return store.save_instance(instance.id, draft, 1, f"person {score}", "", NOW)
        except Conflict as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(save, (0.25, 0.75)))
    (winner,) = (r for r in results if isinstance(r, Instance))
    (loser,) = (r for r in results if isinstance(r, Conflict))
    assert store.get_instance(instance.id) == winner
    (kept,) = (r for r in store.list_revisions(instance.id) if r.is_conflict)
    assert (kept.id, kept.version) == (loser.kept, 2)
    assert {kept.draft.score, winner.draft.score} == {0.25, 0.75}
    assert winner.person in str(loser)


def test_a_lost_race_does_not_stop_the_next_save(store: Store, instance: Instance) -> None:
    store.save_instance(instance.id, instance.draft, 1, "Ada", "", NOW)
    for _ in range(2):
        with pytest.raises(Conflict):
            store.save_instance(instance.id, instance.draft, 1, "Bo", "", NOW)
    assert store.save_instance(instance.id, instance.draft, 2, "Bo", "", NOW).version == 3


def test_a_full_disk_is_said_and_nothing_is_changed(store: Store, instance: Instance) -> None:
    before = store.get_instance(instance.id)
    with store._write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StudioError, match="the disk is full"):
        store.save_instance(instance.id, before.draft, 1, "me", "x" * 100_000, NOW)
    assert store.get_instance(instance.id) == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    path.write_bytes(b"not a database, but somebody's notes" * 100)
    before = path.read_bytes()
    with pytest.raises(StudioError, match="cannot be read"):
        Store(path)
    assert path.read_bytes() == before
