"""What the canvas paints and encodes, checked by an independent rasteriser and by pycocotools.

The canvas's own tests write strokes.json and polygons.json (app/frontend/tests/strokes.test.ts and
polygon.test.ts) and read rle.json, which pycocotools wrote.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mal_core.masks import RLE, decode

FIXTURES = Path(__file__).parents[2] / "app" / "frontend" / "fixtures"
STROKES = json.loads((FIXTURES / "strokes.json").read_text(encoding="ascii"))
POLYGONS = json.loads((FIXTURES / "polygons.json").read_text(encoding="ascii"))
MASKS = json.loads((FIXTURES / "rle.json").read_text(encoding="ascii"))
Mask = NDArray[np.bool_]


def stamp(mask: Mask, a: list[float], b: list[float], radius: float, value: int) -> None:
    """Set every pixel of a mask (H, W) whose centre lies within `radius` of the segment a-b."""
    rows, columns = np.indices(mask.shape)
    px, py = columns + 0.5 - a[0], rows + 0.5 - a[1]
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    along = np.clip((px * dx + py * dy) / length, 0.0, 1.0) if length > 0 else np.zeros(px.shape)
    ex, ey = px - along * dx, py - along * dy
    mask[ex * ex + ey * ey <= radius * radius] = bool(value)


def fill(shape: tuple[int, int], points: list[list[float]]) -> Mask:
    """The pixels of an image (H, W) whose centres have an odd number of edges at their left."""
    rows, columns = np.indices(shape)
    px, py = columns + 0.5, rows + 0.5
    inside = np.zeros(shape, np.bool_)
    for (ax, ay), (bx, by) in zip([*points[-1:], *points[:-1]], points, strict=True):
        if ay == by:
            continue
        met = ax + ((py - ay) * (bx - ax)) / (by - ay)
        inside ^= ((ay <= py) != (by <= py)) & (met <= px)
    return inside


def coco_decode(rle: dict[str, Any]) -> Mask:
    return coco_mask.decode(rle).astype(np.bool_)


@pytest.mark.parametrize("case", [pytest.param(c, id=f"case {i}") for i, c in enumerate(STROKES)])
def test_strokes_of_the_canvas_equal_an_independent_rasterisation(case: dict[str, Any]) -> None:
    mask = coco_decode(case["base"])
    for stroke, result in zip(case["strokes"], case["results"], strict=True):
        points = stroke["points"]
        for a, b in zip([points[0], *points[:-1]], points, strict=True):
            stamp(mask, a, b, stroke["radius"], stroke["value"])
        np.testing.assert_array_equal(coco_decode(result), mask)


@pytest.mark.parametrize("case", [pytest.param(c, id=f"case {i}") for i, c in enumerate(POLYGONS)])
def test_polygons_of_the_canvas_equal_an_independent_rasterisation(case: dict[str, Any]) -> None:
    height, width = case["result"]["size"]
    points = case["points"] if len(case["points"]) > 2 else []
    np.testing.assert_array_equal(coco_decode(case["result"]), fill((height, width), points))


def test_enough_polygons_hold_pixels_to_prove_something() -> None:
    assert sum(bool(coco_decode(case["result"]).any()) for case in POLYGONS) >= 80


@pytest.mark.parametrize("case", [pytest.param(c, id=f"case {i}") for i, c in enumerate(STROKES)])
def test_codes_of_the_canvas_are_canonical(case: dict[str, Any]) -> None:
    for result in case["results"]:
        rle = RLE.from_coco(result)
        assert rle.to_coco() == result
        np.testing.assert_array_equal(decode(rle), coco_decode(result))


def test_strokes_change_pixels_often_enough_to_prove_something() -> None:
    codes = [
        (before["counts"], after["counts"])
        for case in STROKES
        for before, after in zip([case["base"], *case["results"]], case["results"], strict=False)
    ]
    assert sum(before != after for before, after in codes) >= 60


@pytest.mark.parametrize("case", [pytest.param(c, id=c["name"]) for c in MASKS])
def test_fixtures_are_what_pycocotools_and_our_decoder_read(case: dict[str, Any]) -> None:
    height, width = case["height"], case["width"]
    bits = np.unpackbits(np.frombuffer(base64.b64decode(case["bits"]), np.uint8))
    mask = bits[: height * width].reshape(height, width).astype(np.bool_)
    rle = RLE.from_coco({"size": [height, width], "counts": case["counts"]})
    np.testing.assert_array_equal(decode(rle), mask)
    assert rle.area == int(mask.sum())
