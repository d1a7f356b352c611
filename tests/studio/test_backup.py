"""Backup, restore, check: what people made comes back to the last byte, from nothing hostile."""

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import orjson
import pytest

from app.accounts import Accounts
from app.backup import MANIFEST, BackupReport, back_up
from app.errors import DiskFull, NotAllowed, StudioError
from app.images import path_of
from app.records import State
from app.restore import restore
from app.store import Store
from mal_core.errors import InputError
from tests.studio.conftest import NOW, Elsewhere, Studio
from tests.studio.databases import fresh
from tests.studio.test_logins import CHEAP, GOOD


@pytest.fixture
def zipped(studio: Studio, tmp_path: Path) -> Path:
    """A backup of a studio with masks, a lost race, a comment, a split and a preference."""
    first = studio.add(0, State.ACCEPTED)
    studio.store.save_instance(first.id, studio.draft(0, State.CORRECTED), 1, "Bo", "brush", NOW)
    studio.store.add_comment(studio.images[0].id, first.id, "Öl", 'what is "this"?\n', NOW)
    studio.store.set_preferences("Ada", {"keys": {"a": "b"}})
    folder = studio.settings.jobs / "7"
    folder.mkdir(parents=True)
    (folder / "train.json").write_text("{}")
    (folder / "epoch.safetensors").write_text("scratch")
    target = tmp_path / "backup.zip"
    back_up(studio.settings, studio.store, target, NOW)
    return target


def digests(store: Store) -> dict[str, str]:
    with store.snapshot():
        return {name: hashlib.sha256(b"".join(lines)).hexdigest() for name, lines in store.dump()}


