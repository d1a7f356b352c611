"""Before and after, drawn: which are shown, and that each outline is where it belongs."""

import base64
import io
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image as PilImage

from app.jobs import COMPARISON
from app.pictures import (
    AFTER,
    BEFORE,
    TRUTH,
    Change,
    draw,
    draw_job,
    most_changed,
    read_changes,
    to_address,
    worst,
)
from app.records import Job, JobState
from mal_core import coco
from mal_core.masks import RLE, encode
from tests.studio.conftest import NOW, Studio

GREY = np.full((200, 300, 3), 90, np.uint8)


def square(x0: int, y0: int, side: int = 60) -> RLE:
    return encode(np.ones((side, side), np.bool_), x0=x0, y0=y0, height=200, width=300)


EMPTY = encode(np.zeros((1, 1), np.bool_), height=200, width=300)


def change(key: int, before: float, after: float) -> Change:
    return Change(key, 1, 1, before, after, square(20, 20), square(30, 20))


def test_the_worst_and_the_most_changed_are_shown_first() -> None:
    changes = [change(1, 0.9, 0.8), change(2, 0.5, 0.9), change(3, 0.9, 0.4), change(4, 0.7, 0.7),
               change(5, 0.95, 0.96), change(6, 0.3, 0.3)]  # fmt: skip
    assert [c.annotation_id for c in worst(changes)] == [6, 3, 4, 1]
    assert [c.annotation_id for c in most_changed(changes)] == [3, 2, 1, 5]


def colors(picture: PilImage.Image) -> set[tuple[int, ...]]:
    return {tuple(color) for color in np.array(picture).reshape(-1, 3).tolist()}


def test_each_mask_is_outlined_in_its_colour_on_the_crop() -> None:
    picture = draw(GREY, Change(1, 1, 1, 0.5, 0.7, square(20, 20), square(100, 90)),
                   {1: square(60, 60)})  # fmt: skip
    assert max(picture.size) == 240
    assert colors(picture) == {(90, 90, 90), TRUTH, BEFORE, AFTER}
    pixels = np.array(picture)
    first = {
        color: np.argwhere((pixels == color).all(2)).min(0) for color in (BEFORE, TRUTH, AFTER)
    }
    assert tuple(first[BEFORE]) < tuple(first[TRUTH]) < tuple(first[AFTER])


def test_a_mask_is_outlined_and_not_filled() -> None:
    same = square(100, 90)
    pixels = np.array(draw(GREY, Change(1, 1, 1, 0.5, 0.7, same, same), {1: same}))
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist() == [90, 90, 90]


@pytest.mark.parametrize("truth", [None, EMPTY])
def test_an_empty_mask_is_no_obstacle(truth: RLE | None) -> None:
    empty = Change(1, 1, 1, 0.0, 0.0, EMPTY, square(240, 140))
    assert AFTER in colors(draw(GREY, empty, {1: truth}))
    nothing = Change(1, 1, 1, 0.0, 0.0, EMPTY, EMPTY)
    assert colors(draw(GREY, nothing, {1: truth})) == {(90, 90, 90)}


def test_a_tall_thin_object_is_drawn_whole() -> None:
    thin = encode(np.ones((190, 1), np.bool_), x0=299, y0=5, height=200, width=300)
    picture = draw(GREY, Change(1, 1, 1, 1.0, 1.0, thin, thin), {1: thin})
    assert AFTER in colors(picture)


def test_a_picture_is_the_address_of_itself() -> None:
    kind, _, data = to_address(PilImage.fromarray(GREY)).partition(",")
    assert kind == "data:image/jpeg;base64"
    assert PilImage.open(io.BytesIO(base64.b64decode(data))).size == (300, 200)


def job_with(studio: Studio, entries: object) -> Job:
    folder = studio.settings.jobs / "1"
    folder.mkdir(parents=True)
    (folder / COMPARISON).write_bytes(orjson.dumps(entries))
    coco.save(coco.Dataset([], [], []), folder / "held-out.json")
    return Job(1, studio.project.id, "fine-tune", JobState.DONE, {}, {}, {}, "", 1, NOW, None, NOW)


def entry(studio: Studio, image: int) -> dict[str, object]:
    found = studio.images[image]
    mask = encode(np.ones((9, 9), np.bool_), height=found.height, width=found.width).to_coco()
    return {"annotation_id": 5, "image_id": found.number, "category_id": 1, "bbox": [0, 0, 9, 9],
            "iou_before": 0.5, "iou_after": 0.75, "before": mask, "after": mask}  # fmt: skip


def test_a_job_is_drawn_from_what_its_trainer_left(studio: Studio) -> None:
    job = job_with(studio, [entry(studio, 0), entry(studio, 1)])
    for pictures in draw_job(studio.settings, studio.store, job):
        assert [p.change.image_id for p in pictures] == [i.number for i in studio.images[:2]]
        assert all(p.data.startswith("data:image/jpeg") for p in pictures)


def test_an_image_that_cannot_be_read_is_left_out(studio: Studio) -> None:
    job = job_with(studio, [entry(studio, 0), entry(studio, 1)])
    for path in studio.settings.images.rglob(f"{studio.images[0].sha256}.*"):
        path.unlink()
    shown, _ = draw_job(studio.settings, studio.store, job)
    assert [p.change.image_id for p in shown] == [studio.images[1].number]


def test_a_job_that_left_nothing_shows_nothing(studio: Studio, tmp_path: Path) -> None:
    job = Job(9, studio.project.id, "fine-tune", JobState.DONE, {}, {}, {}, "", 1, NOW, None, NOW)
    assert draw_job(studio.settings, studio.store, job) == ([], [])
    assert read_changes(tmp_path / "none.json") == []
