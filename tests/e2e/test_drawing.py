"""Polygons, the knife, merging, copying and the look: the database, the screen and numpy agree."""

import io
import sqlite3
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect
from pycocotools import mask as coco_mask

from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_hands import violations

pytestmark = pytest.mark.slow
COFFEE = (400, 600)  # height, width of the first sample; the second one has another size
SAUCER = [(102.3, 160.2), (180.0, 60.7), (420.4, 70.1), (498.9, 180.5), (430.2, 330.8), (190, 350)]
CUP = [(200.2, 90.4), (400.5, 100.2), (380.7, 220.9), (240.1, 230.3)]
Mask = NDArray[np.bool_]


def fill(points: Sequence[Sequence[float]]) -> Mask:
    """The pixels whose centres have an odd number of the polygon's edges at their left."""
    rows, columns = np.indices(COFFEE)
    px, py = columns + 0.5, rows + 0.5
    inside = np.zeros(COFFEE, np.bool_)
    for (ax, ay), (bx, by) in zip([points[-1], *points[:-1]], points, strict=True):
        if ay != by:
            met = ax + ((py - ay) * (bx - ax)) / (by - ay)
            inside ^= ((ay <= py) != (by <= py)) & (met <= px)
    return inside


def decoded(counts: str, size: tuple[int, int] = COFFEE) -> Mask:
    mask: Mask = coco_mask.decode({"size": list(size), "counts": counts.encode()}).astype(np.bool_)
    return mask


def stored(studio: Studio, image_id: int) -> dict[int, tuple[str, str, str]]:
    """State, code and reason of an image's instances at their heads, by number."""
    query = """SELECT instance.number, state, counts, reason FROM instance
               JOIN revision ON revision.id = instance.head_id
               WHERE image_id = ? AND state != 'deleted'"""
    with sqlite3.connect(f"file:{studio.data}/studio.db?mode=ro", uri=True) as database:
        found = database.execute(query, (image_id,)).fetchall()
    return {number: (state, counts, reason) for number, state, counts, reason in found}


def agree(canvas: CanvasPage, studio: Studio, image_id: int = 1) -> dict[int, Mask]:
    """Wait until all is saved; what the canvas shows is what the database holds."""
    canvas.saved()
    shown = {i["number"]: (i["state"], i["rle"]["counts"]) for i in canvas.state["instances"]}
    kept = stored(studio, image_id)
    assert shown == {number: values[:2] for number, values in kept.items()}
    return {number: decoded(counts) for number, (_, counts) in shown.items()}


def picture(canvas: CanvasPage) -> NDArray[np.int16]:
    """The canvas's pixels, with the pointer away."""
    canvas.page.mouse.move(2, 2)
    canvas.page.wait_for_timeout(200)
    png = Image.open(io.BytesIO(canvas.view.screenshot())).convert("RGB")
    return np.asarray(png).astype(np.int16)


def painted(canvas: CanvasPage, before: NDArray[np.int16]) -> Mask:
    """Which image pixels look otherwise than before, at their centres."""
    changed = np.abs(picture(canvas) - before).max(-1) > 6
    view = canvas.state["view"]
    rows, columns = np.indices(COFFEE)
    y = np.floor((rows + 0.5) * view["scale"] + view["y"]).astype(int)
    x = np.floor((columns + 0.5) * view["scale"] + view["x"]).astype(int)
    return np.asarray(changed[y, x], np.bool_)


def polygon(
    canvas: CanvasPage, key: str, points: Sequence[tuple[float, float]]
) -> list[list[float]]:
    """Click a polygon; returns its points as the canvas took them."""
    canvas.key(key)
    for point in points:
        canvas.click(point)
    trail: list[list[float]] = canvas.state["trail"]
    assert np.abs(np.subtract(trail, points)).max() < 0.51
    return trail


