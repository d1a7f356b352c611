"""Intake: what a camera or microscope makes comes in upright, what is hostile stays out."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pil

from app.images import Intake, load_image, path_of, thumbnail_path
from app.records import Image, TakenImage
from app.settings import Settings
from mal_core.errors import BadImage
from tests.studio.bad_images import crafted, many_directories

Array = NDArray[np.uint8]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def intake(settings: Settings) -> Iterator[Intake]:
    with Intake(settings) as opened:
        yield opened


def photo(height: int = 24, width: int = 32) -> Array:
    """A smooth picture whose four quarters differ, so that no turn goes unseen."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 250, 20, 20
    picture[: height // 2, width // 2 :] = 20, 250, 20
    picture[height // 2 :, : width // 2] = 20, 20, 250
    return picture


def encode(picture: Pil.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def as_record(taken: TakenImage) -> Image:
    numbers = {"id": 1, "project_id": 1, "number": 1, "split": None, "created_at": None}
    return Image(**{k: v for k, v in vars(taken).items() if k != "n_bytes"}, **numbers)


def take(intake: Intake, tmp_path: Path, content: bytes, name: str) -> TakenImage:
    path = tmp_path / "upload"
    path.write_bytes(content)
    return intake.take(path, name)


def pixels(settings: Settings, taken: TakenImage) -> Array:
    return load_image(settings, as_record(taken))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def black_png(width: int, height: int, *extra: bytes) -> bytes:
    """A true PNG of any size in few bytes, made without its pixels in memory."""
    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = (header, *extra, png_chunk(b"IDAT", rows), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


# What comes in


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_is_turned_upright_once(
    intake: Intake, settings: Settings, tmp_path: Path, kind: str, orientation: int
) -> None:
    turned = {
        1: photo(),
        2: np.fliplr(photo()),
        3: np.rot90(photo(), 2),
        4: np.flipud(photo()),
        5: photo().transpose(1, 0, 2),
        6: np.rot90(photo()),
        7: np.rot90(photo(), 2).transpose(1, 0, 2),
        8: np.rot90(photo(), -1),
    }
    exif = Pil.Exif()
    exif[0x0112] = orientation
    content = encode(Pil.fromarray(turned[orientation]), kind, exif=exif)
    taken = take(intake, tmp_path, content, "a")
    found = pixels(settings, taken)
    assert found.shape == photo().shape == (taken.height, taken.width, 3)
    assert np.abs(found.astype(int) - photo()).mean() < 6
    with Pil.open(path_of(settings, as_record(taken))) as stored:
        assert not stored.getexif()


@pytest.mark.parametrize(
    ("kind", "options", "extension"),
    [
        pytest.param("JPEG", {}, "jpg", id="jpeg"),
        pytest.param("WEBP", {}, "jpg", id="lossy webp"),
        pytest.param("WEBP", {"lossless": True}, "png", id="lossless webp"),
        pytest.param("PNG", {}, "png", id="png"),
        pytest.param("BMP", {}, "png", id="bmp"),
        pytest.param("TIFF", {}, "png", id="tiff"),
    ],
)
def test_each_format_is_stored_without_further_loss_to_speak_of(
    intake: Intake, settings: Settings, tmp_path: Path, kind: str, options: object, extension: str
) -> None:
    content = encode(Pil.fromarray(photo()), kind, **options)
    with Pil.open(io.BytesIO(content)) as source:
        expected = np.asarray(source.convert("RGB"))
    taken = take(intake, tmp_path, content, "a")
    assert (taken.extension, taken.notice) == (extension, "")
    difference = np.abs(pixels(settings, taken).astype(int) - expected)
    assert difference.max() == 0 if extension == "png" else difference.mean() < 2


def test_a_stored_jpeg_keeps_its_full_colour_resolution(
    intake: Intake, settings: Settings, tmp_path: Path
) -> None:
    taken = take(intake, tmp_path, encode(Pil.fromarray(photo()), "JPEG"), "a")
    with Pil.open(path_of(settings, as_record(taken))) as stored:
        assert [part[1:3] for part in stored.layer] == [(1, 1)] * 3


GREY16 = (np.arange(24 * 32).reshape(24, 32) * 5 + 100).astype(np.uint16)
FLOATS = np.linspace(-1, 5, 24 * 32, dtype=np.float32).reshape(24, 32)
HOLED = np.where(np.eye(24, 32, dtype=bool), np.nan, FLOATS).astype(np.float32)
ALPHA = np.dstack([photo(), np.full((24, 32), 128, np.uint8)])


@pytest.mark.parametrize(
    ("content", "notice", "corner"),
    [
        pytest.param(
            encode(Pil.fromarray(GREY16), "PNG"), "values from 100 to 3935", (0, 255), id="16 bit"
        ),
        pytest.param(
            encode(Pil.fromarray(FLOATS), "TIFF"), "values from -1 to 5", (0, 255), id="float"
        ),
        pytest.param(
            encode(Pil.fromarray(HOLED), "TIFF"), "values from -0.99", (0, 255), id="float with nan"
        ),
        pytest.param(
            encode(Pil.fromarray(photo()).convert("CMYK"), "JPEG"),
            "CMYK colours were converted",
            (250, 0),
            id="cmyk",
        ),
        pytest.param(
            encode(Pil.fromarray(ALPHA), "PNG"), "transparent parts", (252, 127), id="alpha"
        ),
        pytest.param(
            encode(Pil.fromarray(photo()).quantize(8), "PNG", transparency=b"\0" * 8),
            "transparent parts",
            (255, 255),
            id="palette with alpha",
        ),
        pytest.param(encode(Pil.fromarray(photo()).quantize(8), "PNG"), "", (250, 0), id="palette"),
        pytest.param(
            encode(Pil.fromarray(photo()).convert("RGBA"), "PNG"), "", (250, 0), id="opaque alpha"
        ),
        pytest.param(encode(Pil.fromarray(photo()).convert("L"), "PNG"), "", (89, 0), id="grey"),
        pytest.param(
            encode(
                Pil.fromarray(photo()),
                "TIFF",
                save_all=True,
                append_images=[Pil.new("RGB", (5, 5))] * 2,
            ),
            "first of 3 frames",
            (250, 0),
            id="many pages",
        ),
        pytest.param(
            encode(
                Pil.fromarray(photo()),
                "WEBP",
                save_all=True,
                lossless=True,
                append_images=[Pil.new("RGB", (32, 24), c) for c in ("red", "green", "blue")],
            ),
            "first of 4 frames",
            (250, 0),
            id="animated",
        ),
    ],
)
def test_every_mode_becomes_rgb_and_a_change_is_said(
    intake: Intake,
    settings: Settings,
    tmp_path: Path,
    content: bytes,
    notice: str,
    corner: tuple[int, int],
) -> None:
    taken = take(intake, tmp_path, content, "a")
    found = pixels(settings, taken)
    assert notice in taken.notice
    assert bool(taken.notice) == bool(notice)
    assert (found.shape, found.dtype) == ((24, 32, 3), np.uint8)
    ends = (int(found[1, 2, 0]), int(found[-1, -1, 0]))
    assert np.allclose(ends, corner, atol=12)


def test_a_picture_lies_under_its_own_hash_with_a_small_thumbnail(
    intake: Intake, settings: Settings, tmp_path: Path
) -> None:
    taken = take(intake, tmp_path, encode(Pil.fromarray(photo(200, 400)), "PNG"), "../../x/a.png")
    image = as_record(taken)
    assert path_of(settings, image) == (settings.images / taken.sha256[:2] / f"{taken.sha256}.png")
    with Pil.open(thumbnail_path(settings, image)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (160, 80))
    assert taken.file_name == "x/a.png"
    assert not [path for path in settings.images.iterdir() if len(path.name) != 2]


def test_a_stored_raster_is_never_overwritten(
    intake: Intake, settings: Settings, tmp_path: Path
) -> None:
    content = encode(Pil.fromarray(photo(40, 30)), "PNG")
    path = path_of(settings, as_record(take(intake, tmp_path, content, "a")))
    before = path.stat()
    again = take(intake, tmp_path, content, "b")
    assert path_of(settings, as_record(again)) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_lost_raster_is_said(settings: Settings) -> None:
    image = as_record(TakenImage("0" * 64, "", "png", 3, 3, "a.png", ""))
    with pytest.raises(BadImage, match=r"stored raster of a.png is missing or damaged"):
        load_image(settings, image)


# What stays out

JPEG = encode(Pil.fromarray(photo()), "JPEG")
PNG = encode(Pil.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)), "PNG")
TIFF = encode(Pil.fromarray(photo()), "TIFF")
WEBP = encode(Pil.fromarray(photo()), "WEBP")
BMP = encode(Pil.fromarray(photo()), "BMP")
BAD = {
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "is an EPS"),
    "EPS with a DOS header": (b"\xc5\xd0\xd3\xc6" + bytes(40), "is an EPS"),
    "truncated JPEG": (JPEG[: len(JPEG) // 2], "cut off or damaged"),
    "JPEG header": (JPEG[:20], "is a damaged JPEG"),
    "truncated PNG": (PNG[: len(PNG) // 2], "cut off or damaged"),
    "PNG header": (PNG[:20], "damaged"),
    "PNG with a wrong check": (PNG[:100] + b"\x00\xff" + PNG[102:], "damaged"),
    "truncated TIFF": (TIFF[: len(TIFF) // 2], "damaged"),
    "truncated WEBP": (WEBP[: len(WEBP) // 2], "damaged"),
    "truncated BMP": (BMP[: len(BMP) // 2], "cut off or damaged"),
    "text": (b"hello world " * 50, "is a text file"),
    "html": (b"<html><script>alert(1)</script>", "is a text file"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"),
    "nothing": (b"", "is an empty file"),
    "zip": (b"PK\x03\x04" + bytes(50), "is a zip archive"),
    "pdf": (b"%PDF-1.7", "is a PDF"),
    "gif": (encode(Pil.new("P", (3, 3)), "GIF"), "is a GIF"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(40), "is a HEIC"),
    "icon": (encode(Pil.new("RGB", (16, 16)), "ICO"), "unknown kind"),
    "noise": (np.random.default_rng(1).bytes(5000), "unknown kind"),
    "13000x13000": (
        black_png(13000, 13000),
        "13000 x 13000 = 169,000,000 pixels; the limit is 120",
    ),
    "bomb of 30 gigapixels": (
        black_png(1, 1)[:16] + struct.pack(">II", 2**31 - 1, 15) + black_png(1, 1)[24:],
        "damaged",
    ),
    "too long a side": (black_png(16385, 1), "no side may be longer than 16,384"),
    "bomb in a text chunk": (
        black_png(9, 9, png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000), 1))),
        "damaged",
    ),
    "JPEG with a line of its 7000": (
        crafted()["jpeg of 16384 x 7000"],
        "16384 x 7000 pixels: it is",
    ),
    "JPEG of many scans": (
        crafted()["jpeg of a thousand scans"],
        "goes 1,010 times over its pixels",
    ),
    "floats that are none": (
        encode(Pil.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
        "no finite value",
    ),
}


def test_of_endless_frames_few_are_counted(intake: Intake, tmp_path: Path) -> None:
    """Each is found through the one before, so that counting all would take for ever."""
    taken = take(intake, tmp_path, many_directories(20_000), "a")
    assert taken.n_bytes > 0
    assert (taken.width, taken.height) == (9, 9)
    assert taken.notice == "only the first of more than 100 frames was taken"


@pytest.mark.parametrize(("content", "text"), BAD.values(), ids=BAD.keys())
def test_a_file_that_is_no_image_of_ours_is_refused_by_name(
    intake: Intake, settings: Settings, tmp_path: Path, content: bytes, text: str
) -> None:
    before = sorted(settings.images.rglob("*"))
    with pytest.raises(BadImage) as caught:
        take(intake, tmp_path, content, "photo.jpg")
    assert str(caught.value).startswith("photo.jpg ")
    assert text in str(caught.value)
    assert sorted(settings.images.rglob("*")) == before


def test_a_file_above_the_byte_limit_is_refused_unread(settings: Settings, tmp_path: Path) -> None:
    small = Settings(data_dir=settings.data_dir, max_upload_bytes=100)
    with Intake(small) as intake, pytest.raises(BadImage, match="the limit is 100"):
        take(intake, tmp_path, PNG, "a.png")


def test_a_decoder_that_dies_refuses_one_file_and_the_next_is_taken(
    settings: Settings, tmp_path: Path
) -> None:
    endless = tmp_path / "endless.jpg"
    os.mkfifo(endless)  # reading it blocks the child for ever
    with Intake(settings) as intake, ThreadPoolExecutor(1) as pool:
        take(intake, tmp_path, PNG, "first.png")
        refusal = pool.submit(intake.take, endless, "endless.jpg")
        with endless.open("wb"):  # waits until the child reads
            assert intake._decoder._child is not None
            intake._decoder._child.kill()
        with pytest.raises(BadImage, match=r"endless.jpg could not be decoded: it needed too much"):
            refusal.result()
        assert take(intake, tmp_path, PNG, "second.png").width == 99


def test_a_decoder_that_takes_too_long_is_ended(settings: Settings, tmp_path: Path) -> None:
    endless = tmp_path / "endless.jpg"
    os.mkfifo(endless)
    with Intake(settings, timeout_s=0.1) as intake, pytest.raises(BadImage, match="or time"):
        intake.take(endless, "endless.jpg")


def test_the_decoder_imports_nothing_heavy(intake: Intake, tmp_path: Path) -> None:
    take(intake, tmp_path, PNG, "a.png")
    child = intake._decoder._child
    assert child is not None
    mapped = Path(f"/proc/{child.pid}/maps").read_text()
    assert "PIL" in mapped
    assert not [name for name in ("torch", "sqlalchemy", "pydantic") if name in mapped]
