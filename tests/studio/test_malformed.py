"""Hostile and broken data sets: a typed error with a line for each problem, and no half import."""

import random
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from app.exchange import FORMATS
from app.records import Project
from mal_core.errors import BadDataset
from tests.studio.trade import Case, Trade, disc

READERS = ("coco", "coco-panoptic", "yolo-seg", "voc", "labelme", "cvat", "datumaro", "png")
BROKEN_EACH = 30  # files that must be refused, of each format
CASE = Case([("leaf", disc(14, 15, 8)), ("twig", disc(30, 10, 5) & ~disc(30, 10, 2))])
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
WORD = re.compile(rb"[A-Za-z_]{3,}")
BAD_NUMBERS = (b"-1", b"NaN", b"1e999", b"99999999999999999999", b"null", b'"x"', b"", b"0.5.5")
Mutation = Callable[[bytes, random.Random], bytes]


@pytest.fixture(scope="module")
def trade(tmp_path_factory: pytest.TempPathFactory, shared_database: str) -> Iterator[Trade]:
    opened = Trade(tmp_path_factory.mktemp("trade"), shared_database)
    yield opened
    opened.store.close()


@pytest.fixture(scope="module")
def project(trade: Trade) -> Project:
    """A project with the image that all files mean, and nothing on it."""
    project = trade.project()
    trade.image(project, "a.jpg")
    return project


