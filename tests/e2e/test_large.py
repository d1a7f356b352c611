"""A photo of 60 megapixels: tiles on screen, and a mask that is the same everywhere."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.canvas_page import CanvasPage, Point
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_drawing import decoded, stored

pytestmark = pytest.mark.slow
WIDTH, HEIGHT = 10_000, 6_000
LARGE = 7  # the image's id, after the samples
TILE = re.compile(r"/mal/image/7/(\d+)/\d+/\d+$")
Mask = NDArray[np.bool_]


@pytest.fixture
def canvas(page: Page, studio: Studio, tmp_path: Path) -> CanvasPage:
    """A page with the large photo open, taken in through the Library as people do."""
    photo = skimage.data.coffee()
    repeats = (-(-HEIGHT // photo.shape[0]), -(-WIDTH // photo.shape[1]), 1)
    mosaic = np.tile(photo, repeats)[:HEIGHT, :WIDTH]
    path = tmp_path / "large.jpg"
    Image.fromarray(mosaic).save(path, quality=70)
    opened = CanvasPage(page, studio.url)
    opened.open()
    page.get_by_role("tab", name="Library").click()
    page.locator("input[type=file]").first.set_input_files(path)
    expect(page.locator(".mal-report").first).to_contain_text("1 of 1 images added")
    page.get_by_role("tab", name="Annotate").click()
    page.locator(f"button[data-image='{LARGE}']").click()
    page.wait_for_function(f"window.malCanvas.state().image_id === {LARGE}")
    return opened


def paint(mask: Mask, a: Point, b: Point, radius: float) -> Mask:
    """The mask with the pixels whose centres are within the radius of a line."""
    y0, y1 = sorted((int(a[1]), int(b[1])))
    x0, x1 = sorted((int(a[0]), int(b[0])))
    reach = int(radius) + 2
    window = np.s_[y0 - reach : y1 + reach, x0 - reach : x1 + reach]
    rows, columns = np.ogrid[window]
    px, py = columns + 0.5 - a[0], rows + 0.5 - a[1]
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
    painted = mask.copy()
    painted[window] |= (px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius
    return painted


def screen(canvas: CanvasPage) -> NDArray[np.int16]:
    """What the canvas shows, a pixel a CSS pixel: (h, w, 3)."""
    canvas.page.wait_for_timeout(600)  # tiles that were on their way are painted
    return np.array(Image.open(io.BytesIO(canvas.view.screenshot())).convert("RGB"), np.int16)


def to_image(canvas: CanvasPage, at: Point) -> Point:
    """The image point under a point of the page, by the canvas' own arithmetic."""
    corner, view = canvas.view.bounding_box(), canvas.state["view"]
    assert corner is not None
    return (
        (at[0] - corner["x"] - view["x"]) / view["scale"],
        (at[1] - corner["y"] - view["y"]) / view["scale"],
    )


def zoom_in(canvas: CanvasPage, scale: float) -> None:
    while canvas.state["scale"] < scale:
        canvas.key("+")


def compare_with_screen(canvas: CanvasPage, saved: Mask, end: tuple[int, int]) -> None:
    """What changes on screen when the mask is hidden is the mask, around a stroke's end."""
    shown = screen(canvas)
    canvas.key("Shift+H")
    changed = np.abs(shown - screen(canvas)).sum(2) > 6
    canvas.key("Shift+H")
    window = np.s_[end[1] - 40 : end[1] + 40, end[0] - 120 : end[0] + 40]  # beside box and label
    view = canvas.state["view"]
    ys, xs = (np.arange(s.start, s.stop) + 0.5 for s in window)
    rows = ((ys - view["y"]) / view["scale"]).astype(int)
    columns = ((xs - view["x"]) / view["scale"]).astype(int)
    there, here = saved[np.ix_(rows, columns)], changed[window]
    assert there.any()
    assert not there.all()
    assert (there & here).sum() >= 0.97 * there.sum()
    # The border is a line, and a coarse cell shows when any of its pixels is set.
    reach = 3
    grown = np.pad(there, reach)
    parts = sliding_window_view(grown, (2 * reach + 1, 2 * reach + 1))
    assert not (here & ~parts.any((2, 3))).any()


def test_a_mask_on_a_large_photo_is_proposed_painted_shown_and_saved_alike(
    canvas: CanvasPage, page: Page, studio: Studio
) -> None:
    levels: set[int] = set()

    def on_request(url: str) -> None:
        if found := TILE.search(url):
            levels.add(int(found[1]))

    page.on("request", lambda request: on_request(request.url))
    shot(page, "30-large-fit")
    zoom_in(canvas, 0.3)
    centre = (WIDTH / 2, HEIGHT / 2)
    canvas.box(centre[0] - 400, centre[1] - 300, centre[0] + 300, centre[1] + 300)
    (number,) = stored(studio, LARGE)
    before = decoded(stored(studio, LARGE)[number][1], (HEIGHT, WIDTH))
    assert before.any()

    canvas.tool("Brush")
    radius = canvas.state["radius"]
    corner = canvas.view.bounding_box()
    assert corner is not None
    start = (round(corner["x"] + corner["width"] / 2), round(corner["y"] + corner["height"] / 2))
    end = (start[0] + 260, start[1] + 90)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end)
    page.mouse.up()
    canvas.saved()
    counts = stored(studio, LARGE)[number][1]
    assert counts == canvas.instance(number)["rle"]["counts"]
    saved = decoded(counts, (HEIGHT, WIDTH))
    wanted = paint(before, to_image(canvas, start), to_image(canvas, end), radius)
    assert np.array_equal(saved, wanted)

    canvas.key("v")
    shot(page, "31-large-near")
    compare_with_screen(canvas, saved, (end[0] - int(corner["x"]), end[1] - int(corner["y"])))

    for _ in range(2):
        canvas.key("Control+z")
        canvas.saved()
    assert stored(studio, LARGE) == {}
    assert len(levels) > 1  # coarse ones at first, finer ones when one looked closer
