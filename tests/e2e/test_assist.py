"""Smart strokes: the model carries a stroke on, the person's pixels win, nothing is lost."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.canvas_page import CanvasPage, Point
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_drawing import COFFEE, Mask, agree, decoded, stored

pytestmark = pytest.mark.slow
PROPOSE = "**/mal/propose"
HOLD = """() => {
    const send = window.fetch;
    window.fetch = (url, init) => {
        if (!String(url).endsWith('/mal/propose')) return send(url, init);
        window.fetch = send;
        const lost = send(url, {...init, signal: undefined}).then(() => new Promise(() => {}));
        const left = new Promise((_, reject) => init.signal.addEventListener('abort',
            () => reject(new DOMException('left', 'AbortError'))));
        return Promise.race([lost, left]);
    };
}"""  # the server answers the next request, but nobody hears it
FIRST = [(430.0, 120.0), (440.0, 200.0)]
SECOND = [(130.0, 150.0), (140.0, 210.0)]


def under(points: Sequence[Point], radius: float) -> Mask:
    """The pixels well inside a stroke."""
    rows, columns = np.indices(COFFEE)
    inside = np.zeros(COFFEE, np.bool_)
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        dx, dy, px, py = bx - ax, by - ay, columns + 0.5 - ax, rows + 0.5 - ay
        along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
        inside |= np.hypot(px - along * dx, py - along * dy) <= radius - 1.5
    return inside


def on_screen(canvas: CanvasPage) -> Mask:
    return decoded(canvas.instance(1)["rle"]["counts"])


def test_the_model_carries_a_stroke_on_and_undo_takes_back_the_answer_then_the_stroke(
    page: Page, studio: Studio
) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    canvas.box(170, 15, 412, 340)
    proposal = agree(canvas, studio)[1]
    canvas.tool("Brush")
    button = page.get_by_role("button", name="Assist", exact=True)
    expect(button).to_have_attribute("aria-pressed", "false")
    canvas.key("a")
    expect(button).to_have_attribute("aria-pressed", "true")
    shot(page, "30-assist-before")

    stroke = under(FIRST, canvas.state["radius"])
    assert not proposal[stroke].all()
    canvas.drag(FIRST)
    plain = on_screen(canvas)
    assisted = agree(canvas, studio)[1]
    shot(page, "31-assist-after")
    assert assisted[stroke].all()
    assert (assisted & ~plain).sum() > 20
    canvas.key("Control+z")
    assert np.array_equal(agree(canvas, studio)[1], plain)
    canvas.key("Control+z")
    assert np.array_equal(agree(canvas, studio)[1], proposal)
    assert canvas.state["messages"] == []


def test_a_stroke_during_the_first_ones_request_loses_nothing(page: Page, studio: Studio) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    agree(canvas, studio)
    canvas.key("n")
    canvas.tool("Brush")
    canvas.key("a")
    page.evaluate(HOLD)
    canvas.drag(FIRST)
    for _ in range(400):
        if stored(studio, 1)[1][2] == "smart stroke":
            break
        page.wait_for_timeout(50)
    assert stored(studio, 1)[1][2] == "smart stroke"
    assert canvas.state["placeholders"] != []  # on screen it is still awaited
    canvas.drag(SECOND)
    assisted = agree(canvas, studio)[1]
    radius = canvas.state["radius"]
    assert assisted[under(FIRST, radius)].all()
    assert assisted[under(SECOND, radius)].all()
    assert (canvas.state["counters"]["conflicts"], canvas.state["messages"]) == (0, [])

    page.route(PROPOSE, lambda route: route.fulfill(status=500, json={}), times=1)
    canvas.key("e")
    canvas.drag(FIRST)
    expect(page.get_by_text("The stroke stays as painted")).to_be_visible()
    erased = agree(canvas, studio)[1]
    assert not erased[under(FIRST, radius)].any()
    assert not (erased != assisted)[~under(FIRST, radius + 3)].any()

    canvas.open()
    agree(canvas, studio)
    expect(page.get_by_role("button", name="Assist", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
