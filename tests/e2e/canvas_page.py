"""What a hand can do on the canvas, in image pixels."""

from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Locator, Page

Point = tuple[float, float]
PATIENCE = 120_000  # milliseconds: test machines are busy, and nothing here is about speed
CAT = (30, 8, 400, 300)  # the cat of the second sample
READY = "id => window.malCanvas && window.malCanvas.state().image_id === id"


class CanvasPage:
    """The Annotate page, driven by mouse and keys only; `state` looks and never changes."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)
        self._url = url

    def open(self) -> None:
        self.page.goto(self._url)
        self.page.wait_for_function("window.malCanvas && window.malCanvas.state().image_id")

    @property
    def state(self) -> dict[str, Any]:
        value: dict[str, Any] = self.page.evaluate("window.malCanvas.state()")
        return value

    @property
    def view(self) -> Locator:
        return self.page.locator(".mal-studio canvas").first

    def instance(self, number: int) -> dict[str, Any]:
        return next(i for i in self.state["instances"] if i["number"] == number)

    def saved(self) -> None:
        """Wait until the server has acknowledged everything."""
        self.page.wait_for_function(
            "!window.malCanvas.state().pending && !window.malCanvas.state().placeholders.length"
        )

    def box(self, x0: float, y0: float, x1: float, y1: float, category: int = 1) -> dict[str, Any]:
        """Draw a box of a category (its number is its key) and wait for the mask."""
        count = len(self.state["instances"])
        self.tool("Box")
        self.key(str(category))
        self.drag([(x0, y0), (x1, y1)])
        self.page.wait_for_function(f"window.malCanvas.state().instances.length === {count + 1}")
        self.saved()
        made: dict[str, Any] = self.state["instances"][-1]
        return made

    def tool(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=False).first.click()

    def drag(self, points: Sequence[Point]) -> None:
        """Press at the first point, go through all, release at the last."""
        mouse = self.page.mouse
        mouse.move(*self.to_page(points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.to_page(point), steps=12)
        mouse.up()

    def click(self, point: Point) -> None:
        self.page.mouse.click(*self.to_page(point))

    def key(self, keys: str) -> None:
        """Press keys with the canvas in focus."""
        self.view.focus()
        self.page.keyboard.press(keys)

    def choose_image(self, image_id: int, key: str = "PageDown") -> None:
        self.key(key)
        self.page.wait_for_function(READY, arg=image_id)

    def to_page(self, point: Point) -> Point:
        corner, view = self.view.bounding_box(), self.state["view"]
        assert corner is not None
        return (
            corner["x"] + view["x"] + point[0] * view["scale"],
            corner["y"] + view["y"] + point[1] * view["scale"],
        )


def pick(canvas: CanvasPage, row: int = 0) -> None:
    """Choose a mask in the list."""
    canvas.page.get_by_role("listbox", name="Masks").get_by_role("option").nth(row).click()
