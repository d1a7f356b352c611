"""What cannot be used is said on the page, and nothing changes."""

import zlib
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot

pytestmark = pytest.mark.slow
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
NAN_BOX = (
    '{"images": [{"id": 1, "file_name": "coffee.png", "width": 600, "height": 400}],'
    ' "categories": [{"id": 1, "name": "cup"}],'
    ' "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [NaN, 1, 5, 5]}]}'
)


def huge_png() -> bytes:
    """13000 x 13000 pixels in a few hundred bytes: a header, and a body that is never reached."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    header = (13000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bad_files(folder: Path) -> list[Path]:
    """One file for each way of being bad, and a sound one among them."""
    sound = folder / "sound.jpg"
    Image.fromarray(skimage.data.astronaut()[:200, :300]).save(sound)
    contents = {
        "poster.jpg": EPS,
        "torn.jpg": sound.read_bytes()[:3000],
        "huge.png": huge_png(),
        "notes.png": b"these are only words\n" * 20,
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [*(folder / name for name in contents), sound]


def test_each_bad_file_of_an_upload_is_named_and_the_sound_one_is_taken(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    page.get_by_role("tab", name="Library").click()
    page.locator("input[type=file]").first.set_input_files(bad_files(tmp_path))
    report = page.locator(".mal-report").first
    expect(report).to_contain_text("1 of 5 images added")
    for name in ("poster.jpg", "torn.jpg", "huge.png", "notes.png"):
        expect(report.get_by_role("listitem").filter(has_text=name)).to_have_count(1)
    expect(report.get_by_role("listitem").filter(has_text="huge.png")).to_contain_text("169")
    expect(page.get_by_role("row").filter(has_text="sound.jpg")).to_have_count(1)
    expect(page.get_by_role("row").filter(has_text="torn.jpg")).to_have_count(0)
    shot(page, "11-bad-files")


def test_a_coco_file_with_nan_boxes_is_refused_whole(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    source = tmp_path / "boxes.json"
    source.write_text(NAN_BOX)
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    page.get_by_role("tab", name="Library").click()
    page.get_by_label("Format of the import").scroll_into_view_if_needed()
    page.locator("input[type=file]").nth(2).set_input_files(source)
    report = page.locator(".mal-report").filter(has_text="Nothing can be imported")
    expect(report).to_contain_text("NaN")
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_hidden()
    shot(page, "12-bad-coco")
    row = page.get_by_role("row").filter(has_text="coffee.png")
    expect(row.get_by_role("cell").nth(2)).to_have_text("0")


def test_what_cannot_be_done_is_said_in_words_until_the_person_closes_them(
    page: Page, studio: Studio
) -> None:
    CanvasPage(page, studio.url).open()
    page.get_by_role("tab", name="Train").click()
    page.get_by_role("button", name="Fine-tune").click()
    said = page.get_by_role("alert").filter(has_text="That did not work")
    expect(said).to_contain_text("learning needs 4 accepted or corrected masks on 2 images")
    page.get_by_role("tab", name="Library").click()
    page.get_by_label("Name of a project").fill("  ")
    page.get_by_role("button", name="Create").click()
    expect(said).to_have_count(1)
    expect(said).to_contain_text("a name must be 1 to 200 printable characters")
    expect(page.get_by_text("Error", exact=True).locator("visible=true")).to_have_count(0)
    said.get_by_role("button", name="Close").click()
    expect(said).to_have_count(0)
