"""What the store keeps of people: comments, preferences, and requests it answered already."""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import app.migrations
from app.errors import NotAllowed, NotFound
from app.store import Store
from app.store.people import TEXT_MAX
from mal_core.errors import InputError
from tests.studio.conftest import NOW, Studio


def test_comments_read_back_in_the_order_they_were_written(studio: Studio) -> None:
    image, instance = studio.images[0].id, studio.add()
    first = studio.store.add_comment(image, None, "Ada", "  a second cup is missing ", NOW)
    second = studio.store.add_comment(image, instance.id, "Bob", "the handle is cut off", NOW)
    assert (first.text, first.instance_id) == ("a second cup is missing", None)
    assert (second.person, second.instance_id, second.written_at) == ("Bob", instance.id, NOW)
    assert studio.store.list_comments(image) == [first, second]
    assert studio.store.list_comments(studio.images[1].id) == []


@pytest.mark.parametrize("text", ["", "  \n ", "x" * (TEXT_MAX + 1)], ids=["none", "blank", "long"])
def test_a_comment_that_says_nothing_or_too_much_is_refused(studio: Studio, text: str) -> None:
    with pytest.raises(InputError, match="1 to 4000 characters"):
        studio.store.add_comment(studio.images[0].id, None, "Ada", text, NOW)


def test_a_comment_is_on_something_that_is_there(studio: Studio) -> None:
    elsewhere = studio.add(1).id
    for image, instance, error in (
        (99, None, NotFound),
        (studio.images[0].id, 99, NotFound),
        (studio.images[0].id, elsewhere, NotAllowed),
    ):
        with pytest.raises(error):
            studio.store.add_comment(image, instance, "Ada", "hm", NOW)
    with pytest.raises(NotFound):
        studio.store.list_comments(99)


def test_each_person_has_preferences_of_their_own(studio: Studio) -> None:
    store = studio.store
    assert store.get_preferences("Ada") == {}
    store.set_preferences("Ada", {"keys": {"undo": ["U"]}})
    store.set_preferences("Bob", {"hand": "left"})
    store.set_preferences("Ada", {"hand": "right"})
    assert store.get_preferences("Ada") == {"hand": "right"}
    assert store.get_preferences("Bob") == {"hand": "left"}


def test_an_answered_request_is_its_persons_alone(studio: Studio) -> None:
    first, second, image = studio.add().id, studio.add().id, studio.images[0].id
    studio.store.add_answer("Ada", "r1", first)
    studio.store.add_answer("Ada", "r1", second)  # the first stands
    assert studio.store.find_answer("Ada", "r1", image) == first
    assert studio.store.find_answer("Bob", "r1", image) is None
    with pytest.raises(NotAllowed, match="another image"):
        studio.store.find_answer("Ada", "r1", studio.images[1].id)
    with pytest.raises(NotFound):
        studio.store.add_answer("Ada", "r2", 99)


def test_a_database_of_the_first_version_is_brought_on_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    config = Config()
    config.set_main_option("script_location", str(Path(app.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        model = "(1, 'm', 'b', 'bundled', '{}', '2026-11-23T06:00:00.000000+00:00')"
        columns = "(id, name, sha256, state, figures, created_at)"
        connection.exec_driver_sql(f"INSERT INTO model_version {columns} VALUES {model}")
        connection.exec_driver_sql(
            "INSERT INTO project VALUES (1, 'Old', 1, '2026-11-23T06:00:00.000000+00:00', 1, 1, 1)"
        )
    engine.dispose()
    store = Store(path)
    assert [project.name for project in store.list_projects()] == ["Old"]
    store.set_preferences("Ada", {"hand": "left"})
    store.close()
    with sqlite3.connect(path) as checked:
        assert checked.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    checked.close()