def files(folder: Path) -> dict[str, bytes]:
    kinds = ("images", "models", "jobs")
    found = [path for kind in kinds for path in (folder / kind).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_what_is_restored_is_what_was_backed_up(
    studio: Studio, zipped: Path, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    settings = elsewhere(tmp_path / "new")
    assert restore(settings, zipped) == []
    with closing(Store(settings.database)) as store:
        assert digests(store) == digests(studio.store)
        assert list(store.list_project_revisions(studio.project.id)) == list(
            studio.store.list_project_revisions(studio.project.id)
        )
    scratch = {"jobs/7/epoch.safetensors"}
    assert files(settings.data_dir).keys() == files(studio.settings.data_dir).keys() - scratch
    assert files(settings.data_dir).items() <= files(studio.settings.data_dir).items()


def test_a_restored_studio_goes_on_numbering_where_the_old_one_stood(
    studio: Studio, zipped: Path, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    settings = elsewhere(tmp_path / "new")
    restore(settings, zipped)
    with closing(Store(settings.database)) as store:
        made = store.add_instance(studio.images[0].id, studio.draft(), "Ada", "box", NOW)
    assert made == studio.add(0)


def test_a_laptops_studio_moves_to_a_teams_database_and_back(
    studio: Studio, zipped: Path, tmp_path: Path, postgresql: str, elsewhere: Elsewhere
) -> None:
    home = elsewhere(tmp_path / "home")
    for place in fresh(postgresql, "template1"):
        team = replace(elsewhere(tmp_path / "team"), database_url=place)
        assert restore(team, zipped) == []
        with closing(Store(team.database)) as store:
            assert digests(store) == digests(studio.store)
            for one in (store, studio.store):  # both number on alike
                one.add_comment(studio.images[1].id, None, "Ada", "next", NOW)
                one.add_job(studio.project.id, "train", {}, NOW)
                one.add_instance(studio.images[1].id, studio.draft(1), "Ada", "box", NOW)
            assert digests(store) == digests(studio.store)
            back_up(team, store, tmp_path / "team.zip", NOW)
        with pytest.raises(NotAllowed, match="database is not empty"):
            restore(replace(team, data_dir=tmp_path / "again"), zipped)
    assert not (tmp_path / "again").exists()
    assert restore(home, tmp_path / "team.zip") == []
    with closing(Store(home.database)) as store:
        assert digests(store) == digests(studio.store)


def test_no_login_and_no_token_of_before_lets_anybody_into_what_was_restored(
    studio: Studio, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    """The backup does not know which of them were ended since it was made."""
    accounts, target = Accounts(studio.store, CHEAP), tmp_path / "backup.zip"
    ada = accounts.add_user("Ada", GOOD, is_admin=True, by="")
    secret, token = accounts.log_in("Ada", GOOD, ""), accounts.make_token(ada.id, "", None, "Ada")
    back_up(studio.settings, studio.store, target, NOW)
    accounts.revoke_logins(ada.id, "Ada")
    settings = elsewhere(tmp_path / "new")
    assert restore(settings, target) == []
    with closing(Store(settings.database)) as store:
        restored = Accounts(store, CHEAP)
        assert restored.find_login(secret) is None
        assert restored.find_token(token) is None
        assert restored.find_login(restored.log_in("Ada", GOOD, ""))
    assert accounts.find_token(token)


@pytest.mark.soak
def test_a_backup_made_while_people_write_holds_one_moment(
    studio: Studio,
    tmp_path: Path,
    scale: Callable[[int, int], int],
    tell: Callable[[str], None],
    elsewhere: Elsewhere,
) -> None:
    writer, turns = Writer(studio), scale(2, 20)
    writer.start()
    for turn in range(turns):
        target, settings = tmp_path / f"{turn}.zip", elsewhere(tmp_path / f"new-{turn}")
        writer.wait_for(writer.acknowledged + 5)
        before = writer.acknowledged
        back_up(studio.settings, studio.store, target, NOW)
        after = writer.acknowledged
        assert restore(settings, target) == []
        with closing(Store(settings.database)) as store:
            heads = [store.get_instance(key).version for key in writer.keys]
            assert promised(target) == digests(store)
        assert before <= min(heads)
        assert max(heads) <= after + 1
        assert max(heads) - min(heads) <= 1
        shutil.rmtree(settings.data_dir)
    writer.stop()
    saves = len(writer.keys) * (writer.acknowledged - 1)
    tell(f"{turns} backups made during {saves} saves, restored with the digests of one moment")


class Writer(Thread):
    """Saves two instances in turn, and knows how many saves of each were acknowledged."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(daemon=True)  # a test that fails must not wait for it
        self._store = studio.store
        self._draft = studio.draft()
        self.keys = [studio.add().id for _ in range(2)]
        self.acknowledged = 1
        self._is_told = Event()

    def run(self) -> None:
        while not self._is_told.is_set():
            for key in self.keys:
                version = self.acknowledged
                self._store.save_instance(key, self._draft, version, "Ada", "x" * 200, NOW)
            self.acknowledged += 1

    def wait_for(self, count: int) -> None:
        while self.acknowledged < count:
            assert self.is_alive()

    def stop(self) -> None:
        self._is_told.set()
        self.join()


def promised(target: Path) -> dict[str, str]:
    with zipfile.ZipFile(target) as archive:
        entries = orjson.loads(archive.read(MANIFEST))["files"]
    rows = {name: entry for name, entry in entries.items() if name.startswith("rows/")}
    return {Path(name).stem: entry["sha256"] for name, entry in rows.items()}


def test_the_secret_and_what_can_be_made_again_stay_out(studio: Studio, zipped: Path) -> None:
    assert (studio.settings.data_dir / "secret").exists()
    with zipfile.ZipFile(zipped) as archive:
        names = archive.namelist()
        secret = (studio.settings.data_dir / "secret").read_bytes().strip()
        assert not any(secret in archive.read(name) for name in names)
    tops = {name.split("/")[0] for name in names}
    assert tops == {"rows", "images", "models", "jobs", MANIFEST}


def test_a_backup_is_whole_or_not_there(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.backup._Writer.add_models", is_full)
    before = set(tmp_path.iterdir())
    with pytest.raises(DiskFull, match="could not be written: No space left"):
        back_up(studio.settings, studio.store, tmp_path / "backup.zip", NOW)
    assert set(tmp_path.iterdir()) == before


def test_a_backup_never_replaces_a_file(studio: Studio, zipped: Path) -> None:
    before = zipped.read_bytes()
    with pytest.raises(StudioError, match="exists already"):
        back_up(studio.settings, studio.store, zipped, NOW)
    assert zipped.read_bytes() == before


def test_a_backup_names_what_the_data_folder_has_lost_and_keeps_the_rest(
    studio: Studio, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    first, second, _ = studio.images
    path_of(studio.settings, first).unlink()
    path_of(studio.settings, second).write_bytes(b"rot")
    target, settings = tmp_path / "backup.zip", elsewhere(tmp_path / "new")
    report: BackupReport = back_up(studio.settings, studio.store, target, NOW)
    assert [line.partition(":")[0] for line in report.missing] == [
        f"{first.file_name} is missing",
        f"{second.file_name} is damaged",
    ]
    assert len(restore(settings, target)) == 2
    with closing(Store(settings.database)) as store:
        assert digests(store) == digests(studio.store)


@pytest.mark.parametrize("kind", ["a file in it", "a file in its place"])
def test_a_folder_that_holds_something_is_left_alone(
    zipped: Path, tmp_path: Path, kind: str, elsewhere: Elsewhere
) -> None:
    taken = tmp_path / "new"
    if kind == "a file in it":
        taken.mkdir()
        (taken / "mine").write_text("mine")
    else:
        taken.write_text("mine")
    with pytest.raises(NotAllowed, match="is not empty"):
        restore(elsewhere(taken), zipped)
    assert (taken if taken.is_file() else taken / "mine").read_text() == "mine"


# Hostile and damaged zips

HASH = "a" * 64
MEMBER = "images/aa/" + HASH + ".png"


def rewrite(source: Path, change: Callable[[dict[str, bytes], dict[str, object]], None]) -> None:
    """Write a backup anew with other members or another manifest."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = orjson.loads(members.pop(MANIFEST))
    change(members, manifest)
    with zipfile.ZipFile(source, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
        archive.writestr(MANIFEST, orjson.dumps(manifest))


def add(name: str, data: bytes = b"x", size: int | None = None) -> Callable[..., None]:
    """A member that the manifest speaks of, too."""

    def change(members: dict[str, bytes], manifest: dict[str, dict[str, object]]) -> None:
        members[name] = data
        entry = {"size": size or len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest["files"][name] = entry

    return change


def put(table: str, old: bytes, new: bytes) -> Callable[..., None]:
    """Change rows, and the manifest with them."""

    def change(members: dict[str, bytes], manifest: dict[str, dict[str, object]]) -> None:
        name = f"rows/{table}.jsonl"
        assert old in members[name]
        add(name, members[name].replace(old, new, 1))(members, manifest)

    return change


def say(**values: object) -> Callable[..., None]:
    return lambda _, manifest: manifest.update(values)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(add("../evil"), "no backup has a file", id="path that climbs"),
        pytest.param(add("images/aa/../../evil.png"), "no backup", id="path that climbs later"),
        pytest.param(add("/etc/evil"), "no backup has a file", id="absolute path"),
        pytest.param(add("secret"), "no backup has a file", id="a secret of theirs"),
        pytest.param(add("jobs/1/epoch.pkl"), "no backup has a file", id="a file we never write"),
        pytest.param(add(MEMBER, b"x", 10**15), "has 1 bytes, not", id="size that lies"),
        pytest.param(lambda m, _: m.update({MEMBER: b"x"}), "does not hold", id="extra member"),
        pytest.param(lambda m, _: m.popitem(), "does not hold", id="lost member"),
        pytest.param(say(files={}), "does not hold", id="empty manifest"),
        pytest.param(say(files=[1]), "cannot be read", id="manifest of another kind"),
        pytest.param(say(format=2), "a newer studio", id="newer format"),
        pytest.param(say(schema="9999"), "newer studio", id="newer tables"),
        pytest.param(put("category", b"thing", b"think"), None, id="honest change"),
        pytest.param(put("revision", b"[", b"{"), "is no JSON", id="row that is no JSON"),
        pytest.param(put("project", b',"Photos"', b',1,"Photos"'), "not one value", id="long row"),
        pytest.param(put("project", b'"Photos"', b'{"a":1}'), "is no row", id="value of no type"),
        pytest.param(put("project", b'"name"', b'"naem"'), "columns of project", id="odd column"),
        pytest.param(put("comment", b"[1,1,", b"[1,99,"), "not fit", id="row that points nowhere"),
        pytest.param(put("comment", b"[1,", b"[%d," % 2**63), "is no row", id="number too large"),
        pytest.param(put("image", b'"png"', b"12"), "fit together|come out", id="wrong type"),
        pytest.param(put("project", b"Photos", b"\\ud800"), "JSON|text", id="half a character"),
    ],
)  # fmt: skip
def test_a_zip_that_is_no_honest_backup_leaves_nothing(
    zipped: Path,
    tmp_path: Path,
    change: Callable[..., None],
    text: str | None,
    elsewhere: Elsewhere,
) -> None:
    rewrite(zipped, change)
    settings = elsewhere(tmp_path / "new")
    if text is None:
        assert restore(settings, zipped) == []
        return
    before = set(tmp_path.rglob("*"))
    with pytest.raises((InputError, StudioError), match=text):
        restore(settings, zipped)
    assert set(tmp_path.rglob("*")) == before
