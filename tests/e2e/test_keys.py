"""A day at the canvas without a mouse: every act by keys, and the keys a person made their own."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot
from tests.e2e.test_drawing import stored
from tests.e2e.test_hands import violations

pytestmark = pytest.mark.slow
CHELSEA = 2
SENT = """() => Object.entries(localStorage)
  .filter(([name]) => name.startsWith("mal-preferences"))
  .every(([, text]) => JSON.parse(text).unsent.length === 0)"""


class Hands:
    """Nothing but the keyboard: no mouse, no focus set by a script."""

    def __init__(self, canvas: CanvasPage) -> None:
        self.canvas = canvas
        self.keyboard = canvas.page.keyboard

    def press(self, *keys: str) -> None:
        for key in keys:
            self.keyboard.press(key)

    def hold(self, key: str, *arrows: str) -> None:
        """Press arrows while a key is down."""
        self.keyboard.down(key)
        self.press(*arrows)
        self.keyboard.up(key)

    def go(self, x: int, y: int) -> None:
        """Bring the keyboard's cursor to a pixel, by far, near and fine steps."""
        self.press("Alt+ArrowUp")
        state = self.canvas.state
        is_brush = state["tool"] in ("brush", "eraser")
        step = max(1, round(state["radius"] if is_brush else 8 / state["scale"]))
        at = [int(value) for value in state["spot"]]
        for axis, (wanted, ways) in enumerate(((x, ("Left", "Right")), (y, ("Up", "Down")))):
            for modifier, pixels in (("Shift+", 4 * step), ("", step), ("Alt+", 1)):
                count = abs(wanted - at[axis]) // pixels
                sign = 1 if wanted > at[axis] else -1
                self.press(*[f"{modifier}Arrow{ways[wanted > at[axis]]}"] * count)
                at[axis] += sign * count * pixels
        assert self.canvas.state["spot"] == [x + 0.5, y + 0.5]

    def points(self, *points: tuple[int, int]) -> None:
        """Set points with the tool at hand."""
        for point in points:
            self.go(*point)
            self.press("j")

    def tab_to(self, name: str) -> None:
        """Press Tab until what has the focus is called so."""
        script = "document.activeElement.ariaLabel || document.activeElement.textContent.trim()"
        for _ in range(200):
            self.press("Tab")
            if self.canvas.page.evaluate(script) == name:
                return
        raise AssertionError(f"Tab never reaches {name!r}")

    def masks(self, count: int) -> None:
        self.canvas.page.wait_for_function(f"window.malCanvas.state().instances.length === {count}")


@pytest.fixture
def hands(page: Page, studio: Studio) -> Hands:
    """The second sample, opened by its key; the page gave the canvas the focus."""
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    hands = Hands(canvas)
    hands.press("PageDown")
    page.wait_for_function(f"window.malCanvas.state().image_id === {CHELSEA}")
    return hands


def agree(canvas: CanvasPage, studio: Studio) -> dict[int, tuple[str, str]]:
    """Wait until all is saved; what the canvas shows is what the database holds."""
    canvas.saved()
    shown = {i["number"]: (i["state"], i["rle"]["counts"]) for i in canvas.state["instances"]}
    assert shown == {number: v[:2] for number, v in stored(studio, CHELSEA).items()}
    return shown


def test_a_mask_is_proposed_painted_erased_and_undone(
    hands: Hands, page: Page, studio: Studio
) -> None:
    canvas = hands.canvas
    hands.press("3", "b", "Enter", *["Shift+ArrowRight"] * 6, *["ArrowLeft"] * 3, "Enter")
    hands.masks(1)
    proposed = agree(canvas, studio)
    hands.press("p")
    hands.go(300, 20)
    hands.hold("j", "ArrowRight", "Shift+ArrowRight", "Alt+ArrowDown")
    painted = agree(canvas, studio)
    assert painted[1] == ("corrected", painted[1][1]) != proposed[1]
    shot(page, "40-by-keys")
    hands.press("e", "[", "[")
    hands.go(220, 150)
    hands.press("Shift+j", "Shift+ArrowLeft", "ArrowDown", "Shift+j")
    erased = agree(canvas, studio)
    assert erased != painted
    hands.press("Control+z")
    assert agree(canvas, studio) == painted
    hands.press("Control+Shift+z")
    assert agree(canvas, studio) == erased