def unpacked(trade: Trade, name: str, folder: Path) -> Path:
    """A sound data set of a format, unpacked."""
    source = trade.project(name)
    trade.fill(source, trade.image(source, "a.jpg"), CASE)
    report = trade.export(source, name)
    with zipfile.ZipFile(report.path) as archive:
        archive.extractall(folder)
    (folder / "report.json").unlink()
    return folder


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def flip(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def double(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    end = start + chance.randrange(1, 200)
    return data[:end] + data[start:end] + data[end:]


def swap(pattern: re.Pattern[bytes], choices: tuple[bytes, ...]) -> Mutation:
    """Another word in the place of one that fits the pattern."""

    def act(data: bytes, chance: random.Random) -> bytes:
        found = list(pattern.finditer(data))
        if not found:
            return b""
        match = chance.choice(found)
        return data[: match.start()] + chance.choice(choices) + data[match.end() :]

    return act


MUTATIONS: tuple[Mutation, ...] = (
    cut,
    flip,
    double,
    swap(NUMBER, BAD_NUMBERS),
    swap(NUMBER, BAD_NUMBERS),
    swap(WORD, (b"zzz", b"\xff\xfe", b"", b"]]]", b"<a>")),
    lambda data, chance: bytes(chance.randrange(256) for _ in range(200)),
    lambda data, chance: b"[" * 100_000 + data,
)


def state(trade: Trade, project: Project) -> tuple[int, int, int]:
    images, categories = (
        trade.store.list_images(project.id),
        trade.store.list_categories(project.id),
    )
    return len(images), len(categories), sum(sum(s.counts.values()) for s in images)


def attempt(trade: Trade, project: Project, name: str, folder: Path) -> int | None:
    """How many instances came in; None if the data set was refused."""
    try:
        done = trade.bring(project, name, folder)
    except BadDataset:
        return None
    return done.n_masks + done.n_boxes


@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_refused_by_a_typed_error_and_nothing_comes_in(
    trade: Trade, project: Project, name: str, tmp_path: Path
) -> None:
    """The mutator goes on until enough files were refused; harmless changes come in whole."""
    folder = unpacked(trade, name, tmp_path)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chance = random.Random(f"exchange {name}")
    refused = 0
    for turn in range(20 * BROKEN_EACH):
        path = files[turn % len(files)]
        sound = path.read_bytes()
        path.write_bytes(chance.choice(MUTATIONS)(sound, chance))
        before = state(trade, project)
        added = attempt(trade, project, name, folder)
        if added is None:
            refused += 1
            assert state(trade, project) == before
        else:
            images, _, instances = state(trade, project)
            assert (images, instances) == (before[0], before[2] + added)
        path.write_bytes(sound)
        if refused == BROKEN_EACH:
            break
    assert refused == BROKEN_EACH
    trade.bring(project, name, folder)  # the sound one still comes in


def test_all_readers_together_refuse_more_than_two_hundred_files() -> None:
    assert BROKEN_EACH * len(READERS) >= 200
    assert {FORMATS[name].read for name in FORMATS} - {FORMATS[name].read for name in READERS} == {
        FORMATS["png-semantic"].read  # differs in names only; its pictures are read as png's are
    }


def refusal(trade: Trade, project: Project, name: str, path: Path) -> str:
    before = state(trade, project)
    with pytest.raises(BadDataset) as caught:
        trade.bring(project, name, path)
    assert state(trade, project) == before
    return "\n".join(caught.value.problems)


def sound_label() -> bytes:
    return b"0 0.5 0.5 0.25 0.25\n"


@pytest.mark.parametrize(
    ("member", "text"),
    [
        pytest.param("../labels/a.txt", "leaves the zip", id="up and out"),
        pytest.param("/labels/a.txt", "leaves the zip", id="absolute"),
        pytest.param("labels\\..\\..\\a.txt", "leaves the zip", id="backslashes"),
    ],
)
def test_one_member_that_leaves_its_zip_keeps_everything_out(
    trade: Trade, project: Project, tmp_path: Path, member: str, text: str
) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("labels/a.txt", sound_label())
        archive.writestr(member, sound_label())
    assert text in refusal(trade, project, "yolo", tmp_path / "z.zip")


def test_links_are_refused_in_zips_and_in_folders(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_bytes(sound_label())
    link = zipfile.ZipInfo("labels/a.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(link, "../secret.txt")
    assert "is a link" in refusal(trade, project, "yolo", tmp_path / "z.zip")
    (tmp_path / "set" / "labels").mkdir(parents=True)
    (tmp_path / "set" / "labels" / "a.txt").symlink_to(secret)
    assert "is a link" in refusal(trade, project, "yolo", tmp_path / "set")


def test_a_zip_bomb_is_stopped_at_the_limit(
    trade: Trade, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.exchange.bringing._UNPACKED", 1e-3)
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels/a.txt", bytes(4_000_000))
    assert "unpacks to more than" in refusal(trade, project, "yolo", tmp_path / "z.zip")


def test_a_file_too_large_to_be_read_as_a_whole_is_refused(
    trade: Trade, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.exchange.sheets._FILE_MAX", 100)
    (tmp_path / "big.json").write_bytes(b"[" + b"1," * 100 + b"1]")
    assert "the limit is 100: split it" in refusal(trade, project, "coco", tmp_path / "big.json")


ENTITY = '<!DOCTYPE a [<!ENTITY b "bbb">]>'
BOMB = (
    '<!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdef", "bcdefg", strict=True))
    + "]>"
)
FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("head", [ENTITY, BOMB, FILE], ids=["entity", "bomb", "file"])
@pytest.mark.parametrize("name", ["voc", "cvat"])
def test_xml_with_types_or_entities_is_refused(
    trade: Trade, project: Project, tmp_path: Path, name: str, head: str
) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f"{head}<annotations><annotation>&b;</annotation></annotations>")
    assert "must not define types or entities" in refusal(trade, project, name, path)


def test_a_yaml_that_grows_by_aliases_is_refused(
    trade: Trade, project: Project, tmp_path: Path
) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: *a29"]))
    (tmp_path / "a.txt").write_bytes(sound_label())
    assert "must not use aliases or deep lists" in refusal(trade, project, "yolo", tmp_path)


def test_a_picture_of_another_size_is_refused_before_it_is_unpacked(
    trade: Trade, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "masks").mkdir()
    Pil.fromarray(np.ones((31, 40), np.uint8)).save(tmp_path / "masks" / "a.png")

    def fail(*_: object) -> None:
        raise AssertionError("it was unpacked")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    assert "has 40 x 31 pixels, its image 40 x 30" in refusal(trade, project, "png", tmp_path)
