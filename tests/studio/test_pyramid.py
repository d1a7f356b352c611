"""Large images in tiles: what is cut is what is stored, and the disk is not filled."""

import os
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image as Pil

from app import workflow as workflows
from app.errors import NotFound, StudioError
from app.images import Pyramids, load_image, path_of, pyramid
from app.images.pyramid import TILE, last_level
from app.records import Image
from app.workflow import Workflow
from mal_core.errors import BadImage
from tests.studio.conftest import Studio
from tests.studio.rest import BOX, error_of, propose

Pixels = NDArray[np.uint8]
COFFEE, CHELSEA, ROCKET = 0, 1, 2


def pixels_of(data: bytes) -> Pixels:
    return np.asarray(Pil.open(BytesIO(data)).convert("RGB"), np.uint8)


def halved(pixels: Pixels) -> Pixels:
    """Each pixel the mean of up to four, rounded half up: the plain way."""
    height, width = pixels.shape[:2]
    made = np.zeros(((height + 1) // 2, (width + 1) // 2, 3), np.uint8)
    for y in range(made.shape[0]):
        for x in range(made.shape[1]):
            block = pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(-1, 3)
            made[y, x] = np.floor(block.mean(0) + 0.5)
    return made


@pytest.mark.parametrize("index", [COFFEE, CHELSEA, ROCKET])
def test_each_level_is_the_one_above_it_halved(
    studio: Studio, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid, "_BAND", 64)  # so that there are several bands
    monkeypatch.setattr(pyramid, "TILE", 64)
    image = studio.images[index]
    pyramids = Pyramids(studio.settings)
    wanted = load_image(studio.settings, image)
    levels = last_level(image.width, image.height)
    assert levels >= 3
    for level in range(levels + 1):
        got = pyramids.level(image, level)
        assert np.abs(got.astype(int) - wanted).max() <= (1 if level else 0)
        wanted = halved(np.asarray(got))
    assert max(got.shape[:2]) <= 64
    assert not got.flags.writeable


def test_tiles_lie_side_by_side_and_a_lossless_image_stays_lossless(
    client: TestClient, studio: Studio
) -> None:
    image = studio.images[COFFEE]
    wanted = load_image(studio.settings, image)
    made = np.zeros_like(wanted)
    for column, left in enumerate(range(0, image.width, TILE)):
        answer = client.get(f"/mal/image/{image.id}/0/{column}/0")
        assert answer.headers["content-type"] == "image/png"
        tile = pixels_of(answer.content)
        made[: tile.shape[0], left : left + tile.shape[1]] = tile
    assert np.array_equal(made, wanted)
    small = client.get(f"/mal/image/{image.id}/1/0/0")
    assert pixels_of(small.content).shape == (200, 300, 3)


def test_a_tile_of_a_jpeg_is_a_jpeg_near_the_stored_pixels(
    client: TestClient, studio: Studio
) -> None:
    image = studio.images[ROCKET]
    answer = client.get(f"/mal/image/{image.id}/0/0/0")
    assert answer.headers["content-type"] == "image/jpeg"
    wanted = load_image(studio.settings, image)[:TILE, :TILE].astype(int)
    assert np.abs(pixels_of(answer.content) - wanted).mean() < 1.5


def test_a_tile_the_browser_has_is_not_sent_again(client: TestClient, studio: Studio) -> None:
    path = f"/mal/image/{studio.images[ROCKET].id}/0/0/0"
    first = client.get(path)
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(f"/mal/image/{studio.images[ROCKET].id}/0/1/0")
    assert "immutable" in first.headers["cache-control"]
    assert other.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("1/-1/0/0", 404, id="level-below-the-image"),
        pytest.param("1/2/0/0", 404, id="level-above-the-last"),
        pytest.param("1/99999999999999999999/0/0", 404, id="level-without-end"),
        pytest.param("1/0/2/0", 404, id="column-beyond"),
        pytest.param("1/0/0/1", 404, id="row-beyond"),
        pytest.param("1/0/-1/0", 404, id="column-before"),
        pytest.param("1/0/0/-1", 404, id="row-before"),
        pytest.param("1/0/99999999999999999999/0", 404, id="column-without-end"),
        pytest.param("99/0/0/0", 404, id="no-such-image"),
        pytest.param("1/0/0/x", 422, id="no-number"),
        pytest.param("1/0/0.5/0", 422, id="half-a-tile"),
        pytest.param("%2e%2e/studio.db/0/0", 422, id="path-that-climbs"),
    ],
)
def test_what_is_no_tile_is_refused_in_words(client: TestClient, path: str, status: int) -> None:
    answer = client.get(f"/mal/image/{path}")
    assert error_of(answer, status, {404: "not_found", 422: "bad_request"}[status])


