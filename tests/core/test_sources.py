"""Image files from a folder, a zip, tars or a URL: the same bytes, the same refusals."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from mal_core import sources
from mal_core.errors import BadImage, InputError
from mal_core.sources import open_files

FILES = {"a.png": b"first", "deep/down/b.jpg": b"second" * 1000, "ü ß.png": b"3"}
Make = Callable[[Path], str]


def make_folder(tmp_path: Path) -> str:
    root = tmp_path / "folder"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "link.png").symlink_to("../secret.png")
    return str(root)


def make_zip(tmp_path: Path) -> str:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in FILES.items():
            file.writestr(name, content)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "a.png")
    return str(path)


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def make_tars(tmp_path: Path) -> str:
    """A file in each of three archives, one of them under ./, and a link in the last."""
    for number, (name, content) in enumerate(FILES.items()):
        with tarfile.open(tmp_path / f"part-{number}.tar", "w") as tar:
            add(tar, f"./{name}" if number == 1 else name, content)
            if number == 2:
                link = tarfile.TarInfo("link.png")
                link.type, link.linkname = tarfile.SYMTYPE, "a.png"
                tar.addfile(link)
    return str(tmp_path / "part-*.tar")


def make_url(tmp_path: Path) -> str:
    return f"file://{make_folder(tmp_path)}"


def make_zip_url(tmp_path: Path) -> str:
    return f"file://{make_zip(tmp_path)}"


def make_memory(tmp_path: Path) -> str:
    system = fsspec.filesystem("memory")
    for name, content in FILES.items():
        system.pipe_file(f"/{tmp_path.name}/{name}", content)
    return f"memory://{tmp_path.name}"


@pytest.mark.parametrize(
    "make", [make_folder, make_zip, make_tars, make_url, make_zip_url, make_memory]
)
def test_every_place_gives_the_same_bytes_and_refusals(make: Make, tmp_path: Path) -> None:
    files = open_files(make(tmp_path))
    assert {name: files.read(name) for name in FILES} == FILES
    with pytest.raises(BadImage, match=r"cannot read none\.png: there is no such file"):
        files.read("none.png")
    for name in ("../secret.png", "deep/../../secret.png", str(tmp_path / "secret.png"), "a\\b"):
        with pytest.raises(BadImage, match="leaves the image folder"):
            files.read(name)
    with pytest.raises(BadImage, match=r"link\.png") as refusal:
        files.read("link.png")
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("make", [make_folder, make_zip, make_tars, make_memory])
def test_a_file_beyond_the_limit_is_refused(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = open_files(make(tmp_path))
    monkeypatch.setattr(sources, "MAX_BYTES", 5999)
    with pytest.raises(BadImage, match=r"b\.jpg: it has more than 5,999 bytes"):
        files.read("deep/down/b.jpg")
    assert files.read("a.png") == b"first"


def test_a_damaged_member_of_a_zip_is_refused_alone(tmp_path: Path) -> None:
    path = Path(make_zip(tmp_path))
    content = path.read_bytes()
    path.write_bytes(content.replace(content[35:40], b"\xff" * 5, 1))
    files = open_files(path)
    with pytest.raises(BadImage, match=r"cannot read a\.png: "):
        files.read("a.png")
    assert files.read("ü ß.png") == b"3"


def test_a_name_that_leaves_its_archive_is_no_one_s(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        add(tar, "../../evil.png", b"evil")
        add(tar, "a.png", b"good")
    assert open_files(path).read("a.png") == b"good"
    with pytest.raises(BadImage, match="no such file"):
        open_files(path).read("evil.png")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        pytest.param("a.zip", b"PK no more", "a.zip cannot be opened as an archive", id="no-zip"),
        pytest.param("a.tar", b"x" * 2000, "a.tar cannot be opened as an archive", id="no-tar"),
        pytest.param("a.tar.gz", b"", "unpack it to .tar", id="compressed"),
        pytest.param("other", b"", "a.zip cannot be opened", id="zip-is-not-there"),
    ],
)
def test_an_archive_that_cannot_be_used_is_an_error_of_its_own(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=why):
        open_files(tmp_path / (name if name != "other" else "a.zip"))


def test_no_two_tars_may_hold_one_name(tmp_path: Path) -> None:
    for number in (1, 2):
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            add(tar, "same.png", b"")
    with pytest.raises(InputError, match=r"same\.png is in 2\.tar and an earlier tar"):
        open_files(tmp_path / "*.tar")
    with pytest.raises(InputError, match=r"there is no x-\*\.tar"):
        open_files(tmp_path / "x-*.tar")


def test_a_tar_that_is_cut_off_costs_what_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        add(tar, "a.png", b"good")
        add(tar, "b.png", b"b" * 5000)
    files = open_files(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert files.read("a.png") == b"good"
    with pytest.raises(BadImage, match=r"b\.png: its archive is cut off"):
        files.read("b.png")


@pytest.mark.parametrize("url", ["nowhere://a/b", "gs://bucket/images"])
def test_a_url_that_nobody_here_can_read_says_what_to_do(url: str) -> None:
    if url.startswith("gs:") and "gcsfs" in fsspec.available_protocols():
        pytest.skip("gcsfs is installed")
    with pytest.raises(InputError, match=r"cannot be opened: .*(known|gcsfs)"):
        open_files(url)


def test_files_come_from_an_object_store(bucket: str, tmp_path: Path) -> None:
    system = fsspec.filesystem("s3")
    for name, content in FILES.items():
        system.pipe_file(f"{bucket}/set/{name}", content)
    files = open_files(f"{bucket}/set")
    assert {name: files.read(name) for name in FILES} == FILES
    with pytest.raises(BadImage, match=r"none\.png: there is no such file"):
        files.read("none.png")
    for path in (make_zip(tmp_path), *map(str, Path(make_tars(tmp_path)).parent.glob("*.tar"))):
        system.put_file(path, f"{bucket}/{Path(path).name}")
    for name in ("images.zip", "part-*.tar"):
        files = open_files(f"{bucket}/{name}")
        assert {name: files.read(name) for name in FILES} == FILES