def test_it_gets_and_loses_a_polygon_is_cut_in_two_moved_and_accepted(
    hands: Hands, studio: Studio
) -> None:
    canvas = hands.canvas
    hands.press("n", "g")
    hands.points((380, 40), (440, 40), (440, 120))
    hands.press("Enter")
    added = agree(canvas, studio)
    hands.press("Shift+g")
    hands.points((200, 120), (260, 120), (230, 180), (10, 290))
    hands.press("Backspace", "Enter")
    assert agree(canvas, studio) != added

    hands.press("k")
    hands.points((1, 140), (450, 145))
    hands.press("Enter")
    hands.masks(2)
    agree(canvas, studio)
    before = [i["box"] for i in canvas.state["instances"]]
    hands.press("v", "4", "Alt+ArrowLeft", "Enter")
    canvas.saved()
    assert [i["box"] for i in canvas.state["instances"]] != before
    hands.press("Enter", "n", "Enter", "Control+Shift+a")
    assert [state for state, _ in agree(canvas, studio).values()] == ["accepted"] * 2


def test_four_points_are_proposed_rejected_deleted_and_the_rest_exported(
    hands: Hands, page: Page, studio: Studio
) -> None:
    hands.press("x")
    hands.points((300, 60), (400, 100), (350, 180), (280, 120))
    hands.masks(3)
    agree(hands.canvas, studio)
    hands.press("Escape")
    assert [one[0] for one in agree(hands.canvas, studio).values()].count("rejected") == 1
    hands.press("Delete")
    hands.masks(2)
    agree(hands.canvas, studio)

    hands.tab_to("Library")
    hands.press("Enter")
    hands.tab_to("Export")
    hands.press("Enter")
    expect(page.get_by_text("2 masks on 6 images exported")).to_be_visible()


def give(page: Page, row: str, key: str) -> None:
    """Open the dialog by its key and press another key for an action."""
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_role("button", name=row, exact=True).click()
    page.keyboard.press(key)


def tool_of(canvas: CanvasPage, key: str) -> str:
    """The tool that a key takes, from another one."""
    canvas.key("b")
    canvas.key(key)
    tool: str = canvas.state["tool"]
    return tool


def test_a_key_changes_hands_after_a_word_for_good_and_everywhere(
    page: Page, chromium: Browser, studio: Studio
) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    give(page, "P Brush", "x")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("X is the key of “Four extreme points”")).to_be_visible()
    shot(page, "41-keys")
    assert violations(page, "dialog[open]") == []
    dialog.get_by_role("button", name="Take the key").click()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert (tool_of(canvas, "x"), tool_of(canvas, "p")) == ("brush", "box")
    expect(page.get_by_title("Brush (X)")).to_be_visible()
    expect(page.get_by_title("4 points", exact=True)).to_be_visible()

    page.wait_for_function(SENT)
    canvas.open()
    page.wait_for_function(SENT)
    assert tool_of(canvas, "x") == "brush"
    context = chromium.new_context()
    elsewhere = CanvasPage(context.new_page(), studio.url)
    elsewhere.open()
    expect(elsewhere.page.get_by_title("Brush (X)")).to_be_visible()
    assert tool_of(elsewhere, "x") == "brush"
    context.close()

    page.keyboard.press("?")
    dialog.get_by_role("button", name="Reset all keys").click()
    page.keyboard.press("Escape")
    assert (tool_of(canvas, "x"), tool_of(canvas, "p")) == ("extreme", "brush")


def test_keys_and_the_left_hand_are_kept_while_the_studio_cannot_be_told(
    page: Page, chromium: Browser, studio: Studio
) -> None:
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    page.route("**/mal/preferences", lambda route: route.abort())
    give(page, "E Eraser", "F2")
    page.get_by_role("checkbox", name="Left-handed").check()
    page.keyboard.press("Escape")
    canvas.open()
    expect(page.locator(".mal-studio[data-left]")).to_be_visible()
    assert tool_of(canvas, "F2") == "eraser"
    shot(page, "42-left")
    page.unroute("**/mal/preferences")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    page.wait_for_function(SENT)
    context = chromium.new_context()
    elsewhere = CanvasPage(context.new_page(), studio.url)
    elsewhere.open()
    expect(elsewhere.page.get_by_title("Eraser (F2)")).to_be_visible()
    expect(elsewhere.page.locator(".mal-studio[data-left]")).to_be_visible()
    context.close()
