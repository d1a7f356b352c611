"""The pages and routes by which a story sets up a project and labels it quickly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from mal_core.masks import RLE
from tests.e2e.canvas_page import CanvasPage

Corners = tuple[int, int, int, int]


class Desk:
    """One open page and the REST routes it may use, with its token."""

    def __init__(self, page: Page, url: str) -> None:
        with page.expect_request("**/mal/projects/*") as asked:
            CanvasPage(page, url).open()
        self._headers = {"x-mal-session": asked.value.headers["x-mal-session"]}
        self._page = page
        self._request = page.request
        self._url = f"{url}/mal"

    def begin_project(self, name: str, photos: Sequence[Path]) -> None:
        """Start a project on the page, and add photos to it."""
        page = self._page
        page.get_by_role("tab", name="Library").click()
        page.get_by_label("Name of a project").fill(name)
        page.get_by_role("button", name="Create").click()
        expect(page.get_by_text("No images yet")).to_be_visible()
        page.locator("input[type=file]").first.set_input_files(photos)
        done = f"{len(photos)} of {len(photos)} images added"
        expect(page.locator(".mal-report").first).to_contain_text(done)

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

    def propose(self, image_id: int, category_id: int, box: Corners) -> dict[str, Any]:
        """Ask the model in use for the mask of a box."""
        body: dict[str, Any] = {"image_id": image_id, "box": box, "category_id": category_id}
        answer = self._request.post(f"{self._url}/propose", headers=self._headers, data=body)
        assert answer.ok, answer.text()
        made: dict[str, Any] = answer.json()
        return made

    def correct(self, image_id: int, category_id: int, box: Corners, rle: RLE) -> None:
        """Propose a mask for a box, and accept another one in its place."""
        made = self.propose(image_id, category_id, box)
        wanted = {"state": "accepted", "category_id": category_id, "box": made["box"],
                  "rle": rle.to_coco(), "reason": "brush"}  # fmt: skip
        saved = self._request.put(
            f"{self._url}/annotations/{made['id']}",
            headers=self._headers | {"if-match": str(made["version"])},
            data=wanted,
        )
        assert saved.ok, saved.text()


def open_train(page: Page) -> None:
    page.get_by_role("tab", name="Train").click()
    expect(page.get_by_text("reviewed masks on")).to_be_visible()
