"""Migrations on both databases: the rows of every older studio come along, and a way back."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

from app.records import JobState
from app.store import Store
from app.store.database import alembic_config, migrate
from app.store.engines import deferred_keys, open_engine
from tests.studio.databases import add_leaf

VERSIONS = [s.revision for s in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
JOBS_RENEWED = "0003"  # the migration that closes what ran, and forgets results
TIME = "2026-11-23T00:00:00.000000+00:00"
JOB = {"project_id": 1, "kind": "fine-tune", "progress": "{}", "error": "", "created_at": TIME}
MODEL = {"figures": "{}", "created_at": TIME, "notes": ""}
BOX = {"x0": 1.5, "y0": 2.0, "x1": 30.1, "y1": 20.0, "score": 0.1, "counts": "0aZ", "flagged": 0}
SECRET = {"id": 1, "user_id": 1, "created_at": TIME}
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
    "user": [
        {"id": 1, "name": "Öl", "name_folded": "öl", "password_hash": "$", "is_admin": 1,
         "is_disabled": 0, "created_at": TIME}
    ],
    "membership": [{"project_id": 1, "user_id": 1, "role": "annotator"}],
    "login": [{**SECRET, "secret_hash": "l", "address": "::1", "seen_at": TIME,
               "expires_at": TIME}],
    "token": [{**SECRET, "secret_hash": "t", "label": "robot", "revoked_at": TIME}],
    "audit": [
        {"id": 1, "at": TIME, "person": "Öl", "act": "import", "project_id": 1, "subject": "coco",
         "detail": "{}"}
    ],
    "lease": [{"image_id": 1, "person": "Öl", "token": 7, "expires_at": TIME}],
    "effort": [{"revision_id": 2, "seconds": 1.25, "strokes": 3}],
    "assignment": [{"image_id": 1, "person": "Öl", "assigned_by": "A", "assigned_at": TIME}],
    "layer": [{"instance_id": 1, "person": "Öl"}],
    "merged": [{"image_id": 1, "person": "A", "act": "x", "merged_at": TIME}],
}  # fmt: skip
RENEWED = {"job": {"state", "result", "error", "ended_at"}}  # by JOBS_RENEWED


@contextmanager
def writing(place: Path | str) -> Iterator[Connection]:
    reader, writer = open_engine(place)
    try:
        with writer.begin() as connection:
            yield connection
    finally:
        reader.dispose()


Contents = dict[str, list[dict[str, Any]]]


def contents(connection: Connection) -> Contents:
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


def step_down(connection: Connection, version: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.downgrade(config, version)


def columns(tables: Contents) -> dict[str, list[set[str]]]:
    return {name: [set(row) for row in rows] for name, rows in tables.items()}


def digests(tables: Contents, known: Contents, but: dict[str, set[str]]) -> dict[str, str]:
    """SHA-256 of the rows of the known tables, as far as their columns go, but for some."""
    found = {}
    for name, rows in known.items():
        wanted = sorted({key for row in rows for key in row} - but.get(name, set()))
        values = [[row[key] for key in wanted] for row in tables[name]]
        found[name] = hashlib.sha256(orjson.dumps(values)).hexdigest()
    return found


def shape(connection: Connection) -> dict[str, Any]:
    """All that a database says of its tables, whatever the order of their columns."""
    asked, triggers = inspect(connection), text(TRIGGERS[connection.dialect.name])
    found: dict[str, Any] = {"triggers": set(connection.execute(triggers))}
    for name in asked.get_table_names():
        parts = (
            asked.get_columns(name),
            asked.get_check_constraints(name),
            asked.get_unique_constraints(name),
            asked.get_foreign_keys(name),
            asked.get_indexes(name),
            [asked.get_pk_constraint(name)],
        )
        found[name] = [sorted(map(said, part)) for part in parts]
    return found


def said(facts: Any) -> str:  # noqa: ANN401 - nested as SQLAlchemy likes it
    if isinstance(facts, dict):
        return str(sorted((key, said(value)) for key, value in facts.items()))
    return str(facts)


TRIGGERS = {
    "sqlite": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname, tgrelid::regclass::text, tgtype FROM pg_trigger"
    " WHERE NOT tgisinternal",
}


@pytest.mark.parametrize("version", sorted(VERSIONS)[:-1])
def test_the_rows_of_every_older_studio_come_along_and_go_back(
    bare_place: Path | str, version: str
) -> None:
    with writing(bare_place) as connection:
        migrate(connection, version)
        fill_old(connection)
        before, tables = contents(connection), shape(connection)
    store = Store(bare_place)
    with store._read() as connection:
        after = contents(connection)
    renewed = RENEWED if version < JOBS_RENEWED else {}
    assert digests(before, before, renewed) == digests(after, before, renewed)
    assert store.get_instance(1).version == 2
    assert [j.state for j in store.list_jobs(1, "fine-tune")][1] is JobState.DONE
    assert list(store.find_troubles()) == []
    store.close()
    with writing(bare_place) as connection:
        step_down(connection, version)
        back = contents(connection)
        assert shape(connection) == tables
    assert columns(back) == columns(before)
    assert digests(back, before, renewed) == digests(before, before, renewed)


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


def test_step_by_step_down_to_nothing_and_up_again_no_row_changes(
    bare_place: Path | str,
) -> None:
    """Of each step that is undone, what the older tables have room for is the same."""
    versions = sorted(VERSIONS)
    with writing(bare_place) as connection:
        migrate(connection)
        fill_old(connection)
        before = contents(connection)
        assert set(before) == set(ROWS)
    for version in reversed(versions[:-1]):
        with writing(bare_place) as connection:
            step_down(connection, version)
            kept = contents(connection)
        assert digests(kept, kept, {}) == digests(before, kept, {})
    assert set(kept) < set(before)
    with writing(bare_place) as connection:
        migrate(connection)
        again = contents(connection)
    assert digests(again, kept, RENEWED) == digests(before, kept, RENEWED)
    assert all(again[name] == [] for name in set(before) - set(kept))
    with writing(bare_place) as connection:
        step_down(connection, "base")
        assert contents(connection) == {}
    store = Store(bare_place)  # an empty database again
    assert add_leaf(store).id == 1
    store.close()


def test_a_model_that_waits_for_a_word_is_one_that_is_not_used_in_an_older_studio(
    bare_place: Path | str,
) -> None:
    with writing(bare_place) as connection:
        migrate(connection)
        fill_old(connection)
        table = MetaData()
        table.reflect(connection, only=["model_version"])
        waits = {"id": 3, "project_id": 1, "state": "undecided", "sha256": "u", "name": "new"}
        connection.execute(table.tables["model_version"].insert(), {**MODEL, **waits})
        step_down(connection, "0002")
        states = {row["name"]: row["state"] for row in contents(connection)["model_version"]}
    assert states == {"bundled": "bundled", "tuned": "promoted", "new": "rejected"}


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
