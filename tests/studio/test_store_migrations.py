"""Migrations on both databases: the rows of every older studio come along, and a way back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData

from app.records import JobState
from app.store import Store
from app.store.database import alembic_config, migrate
from app.store.engines import deferred_keys, open_engine
from tests.studio.databases import NOW, add_leaf

VERSIONS = [s.revision for s in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
NO_WAY_BACK = "0003"  # the newest migration that cannot be undone
TIME = "2026-11-23T00:00:00.000000+00:00"
JOB = {"project_id": 1, "kind": "fine-tune", "progress": "{}", "error": "", "created_at": TIME}
MODEL = {"figures": "{}", "created_at": TIME, "notes": ""}
BOX = {"x0": 1.5, "y0": 2.0, "x1": 30.1, "y1": 20.0, "score": 0.1, "counts": "0aZ", "flagged": 0}
SAVED = {"category_id": 1, "model_id": 2, "person": "Öl", "reason": "", "saved_at": TIME}
ROWS: dict[str, list[dict[str, Any]]] = {
    "project": [
        {"id": 1, "name": "Old", "model_id": 2, "created_at": TIME, "next_category": 2,
         "next_image": 2, "next_instance": 2}
    ],
    "job": [
        {**JOB, "id": 1, "state": "done", "params": '{"a": 1}', "result": '{"x": 1}',
         "ended_at": TIME, "launches": 1},
        {**JOB, "id": 2, "state": "running", "params": '{"a": 2}', "result": "{}", "launches": 1},
    ],
    "model_version": [
        {**MODEL, "id": 1, "name": "bundled", "sha256": "b", "state": "bundled"},
        {**MODEL, "id": 2, "project_id": 1, "parent_id": 1, "job_id": 1, "name": "tuned",
         "sha256": "t", "state": "promoted", "figures": '{"iou": 0.5}'},
    ],
    "category": [
        {"id": 1, "project_id": 1, "number": 1, "name": "Öl", "name_folded": "öl", "color": "#f00"}
    ],
    "image": [
        {"id": 1, "project_id": 1, "number": 1, "file_name": "a.png", "sha256": "r",
         "source_sha256": "s", "extension": "png", "width": 40, "height": 30, "split": "train",
         "notice": "", "created_at": TIME}
    ],
    "instance": [
        {"id": 1, "project_id": 1, "image_id": 1, "number": 1, "version": 2, "head_id": 2}
    ],
    "revision": [
        {"id": n, "instance_id": 1, "version": v, "is_conflict": c, "state": "proposed", **BOX,
         **SAVED}
        for n, v, c in ((1, 1, 0), (2, 2, 0), (3, 2, 1))
    ],
    "comment": [
        {"id": 1, "image_id": 1, "instance_id": None, "person": "A", "text": "hm",
         "written_at": TIME}
    ],
    "answer": [{"person": "A", "request_id": "x", "instance_id": 1}],
    "preference": [{"person": "A", "value": "{}"}],
    "foreign_fields": [{"family": "coco", "owner": "image", "owner_id": 1, "value": '{"a": 1}'}],
}  # fmt: skip
RENEWED = {"job": {"state", "result", "error", "ended_at"}}  # by migration 0003


@contextmanager
def writing(place: Path | str) -> Iterator[Connection]:
    reader, writer = open_engine(place)
    try:
        with writer.begin() as connection:
            yield connection
    finally:
        reader.dispose()


def contents(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    found = MetaData()
    found.reflect(connection)
    return {
        name: [dict(row._mapping) for row in connection.execute(
            table.select().order_by(*table.primary_key))]
        for name, table in found.tables.items() if name != "alembic_version"
    }  # fmt: skip


def fill_old(connection: Connection) -> None:
    """As much of ROWS as the tables there have room for."""
    found = MetaData()
    found.reflect(connection)
    with deferred_keys(connection):
        for name in ROWS.keys() & found.tables.keys():
            table = found.tables[name]
            for row in ROWS[name]:
                known = {key: value for key, value in row.items() if key in table.c}
                connection.execute(table.insert(), known)


@pytest.mark.parametrize("version", sorted(VERSIONS)[:-1])
def test_the_rows_of_every_older_studio_come_along(bare_place: Path | str, version: str) -> None:
    with writing(bare_place) as connection:
        migrate(connection, version)
        fill_old(connection)
        before = contents(connection)
    store = Store(bare_place)
    with store._read() as connection:
        after = contents(connection)
    for name, rows in before.items():
        renewed = RENEWED.get(name, set()) if version < NO_WAY_BACK else set()
        kept = [{k: v for k, v in row.items() if k not in renewed} for row in rows]
        assert kept == [
            {k: row[k] for k in old} for old, row in zip(kept, after[name], strict=True)
        ]
    assert store.get_instance(1).version == 2
    assert [j.state for j in store.list_jobs(1, "fine-tune")][1] is JobState.DONE
    assert list(store.find_troubles()) == []
    store.close()


def test_a_job_that_ran_in_a_studio_before_jobs_could_resume_is_closed(
    bare_place: Path | str,
) -> None:
    with writing(bare_place) as connection:
        migrate(connection, "0002")
        fill_old(connection)
    store = Store(bare_place)
    running, done = store.list_jobs(1, "fine-tune")
    assert (running.state, done.state) == (JobState.FAILED, JobState.DONE)
    assert "start it again" in running.error
    assert (running.result, done.result, done.launches) == ({}, {}, 1)
    store.close()


def test_down_and_up_again_changes_no_row(bare_place: Path | str) -> None:
    store = Store(bare_place)
    leaf = add_leaf(store)
    store.add_comment(leaf.image_id, leaf.id, "Ada", "hm", NOW)
    store.close()
    config = alembic_config()
    with writing(bare_place) as connection:
        before = contents(connection)
        config.attributes["connection"] = connection
        command.downgrade(config, NO_WAY_BACK)
        kept = contents(connection)
        migrate(connection)
        after = contents(connection)
    assert kept == {name: before[name] for name in kept}
    assert after == {name: kept.get(name, []) for name in before}
    assert "comment" in kept


def test_a_migration_that_fails_leaves_the_old_tables(
    bare_place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(bare_place) as connection:
        migrate(connection, "0003")
        fill_old(connection)
        before = contents(connection)

    def is_cut_short(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.migrations.dialects.refuse", is_cut_short)
    with pytest.raises(KeyboardInterrupt):
        Store(bare_place)
    with writing(bare_place) as connection:
        assert contents(connection) == before
