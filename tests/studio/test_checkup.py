"""`check`, and all three commands as a person types them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from app.checkup import _is_old_sqlite, check_up
from app.cli import main
from app.errors import Conflict
from app.images import path_of, thumbnail_path
from app.records import ModelState, NewModel
from app.store import Store
from tests.studio.conftest import NOW, Studio


def wrong(studio: Studio) -> list[str]:
    with closing(Store(studio.settings.database, as_it_is=True)) as store:
        return [f.text for f in check_up(studio.settings, store) if f.is_wrong]


def notes(studio: Studio) -> list[str]:
    with closing(Store(studio.settings.database, as_it_is=True)) as store:
        return [f.text for f in check_up(studio.settings, store) if f.text.startswith("note")]


def change(studio: Studio, *statements: str) -> None:
    """Do to the database what only another program could."""
    place = studio.settings.database
    engine = create_engine(place if isinstance(place, str) else f"sqlite:///{place}")
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_nothing_is_wrong_with_a_studio_at_work(studio: Studio) -> None:
    made = studio.add(0)
    studio.store.save_instance(made.id, studio.draft(), 1, "Ada", "brush", NOW)
    with pytest.raises(Conflict):
        studio.store.save_instance(made.id, studio.draft(), 1, "Bo", "brush", NOW)
    assert wrong(studio) == []


DAMAGES: dict[str, tuple[Callable[[Studio], object], str]] = {
    "raster gone": (lambda s: path_of(s.settings, s.images[0]).unlink(), "cannot be found"),
    "raster rotten": (lambda s: rot(path_of(s.settings, s.images[1])), "cannot be trusted"),
    "thumbnail gone": (lambda s: thumbnail_path(s.settings, s.images[2]).unlink(), "thumbnail"),
    "weights gone": (lambda s: weights(s).unlink(), "weights of tiny cannot be found"),
    "weights rotten": (lambda s: rot(weights(s)), "weights of tiny cannot be trusted"),
    "head of another": (
        lambda s: change(
            s,
            "UPDATE instance SET head_id = -id",
            "UPDATE instance SET head_id = 3 + head_id",
        ),
        "instance 1 does not stand at a revision of its own",
    ),
    "head too old": (
        lambda s: change(s, "UPDATE instance SET version = 2 WHERE id = 1"),
        "history of instance 1 is not versions 1 to 2",
    ),
    "head nowhere": (lambda s: change(s, "UPDATE instance SET head_id = 9 WHERE id = 2"), "2"),
    "key nowhere": (
        lambda s: change(s, "UPDATE category SET project_id = 9 WHERE id = 2"),
        "row 2 of category points at a row of project that is not there",
    ),
    "an older studio's": (
        lambda s: change(s, "UPDATE alembic_version SET version_num = '0003'"),
        "start this studio once",
    ),
}


@pytest.mark.parametrize(
    "damage",
    [pytest.param(name, marks=pytest.mark.sqlite if "nowhere" in name else ()) for name in DAMAGES],
)  # PostgreSQL lets no key point nowhere
def test_what_is_wrong_is_said_with_what_to_do(studio: Studio, damage: str) -> None:
    studio.add(0)
    studio.add(1)
    act, text = DAMAGES[damage]
    act(studio)
    lines = wrong(studio)
    assert any(text in line for line in lines), lines
    assert all("restore" in line or "bring it back" in line or "start" in line for line in lines)


@pytest.mark.sqlite
def test_a_page_of_the_database_that_rots_is_found(studio: Studio) -> None:
    for _ in range(300):
        studio.add(0)
    studio.store.close()
    with closing(sqlite3.connect(studio.settings.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'uq_revision_head'"
        (page,) = connection.execute(query).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with studio.settings.database.open("r+b") as file:
        file.seek((page - 1) * size + size // 2)
        file.write(bytes(size // 2))
    assert any("database file is damaged" in line for line in wrong(studio))


def test_removed_weights_and_files_of_nobody_are_only_noted(studio: Studio) -> None:
    model = NewModel("tuned", "f" * 64, {}, studio.project.id, studio.project.model_id)
    studio.store.publish(model, ModelState.REJECTED, NOW)
    (studio.settings.images / "incoming-x").mkdir()
    (studio.settings.images / "incoming-x" / "raster").write_bytes(b"half")
    assert wrong(studio) == []
    texts = "\n".join(notes(studio))
    assert "the weights of tuned were removed" in texts
    assert "1 files in images/ belong to nothing (4 bytes), such as raster" in texts


@pytest.mark.parametrize(
    ("name", "is_old"),
    [("SQLite 3.40.1", True), ("SQLite 3.51.2", True), ("SQLite 3.51.3", False),
     ("SQLite 4.0", False), ("PostgreSQL 15.14 (Debian)", False)],
)  # fmt: skip
def test_a_sqlite_with_the_known_fault_is_told_of(name: str, is_old: bool) -> None:
    assert _is_old_sqlite(name) is is_old


@pytest.mark.sqlite
def test_the_three_commands_as_typed(
    studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, target = studio.settings.data_dir, tmp_path / "new", tmp_path / "backup.zip"
    assert main(["--data-dir", str(old), "backup", str(target)]) == 0
    assert main(["restore", str(target), "--data-dir", str(new)]) == 0
    assert main(["check", "--data-dir", str(new)]) == 0
    assert "restored, and every hash is right" in (told := capsys.readouterr().out)
    assert told.endswith("all is well\n")
    rot(path_of(studio.settings, studio.images[0]))
    assert main(["check", "--data-dir", str(old)]) == 1
    assert "wrong: the raster of coffee.png cannot be trusted" in capsys.readouterr().out
    assert main(["--data-dir", str(old), "backup", str(tmp_path / "second.zip")]) == 1
    assert "run `python app.py check`" in capsys.readouterr().err
    assert main(["check", "--data-dir", str(tmp_path / "nowhere")]) == 1
    assert "holds no studio" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def rot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def weights(studio: Studio) -> Path:
    (path,) = studio.settings.models.glob("*.safetensors")
    return path
