"""Decoding in a child: what it takes, and that a file which kills the child costs only itself."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from mal_core.dataset import read_image
from mal_core.decode import DEADLY, Decoder
from mal_core.errors import BadImage
from tests.core import breaker


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


def encoded(picture: PilImage.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int) -> PilImage.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return PilImage.fromarray(values)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("turn", [1, 6])
def test_the_child_decodes_what_the_parent_would(
    decoder: Decoder, tmp_path: Path, kind: str, turn: int
) -> None:
    exif = PilImage.Exif()
    exif[0x0112] = turn
    content = encoded(noise(31, 57), kind, **({} if kind == "BMP" else {"exif": exif}))
    path = tmp_path / "a"
    path.write_bytes(content)
    pixels = decoder.decode(content)
    assert np.array_equal(pixels, read_image(path))
    assert pixels.shape == ((57, 31, 3) if turn == 6 and kind != "BMP" else (31, 57, 3))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "none of JPEG", id="empty"),
        pytest.param(b"<svg/>", "none of JPEG", id="svg"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "none of JPEG", id="eps"),
        pytest.param(encoded(noise(60, 60))[:2000], "truncated", id="cut-off"),
        pytest.param(encoded(PilImage.new("1", (20000, 10000))), "exceeds limit", id="bomb"),
    ],
)
def test_a_bad_file_is_refused_with_a_reason_and_the_next_one_decoded(
    decoder: Decoder, content: bytes, why: str
) -> None:
    with pytest.raises(BadImage, match=why):
        decoder.decode(content)
    assert decoder.decode(encoded(noise(3, 4))).shape == (3, 4, 3)


def test_a_file_that_kills_the_child_is_refused_and_the_next_one_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in breaker.arm(tmp_path).items():
        monkeypatch.setenv(name, value)
    with Decoder() as decoder:
        with pytest.raises(BadImage, match=DEADLY):
            decoder.decode(breaker.DEADLY)
        assert decoder.decode(encoded(noise(3, 4))).shape == (3, 4, 3)


def test_a_file_that_takes_too_long_is_refused() -> None:
    slow = encoded(PilImage.new("L", (3000, 3000)))
    with Decoder(timeout_s=0.02) as decoder, pytest.raises(BadImage, match=DEADLY):
        decoder.decode(slow)


def test_a_file_that_needs_too_much_memory_is_refused_within_the_limit() -> None:
    large = encoded(PilImage.new("L", (9000, 9000)))
    with Decoder(memory_bytes=300 * 2**20) as decoder:
        with pytest.raises(BadImage, match="memory"):
            decoder.decode(large)
        assert decoder.decode(encoded(noise(3, 4))).shape == (3, 4, 3)


def test_a_child_killed_from_outside_costs_no_image() -> None:
    content = encoded(noise(5, 6))
    with Decoder() as decoder:
        decoder.decode(content)
        assert decoder._child is not None
        decoder._child.kill()
        assert decoder.decode(content).shape == (5, 6, 3)
