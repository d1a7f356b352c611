"""A simulated loss of power: whatever the store acknowledged is there when it comes back.

The very statements that the store sends, pragmas included, are recorded and sent again through a
SQLite whose files note every write and every sync. A cut keeps what was synced, and of the rest a
random part. Two pragmas are the test's own: EXCLUSIVE, since these files share no memory, and a
checkpoint every 25 pages, so that many cuts fall into one.
"""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from app.errors import StudioError
from app.store import Store
from app.store.engines import PRAGMAS
from tests.studio.databases import NOW, add_leaf

SAVES = 60
OWN = ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA wal_autocheckpoint = 25")
Op = tuple[Any, ...]  # ("write", file, offset, data), ("sync", file), ("ack", version), ...


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the store sends to SQLite from its opening on; a save ends with COMMIT."""
    sent: list[str] = []
    connect = sqlite3.dbapi2.connect

    def traced(*args: str, **options: bool) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_trace_callback(sent.append)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3.dbapi2, "connect", traced)
        with closing(Store(tmp_path_factory.mktemp("recorded") / "studio.db")) as store:
            leaf = add_leaf(store)
            sent.append("-- begin")
            for version in range(1, SAVES + 1):
                draft = replace(leaf.draft, score=version / SAVES)
                store.save_instance(
                    leaf.id, draft, version, "Ada", "x" * (version * 97 % 5000), NOW
                )
    return [line for line in sent if line == "-- begin" or not line.startswith("--")]


class _File(apsw.VFSFile):
    def __init__(self, ops: list[Op], name: str | apsw.URIFilename, flags: list[int]) -> None:
        self._ops = ops
        self._name = Path(name if isinstance(name, str) else name.filename()).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._ops.append(("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._ops.append(("truncate", self._name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._ops.append(("sync", self._name))
        super().xSync(flags)


class _Recorder(apsw.VFS):
    def __init__(self, ops: list[Op]) -> None:
        self.ops = ops
        super().__init__("recorder", "")

    def xOpen(self, name: str | apsw.URIFilename, flags: list[int]) -> _File:  # noqa: N802
        return _File(self.ops, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        self.ops.append(("delete", Path(name).name))
        super().xDelete(name, sync)


def replay(statements: list[str], folder: Path, synchronous: str) -> list[Op]:
    """Send the statements again; returns everything the files were told, and what was promised."""
    ops: list[Op] = []
    recorder = _Recorder(ops)
    connection = apsw.Connection(str(folder / "studio.db"), vfs="recorder")
    for pragma in OWN:
        connection.execute(pragma)
    version = 0
    for line in statements:
        if line == "-- begin":
            version = 1
            ops.append(("ack", version))
            continue
        with suppress(apsw.ExecutionCompleteError):
            connection.execute(line.replace("synchronous = FULL", f"synchronous = {synchronous}"))
        if version and line == "COMMIT":
            version += 1
            ops.append(("ack", version))
    done = list(ops)
    connection.close()
    recorder.unregister()
    assert version == SAVES + 1
    return done


def cut(ops: list[Op], chance: random.Random, folder: Path) -> int:
    """Write the files as a cut at a random moment may leave them; the version that was promised."""
    begin = ops.index(("ack", 1))
    past = ops[: chance.randrange(begin + 1, len(ops))]
    synced = {op[1]: number for number, op in enumerate(past) if op[0] == "sync"}
    files: dict[str, bytearray] = {}
    for number, op in enumerate(past):
        if op[0] in ("ack", "sync"):
            continue
        if op[0] != "delete" and number > synced.get(op[1], -1) and chance.random() < 0.5:
            continue
        apply(op, files)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return int(max(op[1] for op in past if op[0] == "ack"))


def apply(op: Op, files: dict[str, bytearray]) -> None:
    kind, name = op[:2]
    if kind == "delete":
        files.pop(name, None)
        return
    data = files.setdefault(name, bytearray())
    size = op[2]
    data.extend(bytes(max(0, size - len(data))))
    if kind == "truncate":
        del data[size:]
    else:
        data[size : size + len(op[3])] = op[3]


def survives(folder: Path, promised: int) -> bool:
    """Whether the store opens, is sound, and holds what it promised and nothing half."""
    try:
        with closing(Store(folder / "studio.db")) as store:
            versions = [revision.version for revision in store.list_revisions(1)]
            whole = versions == list(range(1, len(versions) + 1))
            return whole and len(versions) >= promised and not list(store.find_troubles())
    except StudioError:
        return False


@pytest.mark.soak
@pytest.mark.parametrize(
    ("synchronous", "may_lose"),
    [pytest.param("FULL", False, id="as the store is"), pytest.param("NORMAL", True),
     pytest.param("OFF", True)],
)  # fmt: skip
def test_only_full_synchronisation_outlasts_a_power_cut(
    statements: list[str],
    tmp_path: Path,
    scale: Callable[[int, int], int],
    tell: Callable[[str], None],
    synchronous: str,
    may_lose: bool,
) -> None:
    ops = replay(statements, make(tmp_path / "recorded"), synchronous)
    chance, lost, cuts = random.Random(3), 0, scale(12, 200)
    for _ in range(cuts):
        promised = cut(ops, chance, tmp_path / "cut")
        lost += not survives(tmp_path / "cut", promised)
        shutil.rmtree(tmp_path / "cut")
    assert (lost > 0) is may_lose
    tell(f"synchronous={synchronous}: {cuts} cuts, {lost} that lost an acknowledged save")


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_statements_are_the_stores_own(statements: list[str]) -> None:
    begin = statements.index("-- begin")
    first = statements.index("BEGIN IMMEDIATE")
    assert {f"PRAGMA {pragma}" for pragma in PRAGMAS} <= set(statements[:first])
    assert statements[begin:].count("BEGIN IMMEDIATE") == SAVES
    assert sum("INSERT INTO revision" in line for line in statements[begin:]) == SAVES
