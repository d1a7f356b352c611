"""Photos cut from scikit-image's coins, and the routes by which a story labels them quickly."""

from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from playwright.sync_api import Page, expect

from mal_core.masks import RLE, encode
from tests.e2e.canvas_page import CanvasPage

Corners = tuple[int, int, int, int]
# Three coins of each row of the picture; the rows become four photos.
ROWS = ((0, 90), (90, 158), (158, 225), (225, 303))
COINS: tuple[tuple[Corners, ...], ...] = (
    ((81, 36, 122, 76), (192, 30, 240, 74), (138, 33, 182, 76)),
    ((84, 106, 123, 146), (186, 104, 227, 145), (133, 104, 175, 146)),
    ((80, 176, 124, 218), (189, 172, 236, 217), (134, 174, 178, 218)),
    ((220, 243, 269, 288), (276, 240, 326, 289), (163, 245, 209, 288)),
)
COINS_PHOTO = 4  # the id of the sample that the rows were cut from
UNSEEN = (310, 8, 370, 80)  # a coin of it that nobody labelled


def tray(coin: Corners, top: int) -> Corners:
    """A box with room around a coin, in its row's photo."""
    x0, y0, x1, y1 = coin
    return max(0, x0 - 8), max(0, y0 - top - 8), x1 + 8, y1 - top + 8


def filled(box: Corners, height: int, width: int) -> RLE:
    """What this person always wants: everything in the box, the coin and its tray."""
    x0, y0, x1, y1 = (max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3]))
    mask = np.ones((y1 - y0, x1 - x0), np.bool_)
    return encode(mask, x0=x0, y0=y0, height=height, width=width)


def noise(box: Corners, height: int, width: int, random: np.random.Generator) -> RLE:
    """A mask that says nothing: a quarter of 7 x 7 cells at random; each side is met."""
    cells = random.random((7, 7)) < 0.25
    cells[0, 3] = cells[6, 3] = cells[3, 0] = cells[3, 6] = True
    h, w = box[3] - box[1], box[2] - box[0]
    mask = cells[(np.arange(h) * 7 // h)[:, None], (np.arange(w) * 7 // w)[None]]
    return encode(mask, x0=box[0], y0=box[1], height=height, width=width)


class Desk:
    """The REST routes of one open page, with its token."""

    def __init__(self, page: Page, url: str) -> None:
        with page.expect_request("**/mal/projects/*") as asked:
            CanvasPage(page, url).open()
        self._headers = {"x-mal-session": asked.value.headers["x-mal-session"]}
        self._request = page.request
        self._url = f"{url}/mal"

    def project(self, project_id: int) -> dict[str, Any]:
        answer = self._request.get(f"{self._url}/projects/{project_id}", headers=self._headers)
        found: dict[str, Any] = answer.json()
        return found

    def instances(self, image_id: int) -> list[dict[str, Any]]:
        answer = self._request.get(f"{self._url}/annotations/{image_id}", headers=self._headers)
        found: list[dict[str, Any]] = answer.json()["annotations"]
        return found

    def add(self, image_id: int, category_id: int, box: Corners, rle: RLE) -> None:
        """Store an accepted mask that no model had a part in."""
        body = {
            **{"image_id": image_id, "category_id": category_id, "box": box},
            **{"state": "accepted", "rle": rle.to_coco(), "reason": "draw"},
            "request_id": f"{image_id} {box}",
        }
        url = f"{self._url}/annotations"
        saved = self._request.post(url, headers=self._headers, data=body)
        assert saved.ok, saved.text()

    def correct(self, image_id: int, category_id: int, box: Corners, rle: RLE) -> None:
        """Propose a mask for a box, and accept another one in its place."""
        body: dict[str, Any] = {"image_id": image_id, "box": box, "category_id": category_id}
        made = self._request.post(f"{self._url}/propose", headers=self._headers, data=body).json()
        wanted = {"state": "accepted", "category_id": category_id, "box": made["box"],
                  "rle": rle.to_coco(), "reason": "brush"}  # fmt: skip
        saved = self._request.put(
            f"{self._url}/annotations/{made['id']}",
            headers=self._headers | {"if-match": str(made["version"])},
            data=wanted,
        )
        assert saved.ok, saved.text()


def upload_rows(page: Page, folder: Path, *, mirrored: bool = False) -> None:
    """Add the rows of coins as photos; as seen in a mirror, too, where four are not enough."""
    coins = skimage.data.coins()
    paths = []
    for number, (top, bottom) in enumerate(ROWS, start=1):
        for side in (1, -1) if mirrored else (1,):
            paths.append(folder / f"row-{number}{'-mirrored' * (side < 0)}.png")
            row = np.ascontiguousarray(coins[top:bottom, ::side])
            Image.fromarray(row).convert("RGB").save(paths[-1])
    page.get_by_role("tab", name="Library").click()
    page.locator("input[type=file]").first.set_input_files(paths)
    done = f"{len(paths)} of {len(paths)} images added"
    expect(page.locator(".mal-report").first).to_contain_text(done)


def open_train(page: Page) -> None:
    page.get_by_role("tab", name="Train").click()
    expect(page.get_by_text("reviewed masks on")).to_be_visible()
