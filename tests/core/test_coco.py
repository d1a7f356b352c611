"""COCO files: what goes out comes back, and what is wrong gets a line each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mal_core import coco
from mal_core.errors import BadDataset
from mal_core.masks import RLE, encode

Document = dict[str, Any]


def mask() -> RLE:
    return encode(np.ones((4, 6), np.bool_), x0=10, y0=5, height=30, width=40)


def document() -> Document:
    return {
        "info": {"year": 2026},
        "images": [{"id": 7, "file_name": "a/b.jpg", "width": 40, "height": 30, "license": 3}],
        "categories": [{"id": 0, "name": "leaf", "supercategory": "plant"}],
        "annotations": [annotation()],
    }


def annotation(**changes: object) -> Document:
    base = {"id": 1, "image_id": 7, "category_id": 0, "bbox": [10, 5, 6, 4], "area": 24}
    return base | {"segmentation": mask().to_coco(), "iscrowd": 0, "mood": "calm"} | changes


def read(value: object) -> coco.Dataset:
    return coco.read(json.dumps(value).encode())


def test_a_file_reads_into_corners_and_masks() -> None:
    (image, (found,)) = read(document()).by_image()[0]
    assert (image.id, image.file_name, image.width, image.height) == (7, "a/b.jpg", 40, 30)
    assert (found.box, found.rle, found.iscrowd) == ((10, 5, 16, 9), mask(), False)


def test_reading_and_writing_loses_nothing_not_even_foreign_fields() -> None:
    assert json.loads(coco.write(read(document()))) == document()


def test_a_saved_file_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text("old")
    coco.save(read(document()), path)
    assert coco.read(path) == read(document())
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: coco.Dataset) -> bytes:
        raise OSError("disk full")

    path = tmp_path / "coco.json"
    path.write_text("old")
    monkeypatch.setattr(coco, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        coco.save(read(document()), path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("coco.json", "old")]


def test_area_and_bbox_are_those_of_the_mask_whatever_the_file_said() -> None:
    value = document() | {"annotations": [annotation(bbox=[0, 0, 39, 29.5], area=1.5)]}
    (written,) = json.loads(coco.write(read(value)))["annotations"]
    assert (written["bbox"], written["area"]) == ([10, 5, 6, 4], 24)


def test_a_box_without_a_mask_stays_one() -> None:
    value = document() | {"annotations": [annotation(bbox=[1, 2, 3.5, 4], segmentation=[])]}
    (found,) = read(value).annotations
    assert (found.box, found.rle) == ((1, 2, 4.5, 6), None)
    (written,) = json.loads(coco.write(read(value)))["annotations"]
    assert (written["bbox"], written["segmentation"]) == ([1, 2, 3.5, 4], [])


@pytest.mark.parametrize("absent", [None, []], ids=["null", "empty"])
def test_a_mask_may_be_absent_where_there_is_a_box(absent: object) -> None:
    value = document() | {"annotations": [annotation(segmentation=absent)]}
    assert read(value).annotations[0].rle is None


def test_a_box_may_be_absent_where_there_is_a_mask() -> None:
    value = document() | {"annotations": [annotation(bbox=None)]}
    assert read(value).annotations[0].box == (10, 5, 16, 9)


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param({"size": [30, 40], "counts": mask().runs.tolist()}, id="plain runs"),
        pytest.param([[10, 5, 16, 5, 16, 9, 10, 9]], id="a polygon"),
        pytest.param([[10, 5, 13, 5, 13, 9, 10, 9], [13, 5, 16, 5, 16, 9, 13, 9]], id="two parts"),
    ],
)
def test_every_way_to_write_a_mask_is_read(segmentation: object) -> None:
    value = document() | {"annotations": [annotation(segmentation=segmentation)]}
    assert read(value).annotations[0].rle == mask()


def test_a_crowd_stays_a_crowd() -> None:
    value = document() | {"annotations": [annotation(iscrowd=1)]}
    assert json.loads(coco.write(read(value)))["annotations"][0]["iscrowd"] == 1


def test_the_first_images_take_their_annotations_along() -> None:
    value = document()
    value["images"].append({"id": 8, "file_name": "c.jpg", "width": 40, "height": 30})
    value["annotations"].append(annotation(id=2, image_id=8))
    assert [(i.id, len(a)) for i, a in read(value).first(1).by_image()] == [(7, 1)]


def put(*path: str | int) -> Callable[[object], Document]:
    """A document with one value replaced."""

    def change(new: object) -> Document:
        value: Any = document()
        target = value
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = new
        return value

    return change


IMAGE, ANNOTATION = ("images", 0), ("annotations", 0)
BAD: list[tuple[str, Document, str]] = [
    *(
        (f"bbox {value}", put(*ANNOTATION, "bbox")(value), "bbox")
        for value in (
            *([1, 2, 0, 4], [1, 2, 3, 0], [1, 2, -3, 4], [1, 2, 3, -4]),
            *([40, 2, 3, 4], [1, 30, 3, 4], [-5, 2, 5, 4], [1, -9, 3, 9]),
            *([1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, None], ["1", 2, 3, 4], [True, 2, 3, 4]),
            *("1,2,3,4", {}, 5),
        )
    ),
    *(
        (f"id {value}", put(*ANNOTATION, "id")(value), "id must be a whole number")
        for value in (1.0, "1", None, True, -1, 2**53, [1])
    ),
    *(
        (f"image_id {value}", put(*ANNOTATION, "image_id")(value), "image")
        for value in (99, 7.0, "7", None)
    ),
    *(
        (f"category_id {value}", put(*ANNOTATION, "category_id")(value), "category")
        for value in (99, 0.0, "0", None)
    ),
    *((f"iscrowd {v}", put(*ANNOTATION, "iscrowd")(v), "iscrowd") for v in (2, -1, "0", 0.5)),
    *(
        (f"{side} {value}", put(*IMAGE, side)(value), side)
        for side in ("width", "height")
        for value in (0, -1, 40.0, "40", None, True, 16385, 2**70)
    ),
    *(
        (f"file_name {value!r}", put(*IMAGE, "file_name")(value), "file_name")
        for value in (
            *("/etc/passwd", "../a.jpg", "a/../../b.jpg", "a\\b.jpg", "..\\a.jpg", "C:\\a.jpg"),
            *("C:a.jpg", "a\0.jpg", "a\n.jpg", "\\\\host\\a.jpg", "", "  ", None, 5, ["a.jpg"]),
        )
    ),
    *((f"name {v!r}", put("categories", 0, "name")(v), "name") for v in ("", None, 5)),
    *(
        (f"segmentation {what}", put(*ANNOTATION, "segmentation")(value), text)
        for what, value, text in (
            ("sum too low", {"size": [30, 40], "counts": [10, 20]}, "runs must sum"),
            ("sum too high", {"size": [30, 40], "counts": [0, 1201]}, "runs must sum"),
            ("other size", {"size": [40, 30], "counts": [1200]}, "its image 40 x 30"),
            ("no size", {"counts": [1200]}, "size must be"),
            ("torn", {"size": [30, 40], "counts": "o"}, "middle of a number"),
            ("two points", [[1, 1, 2, 2]], "a polygon needs"),
            ("flat", [1, 1, 2, 2, 3, 1], "list of polygons"),
            ("text", "1 1 2 2", "must be an object"),
            ("mixed", [[1, 1, 9, 1, 9, 9], 5], "list of polygons"),
        )
    ),
    *(
        (f"{name} {value!r}", document() | {name: value}, f"a list of {name}")
        for name in ("images", "categories", "annotations")
        for value in (None, {}, "text")
    ),
    *(
        (f"entry of {name}", document() | {name: [None]}, f"{name}[0]: must be an object")
        for name in ("images", "categories", "annotations")
    ),
    ("annotation twice", document() | {"annotations": [annotation()] * 2}, "id 1 is taken"),
    ("image twice", document() | {"images": document()["images"] * 2}, "id 7 is taken"),
    ("category twice", document() | {"categories": document()["categories"] * 2}, "id 0 is taken"),
]


@pytest.mark.parametrize(("value", "text"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_broken_file_is_refused_with_what_must_hold(value: Document, text: str) -> None:
    with pytest.raises(BadDataset) as caught:
        read(value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"\xff\xfe", id="not utf-8"),
        pytest.param(b"[" * 5000, id="nested without end"),
        pytest.param(b"a text file", id="text"),
        pytest.param(json.dumps(put(*ANNOTATION, "bbox")([float("nan")] * 4)).encode(), id="nan"),
        pytest.param(json.dumps(put(*ANNOTATION, "bbox")([float("inf")] * 4)).encode(), id="inf"),
        pytest.param(b'{"images": [1e999]}', id="overflow"),
    ],
)
def test_what_is_not_json_is_refused_and_nan_is_named(content: bytes) -> None:
    with pytest.raises(BadDataset, match="not JSON, or holds NaN or infinity"):
        coco.read(content)


def test_a_json_of_another_kind_is_refused() -> None:
    with pytest.raises(BadDataset, match="must hold a JSON object, got list"):
        coco.read(b"[]")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="No such file"):
        coco.read(tmp_path / "none.json")


def test_every_problem_gets_a_line_that_names_its_entry() -> None:
    bad = [annotation(id=2, bbox=[0, 0, 0, 0]), annotation(id=3, image_id=99), annotation(id=4)]
    with pytest.raises(BadDataset) as caught:
        read(document() | {"annotations": bad})
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "annotations[0] (id 2)",
        "annotations[1] (id 3)",
    ]


def test_a_problem_of_an_image_is_not_blamed_on_its_annotations_id() -> None:
    with pytest.raises(BadDataset) as caught:
        read(put(*IMAGE, "width")(0))
    assert "width must be" in caught.value.problems[0]
    assert "its image 7 has a problem of its own" in caught.value.problems[1]