def test_without_a_token_there_is_no_tile(client: TestClient, studio: Studio) -> None:
    path = f"/mal/image/{studio.images[0].id}/0/0/0"
    assert client.get(path, headers={"x-mal-session": "forged"}).status_code == 403


def test_images_of_two_projects_are_not_mixed_up(client: TestClient, studio: Studio) -> None:
    tiles = {client.get(f"/mal/image/{image.id}/0/0/0").content for image in studio.images}
    assert len(tiles) == len(studio.images)


def test_a_damaged_raster_is_told_and_leaves_nothing_behind(studio: Studio) -> None:
    image = studio.images[COFFEE]
    path = path_of(studio.settings, image)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(BadImage, match="damaged"):
        Pyramids(studio.settings).level(image, 0)
    assert list(studio.settings.pyramids.iterdir()) == []


def test_a_full_disk_is_told(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyramid, "_halve", full)
    with pytest.raises(StudioError, match=r"coffee\.png could not be unpacked: No space"):
        Pyramids(studio.settings).level(studio.images[COFFEE], 0)
    assert list(studio.settings.pyramids.iterdir()) == []


def kept(studio: Studio) -> set[str]:
    names = {image.sha256: image.file_name for image in studio.images}
    return {names.get(entry.name, entry.name) for entry in studio.settings.pyramids.iterdir()}


def test_what_was_used_longest_ago_makes_room_and_comes_back_when_needed(studio: Studio) -> None:
    sizes = [image.width * image.height * 3 for image in studio.images]
    pyramids = Pyramids(studio.settings, kept_bytes=int(1.4 * (sizes[COFFEE] + sizes[ROCKET])))
    held = pyramids.level(studio.images[COFFEE], 0)
    age(studio, studio.images[COFFEE], 50)
    pyramids.level(studio.images[CHELSEA], 0)
    age(studio, studio.images[CHELSEA], 100)
    pyramids.level(studio.images[ROCKET], 0)
    assert kept(studio) == {"coffee.png", "rocket.jpg"}
    assert np.array_equal(held, load_image(studio.settings, studio.images[COFFEE]))
    assert pyramids.level(studio.images[CHELSEA], 0).shape == (300, 451, 3)
    assert "chelsea.png" in kept(studio)


def test_what_a_crash_left_is_removed_later(studio: Studio) -> None:
    for name, seconds in (("making-old", 7200), ("making-now", 10)):
        folder = studio.settings.pyramids / name
        folder.mkdir(parents=True)
        os.utime(folder, (folder.stat().st_mtime - seconds,) * 2)
    Pyramids(studio.settings).level(studio.images[CHELSEA], 0)
    assert kept(studio) == {"making-now", "chelsea.png"}


def age(studio: Studio, image: Image, seconds: float) -> None:
    folder = studio.settings.pyramids / image.sha256
    os.utime(folder, (folder.stat().st_mtime - seconds,) * 2)


def test_boxes_on_a_large_image_get_the_same_masks_without_decoding_it_again(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = propose(client, studio).json()
    monkeypatch.setattr(workflows, "MAPPED_PIXELS", 1000)
    fresh = Workflow(studio.settings, studio.store)
    box = (BOX[0], BOX[1], BOX[2], BOX[3])
    masks = []
    for _ in range(2):
        category = studio.categories[0].id
        made = fresh.propose(studio.images[0].id, box, category, "Ada").instance
        masks.append(made.draft.rle)
        path_of(studio.settings, studio.images[0]).unlink(missing_ok=True)  # it is not read again
    assert masks[0] == masks[1]
    assert masks[0] is not None
    assert masks[0].to_coco() == in_memory["rle"]


def test_a_level_that_is_none_is_not_found(studio: Studio) -> None:
    pyramids = Pyramids(studio.settings)
    for level in (-1, 2):
        with pytest.raises(NotFound):
            pyramids.level(studio.images[COFFEE], level)
