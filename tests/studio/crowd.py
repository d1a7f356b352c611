"""Sessions that work side by side, each on an image of its own, and look whose answers they get."""

import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image as Pil

from app.calls import NOT_DONE
from app.people import User
from mal_core.masks import encode
from tests.studio.served import Served

USERS = 10
HEIGHT, WIDTH = 96, 128
BOX = [20.0, 16.0, 100.0, 80.0]


@dataclass
class Seat:
    """One session: a browser, whose it is, and the image that is its own.

    Attributes:
        retried: answers that asked to come back later.
    """

    number: int
    user: User
    page: httpx.Client
    project: int
    category: int
    image: dict[str, Any]
    picture: bytes
    made: list[int]
    retried: int = 0

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        """Ask until the studio has time; whoever is told when to come back comes back then."""
        while True:
            answer = self.page.request(method, path, **more)
            if answer.status_code not in NOT_DONE:
                assert answer.is_success, (self.number, method, path, answer.text[:300])
                return answer
            self.retried += 1
            time.sleep(float(answer.headers["retry-after"]) * random.uniform(0.5, 1.5))


def picture(number: int) -> bytes:
    """A picture that no other session has."""
    noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    target = io.BytesIO()
    Pil.fromarray(noise).save(target, "PNG")
    return target.getvalue()


def work(seat: Seat, calls: int) -> None:
    """Propose, save, list, look: again and again."""
    acts: list[Callable[[Seat], None]] = [propose, save, listed, looked, overview]
    for turn in range(calls):
        acts[turn % len(acts)](seat)


def propose(seat: Seat) -> None:
    body = {"image_id": seat.image["id"], "box": BOX, "category_id": seat.category}
    told = seat.ask(
        "POST", "/mal/propose", json=body | {"request_id": f"{len(seat.made)}/{seat.number}"}
    )
    check_mine(seat, told.json())
    assert told.json()["id"] not in seat.made
    seat.made.append(told.json()["id"])


def save(seat: Seat) -> None:
    """A mask that no other session draws: its place and its size tell whose it is."""
    one = seat.made[-1]
    head = next(a for a in annotations(seat) if a["id"] == one)
    body = {"state": "corrected", "category_id": seat.category, "box": BOX, "rle": mask_of(seat)}
    told = seat.ask("PUT", f"/mal/annotations/{one}", json=body,
                    headers={"if-match": str(head["version"])}).json()  # fmt: skip
    check_mine(seat, told)
    assert (told["id"], told["rle"], told["state"]) == (one, mask_of(seat), "corrected")


def listed(seat: Seat) -> None:
    found = annotations(seat)
    assert sorted(a["id"] for a in found) == sorted(seat.made)
    for one in found:
        check_mine(seat, one)


def looked(seat: Seat) -> None:
    assert seat.ask("GET", f"/mal/image/{seat.image['id']}").content == seat.picture


def overview(seat: Seat) -> None:
    told = seat.ask("GET", f"/mal/projects/{seat.project}").json()
    assert (told["id"], told["person"]) == (seat.project, seat.user.name)
    assert seat.image["id"] in {image["id"] for image in told["images"]}
    assert {int(image["file_name"].split(".")[0]) % USERS for image in told["images"]} == {
        seat.number % USERS
    }


def annotations(seat: Seat) -> list[dict[str, Any]]:
    told = seat.ask("GET", f"/mal/annotations/{seat.image['id']}").json()
    assert told["image_id"] == seat.image["id"]
    return list(told["annotations"])


def check_mine(seat: Seat, one: dict[str, Any]) -> None:
    assert (one["image_id"], one["person"]) == (seat.image["id"], seat.user.name)
    assert one["category_id"] == seat.category
    assert one["rle"]["size"] == [HEIGHT, WIDTH]


def mask_of(seat: Seat) -> dict[str, Any]:
    x0, size = seat.number % 50, 5 + seat.number // 2
    square = np.ones((min(size, HEIGHT), min(size, WIDTH - x0)), np.bool_)
    return encode(square, x0=x0, height=HEIGHT, width=WIDTH).to_coco()


def check_kept(served: Served, seats: list[Seat]) -> None:
    """What lies in the database afterwards is what each was told, and in their names."""
    for seat in seats:
        stored = served.store.list_instances(seat.image["id"])
        assert sorted(one.id for one in stored) == sorted(seat.made)
        for one in stored:
            assert one.person == seat.user.name
        saved = [one for one in stored if one.draft.state == "corrected"]
        assert saved
        assert all(one.draft.rle.to_coco() == mask_of(seat) for one in saved if one.draft.rle)
