"""A person whose masks differ from the model's in one way: the fine-tune learns it and is used."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image
from playwright.sync_api import Page, expect

from mal_core.masks import RLE, encode, iou
from tests.e2e.canvas_page import CanvasPage
from tests.e2e.conftest import Studio, shot

pytestmark = pytest.mark.slow
MINUTE = 60_000
Corners = tuple[int, int, int, int]
# Two coins of each row of the picture; the rows become four photos.
ROWS = ((0, 90), (90, 158), (158, 225), (225, 303))
COINS: tuple[tuple[Corners, ...], ...] = (
    ((81, 36, 122, 76), (192, 30, 240, 74)),
    ((84, 106, 123, 146), (186, 104, 227, 145)),
    ((80, 176, 124, 218), (189, 172, 236, 217)),
    ((220, 243, 269, 288), (276, 240, 326, 289)),
)
COINS_PHOTO = 4  # the id of the sample that the rows were cut from
UNSEEN = (310, 8, 370, 80)  # a coin of it that nobody labelled


def tray(coin: Corners, top: int) -> Corners:
    """A box with room around a coin, in its row's photo."""
    x0, y0, x1, y1 = coin
    return x0 - 8, y0 - top - 8, x1 + 8, y1 - top + 8


def filled(box: Corners, height: int, width: int) -> RLE:
    """What this person always wants: everything in the box, the coin and its tray."""
    x0, y0, x1, y1 = (max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3]))
    mask = np.ones((y1 - y0, x1 - x0), np.bool_)
    return encode(mask, x0=x0, y0=y0, height=height, width=width)


class Desk:
    """The REST routes of one open page, with its token."""

    def __init__(self, page: Page, url: str) -> None:
        with page.expect_request("**/mal/projects/*") as asked:
            CanvasPage(page, url).open()
        self._headers = {"x-mal-session": asked.value.headers["x-mal-session"]}
        self._request = page.request
        self._url = f"{url}/mal"

    def images(self) -> list[dict[str, Any]]:
        answer = self._request.get(f"{self._url}/projects/1", headers=self._headers)
        found: list[dict[str, Any]] = answer.json()["images"]
        return found

    def accept(self, image_id: int, box: Corners, rle: RLE) -> None:
        """Propose a mask for a box, and accept another one in its place."""
        body: dict[str, Any] = {"image_id": image_id, "box": box, "category_id": 1}
        made = self._request.post(f"{self._url}/propose", headers=self._headers, data=body).json()
        body = {"state": "accepted", "category_id": 1, "box": made["box"], "rle": rle.to_coco()}
        saved = self._request.put(
            f"{self._url}/annotations/{made['id']}",
            headers=self._headers | {"if-match": str(made["version"])},
            data=body | {"reason": "brush"},
        )
        assert saved.ok, saved.text()


def upload_rows(page: Page, folder: Path) -> None:
    coins = skimage.data.coins()
    paths = [folder / f"row-{number}.png" for number in range(1, len(ROWS) + 1)]
    for path, (top, bottom) in zip(paths, ROWS, strict=True):
        Image.fromarray(coins[top:bottom]).convert("RGB").save(path)
    page.get_by_role("tab", name="Library").click()
    page.locator("input[type=file]").first.set_input_files(paths)
    expect(page.locator(".mal-report").first).to_contain_text("4 of 4 images added")


def test_a_fine_tune_that_is_better_on_held_out_images_is_promoted_and_proposes_next(
    page: Page, studio: Studio, tmp_path: Path
) -> None:
    desk = Desk(page, studio.url)
    upload_rows(page, tmp_path)
    photos = desk.images()[-4:]
    for photo, (top, bottom), coins in zip(photos, ROWS, COINS, strict=True):
        for coin in coins:
            box = tray(coin, top)
            desk.accept(photo["id"], box, filled(box, bottom - top, photo["width"]))

    page.get_by_role("tab", name="Train").click()
    expect(page.get_by_text("8 reviewed masks on 4 images")).to_be_visible()
    page.get_by_role("button", name="Fine-tune").click()
    promoted = page.get_by_text("Promoted: the new weights were put in use")
    expect(promoted.or_(page.get_by_text("Refused: the old"))).to_be_visible(timeout=5 * MINUTE)
    expect(promoted).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="Mask IoU"))
    before, after, _ = (float(cell) for cell in row.get_by_role("cell").all_inner_texts()[1:])
    assert after > before
    expect(page.get_by_role("cell", name="fine-tune 1 (in use)")).to_be_visible()
    shot(page, "16-promoted")

    new = propose(page, studio)
    shot(page, "17-next-box-of-the-new-model")
    page.get_by_role("tab", name="Train").click()
    expect(page.get_by_role("cell", name="fine-tune 1 (in use)")).to_be_visible()
    expect(page.locator(".js-plotly-plot .legend")).to_be_visible()  # the page is at rest
    choice = page.get_by_label("Propose masks with")
    choice.fill("mal-small-256")  # by key: a list under the fold opens where a mouse cannot go
    choice.press("Enter")
    expect(choice).to_have_value("mal-small-256")
    page.get_by_role("button", name="Use this model").click()
    expect(page.get_by_role("cell", name="mal-small-256 (in use)")).to_be_visible()
    old = propose(page, studio)
    assert new["model"].startswith("fine-tune 1")
    assert old["model"].startswith("mal-small")
    wanted = filled(UNSEEN, 303, 384)
    assert iou(RLE.from_coco(new["rle"]), wanted) > iou(RLE.from_coco(old["rle"]), wanted)


def propose(page: Page, studio: Studio) -> dict[str, Any]:
    """Draw a box, by mouse, on the sample photo of the coins."""
    canvas = CanvasPage(page, studio.url)
    canvas.open()
    for image_id in range(2, COINS_PHOTO + 1):
        canvas.choose_image(image_id)
    return canvas.box(*UNSEEN, category=5)
