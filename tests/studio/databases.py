"""A new, empty place for a store: a SQLite file, or a database of a PostgreSQL server of our own.

The server is started once a run on a socket in a folder of its own, without fsync, as somebody
who is not root, whom PostgreSQL refuses. Where none is installed, its tests are skipped.
"""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url

from app.records import Draft, Instance, ModelState, NewModel, State, TakenImage
from app.store import Store, fill

NOW = datetime(2026, 11, 23, tzinfo=UTC)
OPTIONS = (
    "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c max_connections=80"
    " -c shared_buffers=32MB -c autovacuum=off -c wal_level=minimal -c max_wal_senders=0"
)
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a server's own database; a template `studio` there has all tables."""
    tools = _find_tools()
    if tools is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="mal-pg-", dir="/tmp"))
    try:
        user = _somebody(folder)
        run(user, tools / "initdb", "-D", folder / "data", "-U", "studio", "-A", "trust",
            "-E", "UTF8", "--locale=C.UTF-8", "-N")  # fmt: skip
        act = (tools / "pg_ctl", "-D", folder / "data", "-w")
        run(user, *act, "-l", folder / "log", "-o", f"{OPTIONS} -k {folder}", "start")
        url = f"postgresql+psycopg://studio@/postgres?host={folder}"
        _create(url, "template", "template1")
        Store(str(make_url(url).set(database="template"))).close()
        yield url
        run(user, *act, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a store may be opened, once on each database."""
    if request.param == "sqlite":
        yield tmp_path / "studio.db"
        return
    yield from fresh(request.getfixturevalue("postgresql"))


@pytest.fixture(params=BOTH)
def bare_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """A database that no studio has seen."""
    if request.param == "sqlite":
        yield tmp_path / "studio.db"
        return
    yield from fresh(request.getfixturevalue("postgresql"), "template1")


@pytest.fixture
def one_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a store may be opened, on the database of this run."""
    if kind_of(request) == "sqlite":
        yield tmp_path / "studio.db"
        return
    yield from fresh(request.getfixturevalue("postgresql"))


@pytest.fixture
def new_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The `database_url` of a studio of this run, with all tables; "" for a file of its own."""
    for url in database_of(request):
        tell_programs(monkeypatch, url)
        yield url


def tell_programs(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let the launcher and other processes of a test use its database, too."""
    if url:
        monkeypatch.setenv("MAL_DATABASE_URL", url)


@pytest.fixture
def bare_databases(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes the `database_url` of studios that are yet to be restored."""
    with ExitStack() as made:
        opened = contextmanager(database_of)
        yield lambda: made.enter_context(opened(request, "template1"))


@pytest.fixture(scope="module")
def shared_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Likewise, for all tests of a module."""
    yield from database_of(request)


def database_of(request: pytest.FixtureRequest, template: str = "template") -> Iterator[str]:
    """What `new_database` gives."""
    if kind_of(request) == "sqlite":
        yield ""
        return
    yield from fresh(request.getfixturevalue("postgresql"), template)


def kind_of(request: pytest.FixtureRequest) -> str:
    """The database of this run, or the one that a test runs on for the second time."""
    if "database_kind" in request.fixturenames:
        return str(request.getfixturevalue("database_kind"))
    return str(request.config.getoption("--database"))


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """Where a test is marked `both`: each in turn."""
    return str(request.param)


@pytest.fixture
def store(place: Path | str) -> Iterator[Store]:
    """A store in such a place."""
    opened = Store(place)
    yield opened
    opened.close()


@pytest.fixture
def leaf(store: Store) -> Instance:
    """A box without a mask on the only image."""
    return add_leaf(store)


def fresh(server: str, template: str = "template") -> Iterator[str]:
    """URL of a new database, dropped afterwards."""
    name = f"test{next(_NUMBERS)}"
    _create(server, name, template)
    yield str(make_url(server).set(database=name))
    _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def copy_rows(source: Path, server: str, name: str) -> None:
    """Make a database that holds what a SQLite file does."""
    _create(server, name, "template1")
    with closing(Store(source)) as store, store.snapshot():
        tables = {table: list(lines) for table, lines in store.dump()}
        version = store.schema_version()
    lines = {table: iter(rows) for table, rows in tables.items()}
    fill(str(make_url(server).set(database=name)), version, lines, {})


def raw(place: Path | str) -> Engine:
    """What another program would connect with; SQLite checks keys for those who ask."""
    if isinstance(place, str):
        return create_engine(place)
    engine = create_engine(f"sqlite:///{place}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    return engine


def add_leaf(store: Store) -> Instance:
    """A box without a mask, alone in a project of its own."""
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    project = store.add_project("Leaves", model.id, NOW)
    category = store.add_category(project.id, "leaf")
    image, _ = store.add_image(project.id, taken("a"), NOW)
    draft = Draft(State.PROPOSED, category.id, (1.0, 2.0, 30.0, 20.0), None)
    return store.add_instance(image.id, draft, "Ada", "box", NOW)


def taken(name: str) -> TakenImage:
    """An image that only its row knows."""
    return TakenImage(f"raster {name}", f"source {name}", "png", 40, 30, f"{name}.png", "")


def run(user: pwd.struct_passwd | None, *command: str | Path) -> None:
    as_user = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **as_user)  # type: ignore[call-overload]


def _find_tools() -> Path | None:
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def _somebody(folder: Path) -> pwd.struct_passwd | None:
    """Whom the server runs as: us, unless we are root."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return user


def _create(server: str, name: str, template: str) -> None:
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY WAL_LOG")


def _execute(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