def test_what_is_drawn_is_what_numpy_draws_what_is_stored_and_what_is_seen(
    page: Page, studio: Studio
) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    bare = picture(canvas)
    saucer = fill(polygon(canvas, "g", SAUCER))
    shot(page, "20-polygon")
    canvas.key("Enter")
    page.wait_for_function("window.malCanvas.state().instances.length === 1")
    assert np.array_equal(agree(canvas, studio)[1], saucer)

    cup = polygon(canvas, "Shift+G", CUP)
    page.mouse.dblclick(*canvas.to_page((240.1, 230.3)))
    ring = saucer & ~fill(cup)
    assert np.array_equal(agree(canvas, studio)[1], ring)
    shot(page, "21-ring")

    seen = painted(canvas, bare)
    inner = ring & np.roll(ring, 4, 0) & np.roll(ring, -4, 0) & np.roll(ring, 4, 1)
    inner &= np.roll(ring, -4, 1)
    assert seen[inner].mean() > 0.99
    assert not seen[110:205, 260:360].any()  # the hole
    assert not seen[:30].any()

    canvas.key("k")
    canvas.drag([(60, 200), (300, 201), (560, 199)])
    page.wait_for_function("window.malCanvas.state().instances.length === 2")
    halves = agree(canvas, studio)
    assert np.array_equal(halves[1] | halves[2], ring)
    assert not (halves[1] & halves[2]).any()
    assert min(half.sum() for half in halves.values()) > 0.25 * ring.sum()
    shot(page, "22-split")

    canvas.key("Control+a")
    canvas.key("m")
    (joined,) = agree(canvas, studio).values()
    assert np.array_equal(joined, ring)
    for key, count in (("Control+z", 2), ("Control+z", 1), ("Control+Shift+z", 2)):
        canvas.key(key)
        assert len(agree(canvas, studio)) == count
    assert all(np.array_equal(mask, halves[n]) for n, mask in agree(canvas, studio).items())


def test_shapes_several_at_once_and_a_copy_are_one_step_each(page: Page, studio: Studio) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    before = agree(canvas, studio)
    page.get_by_role("listbox", name="Masks").get_by_role("option").nth(0).click()
    page.get_by_role("button", name="Mask", exact=True).click()
    page.get_by_role("button", name="Grow by one pixel").click()
    shot(page, "23-mask-menu")
    page.keyboard.press("Escape")
    grown = agree(canvas, studio)[1]
    wide = np.pad(before[1], 1)
    near = wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:] | before[1]
    assert np.array_equal(grown, near)
    canvas.key("Control+z")
    assert np.array_equal(agree(canvas, studio)[1], before[1])

    canvas.key("l")
    canvas.key("Delete")
    assert set(agree(canvas, studio)) == {1, 2}
    canvas.key("l")

    canvas.key("Control+a")
    canvas.key("c")
    page.wait_for_function("window.malCanvas.state().image_id === 2")
    canvas.saved()
    copies = stored(studio, 2)
    assert [(state, reason) for state, _, reason in copies.values()] == [("proposed", "copy")] * 2
    for (_, counts, _), mask in zip(copies.values(), before.values(), strict=True):
        there = decoded(counts, (300, 451))
        assert np.array_equal(there, mask[:300, :451])
    canvas.key("Control+z")
    canvas.saved()
    assert stored(studio, 2) == {}
    canvas.key("Control+Shift+z")
    canvas.saved()
    assert stored(studio, 2).keys() == copies.keys()


def test_the_look_changes_the_screen_only_and_is_remembered(page: Page, studio: Studio) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    canvas.key("Control+Shift+a")
    kept, plain = stored(studio, 1), picture(canvas)
    canvas.key("t")
    canvas.key("o")
    canvas.key("w")
    page.get_by_role("slider", name="Brightness").press("End")
    shot(page, "24-view-menu")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="View", exact=True)).to_be_focused()
    bright = picture(canvas)
    middle = (slice(60, 500), slice(150, 900))
    assert bright[middle].mean() > plain[middle].mean() + 40
    canvas.open()
    canvas.key("Control+Shift+a")
    assert np.abs(picture(canvas) - bright)[middle].max() < 3
    page.get_by_role("button", name="View", exact=True).click()
    page.get_by_role("button", name="As it is in the file").click()
    page.get_by_role("checkbox", name="Outline only").uncheck()
    page.keyboard.press("Escape")
    canvas.key("Control+Shift+a")
    assert np.abs(picture(canvas) - plain)[middle].max() < 3
    assert stored(studio, 1) == kept


def test_the_menus_and_the_finder_have_no_accessibility_violation(
    page: Page, studio: Studio
) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    for key in ("q", "w", "/"):
        canvas.key(key)
        assert violations(page, ".mal-studio") == []
        page.keyboard.press("Escape")
