"""Files, folders and zips become image files, and nothing leads out of them."""

import zipfile
from pathlib import Path

import pytest

from app.images import expand
from mal_core.errors import InputError


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_files_folders_and_zips_give_their_images_in_order(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    for name in ("b.JPG", "in/a.png", "notes.txt", ".hidden.png"):
        (folder / name).write_bytes(b"1")
    members = {"deep/er/c.tiff": b"2", "__MACOSX/c.tiff": b"3", "deep/.DS_Store": b"", "x.gif": b""}
    dropped = [folder, make_zip(tmp_path / "z.zip", members), folder / "b.JPG"]
    found = expand(dropped, scratch, 1000)
    assert [f.name for f in found.files] == ["b.JPG", "in/a.png", "deep/er/c.tiff", "b.JPG"]
    assert [f.path.read_bytes() for f in found.files] == [b"1", b"1", b"2", b"1"]
    assert [line.split(":")[0] for line in found.skipped] == ["notes.txt", "x.gif"]


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "in/../../a.png", "..\\a.png"])
def test_no_member_of_a_zip_leaves_the_scratch_folder(
    tmp_path: Path, scratch: Path, name: str
) -> None:
    archive = make_zip(tmp_path / "z.zip", {name: b"1", "good.png": b"2"})
    before = sorted(tmp_path.rglob("*"))
    found = expand([archive], scratch, 1000)
    assert [f.name for f in found.files] == ["good.png"]
    assert "leaves the zip" in found.skipped[0]
    (new,) = set(tmp_path.rglob("*")) - set(before)
    assert new.parent == scratch


def test_links_are_not_followed_in_zips_or_folders(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    link = zipfile.ZipInfo("b.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as file:
        file.writestr(link, "../secret.png")
    found = expand([folder, tmp_path / "z.zip"], scratch, 1000)
    assert (found.files, found.skipped) == ((), ("a.png: is a link", "b.png: is a link"))


def test_a_zip_bomb_is_stopped_at_the_limit(tmp_path: Path, scratch: Path) -> None:
    archive = make_zip(tmp_path / "z.zip", {f"{i}.png": bytes(600_000) for i in range(5)})
    with pytest.raises(InputError, match=r"z.zip unpacks to more than 1,000,000 bytes"):
        expand([archive], scratch, 1_000_000)
    assert sum(path.stat().st_size for path in scratch.iterdir()) <= 1_000_000


def test_a_zip_with_too_many_members_is_refused(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.images.unpack.MEMBERS_MAX", 3)
    archive = make_zip(tmp_path / "z.zip", {f"{i}.png": b"" for i in range(4)})
    with pytest.raises(InputError, match="holds 4 files; the limit is 3"):
        expand([archive], scratch, 1000)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(99)])
def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, scratch: Path, content: bytes) -> None:
    (tmp_path / "z.zip").write_bytes(content)
    with pytest.raises(InputError, match="not a whole zip file"):
        expand([tmp_path / "z.zip"], scratch, 1000)


def test_a_damaged_member_is_left_out_and_named(tmp_path: Path, scratch: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_STORED) as file:
        file.writestr("bad.png", b"x" * 100)
        file.writestr("good.png", b"y" * 100)
    content = (tmp_path / "z.zip").read_bytes()
    (tmp_path / "z.zip").write_bytes(content.replace(b"x" * 100, b"x" * 99 + b"z"))
    found = expand([tmp_path / "z.zip"], scratch, 1000)
    assert [f.name for f in found.files] == ["good.png"]
    assert found.skipped[0].startswith("bad.png: is damaged in the zip")
    assert len(list(scratch.iterdir())) == 1
