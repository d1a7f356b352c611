"""The database itself, SQLite and PostgreSQL: its tables, and what it refuses whoever asks."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event
from sqlalchemy.exc import DatabaseError

from app.errors import StudioError
from app.records import Split
from app.schema import metadata
from app.store import Store
from mal_core.errors import InputError
from tests.studio.databases import NOW, add_leaf, fresh, raw, taken


def test_the_migrations_build_exactly_the_tables_of_the_schema(store: Store) -> None:
    with store._read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_on_sqlite_they_are_the_same_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    Store(path).close()
    fresh = create_engine("sqlite://")
    metadata.create_all(fresh)
    with fresh.connect() as connection, raw(path).connect() as migrated:
        rows = connection.exec_driver_sql(_OBJECTS).all()
        assert rows == (found := migrated.exec_driver_sql(_OBJECTS).all())
    fresh.dispose()
    assert sum("STRICT" in (sql or "") for _, sql in found) == len(metadata.tables)


_OBJECTS = """
    SELECT name, sql FROM sqlite_master
    WHERE type IN ('table', 'index') AND name != 'alembic_version'
    AND name NOT LIKE 'sqlite_autoindex_alembic%' ORDER BY name
"""


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        pytest.param("UPDATE revision SET reason = 'x'", "append-only", id="history rewritten"),
        pytest.param("DELETE FROM revision", "append-only", id="history deleted"),
        pytest.param("UPDATE comment SET text = 'x'", "append-only", id="a comment rewritten"),
        pytest.param("DELETE FROM comment", "append-only", id="a comment deleted"),
        pytest.param("UPDATE image SET split = 'train'", "never changes", id="split changed"),
        pytest.param("UPDATE image SET split = NULL", "never changes", id="split forgotten"),
        pytest.param("UPDATE instance SET head_id = 99", "foreign key", id="head points nowhere"),
        pytest.param(
            "UPDATE image SET width = 'wide'", "cannot store text|invalid input", id="wrong type"
        ),
        pytest.param("UPDATE job SET state = 'lost'", "check", id="unknown word"),
    ],
)
def test_the_database_itself_refuses(store: Store, place: Path | str, sql: str, text: str) -> None:
    image_id = add_leaf(store).image_id
    store.add_job(1, "train", {}, NOW)
    store.add_comment(image_id, None, "me", "hm", NOW)
    store.set_splits(1, {image_id: Split.HELD_OUT})
    engine = raw(place)
    with pytest.raises(DatabaseError, match=f"(?i){text}"), engine.begin() as connection:
        connection.exec_driver_sql(sql)
    engine.dispose()


def test_history_cannot_be_emptied_on_postgresql(postgresql: str) -> None:
    for place in fresh(postgresql):
        engine = raw(place)
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.exec_driver_sql("TRUNCATE revision CASCADE")
        engine.dispose()


def test_sqlite_is_durable_and_waits(tmp_path: Path) -> None:
    store = Store(tmp_path / "studio.db")
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    with store._read() as connection:
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
    assert values == ["wal", 2, 1, 30_000]
    store.close()


def test_postgresql_is_durable_and_waits_and_reads_one_moment(postgresql: str) -> None:
    for place in fresh(postgresql):
        store = Store(place)
        names = ("synchronous_commit", "lock_timeout", "transaction_isolation",
                 "transaction_read_only")  # fmt: skip
        for begin, expected in (
            (store._read, ["on", "30s", "repeatable read", "on"]),
            (store._write, ["on", "30s", "read committed", "off"]),
        ):
            with begin() as connection:
                values = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]
            assert values == expected
        store.close()


def test_a_reopened_store_holds_what_it_held(store: Store, place: Path | str) -> None:
    leaf = add_leaf(store)
    again = Store(place)
    assert again.get_instance(leaf.id) == leaf
    again.close()


def test_a_database_of_a_newer_studio_is_left_alone(store: Store, place: Path | str) -> None:
    store.close()
    engine = raw(place)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(StudioError, match="newer studio"):
        Store(place)


def test_a_text_that_postgresql_cannot_keep_is_a_mistake_of_its_writer(postgresql: str) -> None:
    for place in fresh(postgresql):
        store = Store(place)
        with pytest.raises(InputError, match="cannot keep this text"):
            store.add_comment(add_leaf(store).image_id, None, "me", "a\0b", NOW)
        store.close()


def test_listing_images_asks_the_database_a_fixed_number_of_questions(store: Store) -> None:
    def count_statements() -> int:
        seen: list[str] = []

        def note(*call: object) -> None:
            seen.append(str(call[2]))

        event.listen(store._engine, "before_cursor_execute", note)
        store.list_images(1)
        event.remove(store._engine, "before_cursor_execute", note)
        return sum(line.lstrip().startswith("SELECT") for line in seen)

    leaf = add_leaf(store)
    few = count_statements()
    for name in "abcdef":
        added, _ = store.add_image(1, taken(name), NOW)
        store.add_instance(added.id, leaf.draft, "me", "", NOW)
    assert count_statements() == few > 0


@pytest.mark.parametrize(
    ("url", "text"),
    [
        pytest.param("mysql://a:hush@b/c", "does not know mysql", id="another database"),
        pytest.param("hush", "cannot be read", id="no URL"),
        pytest.param("postgresql://a:hush@127.0.0.1:1/c", "cannot be read or written", id="away"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(url: str, text: str) -> None:
    with pytest.raises(StudioError, match=text) as caught:
        Store(url)
    assert "hush" not in str(caught.value)
