"""What other programs write: each format's other ways of saying the same, and its own fields."""

import base64
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil

from app.exchange import ImportReport
from app.records import Draft, Project, State
from mal_core.masks import decode, encode
from tests.studio.trade import HEIGHT, NOW, WIDTH, Pixels, Trade

BLOCK = (slice(5, 15), slice(10, 30))  # rows, columns of the one mask of most files
SQUARE = [10, 5, 30, 5, 30, 15, 10, 15]


@pytest.fixture
def project(trade: Trade) -> Project:
    project = trade.project()
    trade.image(project, "a.jpg")
    return project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "set"
    made.mkdir()
    return made


def block() -> Pixels:
    pixels = np.zeros((HEIGHT, WIDTH), np.bool_)
    pixels[BLOCK] = True
    return pixels


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Pil.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def filled(draft: Draft) -> Draft:
    rle = encode(block(), height=HEIGHT, width=WIDTH)
    return replace(draft, state=State.CORRECTED, rle=rle)


def masks(trade: Trade, project: Project) -> list[tuple[str, Pixels]]:
    return [(t, decode(d.rle)) for _, t, d in trade.drafts(project) if d.rle is not None]


def only_block(trade: Trade, project: Project, category: str = "leaf") -> bool:
    ((title, pixels),) = masks(trade, project)
    return title == category and np.array_equal(pixels, block())


# COCO


def coco(**annotation: object) -> dict[str, Any]:
    return {
        "images": [{"id": 0, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 0, "name": "leaf"}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 0, **annotation}],
    }


RUNS = [10 * HEIGHT + 5, *[10, HEIGHT - 10] * 19, 10, HEIGHT * WIDTH - 29 * HEIGHT - 15]


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param([SQUARE], id="polygon"),
        pytest.param([[10, 5, 20, 5, 20, 15, 10, 15], [20, 5, 30, 5, 30, 15, 20, 15]], id="two"),
        pytest.param({"size": [HEIGHT, WIDTH], "counts": RUNS}, id="uncompressed runs"),
    ],
)
def test_coco_segmentations_of_every_kind(
    trade: Trade, project: Project, folder: Path, segmentation: object
) -> None:
    (folder / "instances.json").write_text(json.dumps(coco(segmentation=segmentation)))
    trade.bring(project, "coco", folder / "instances.json")
    assert only_block(trade, project)


# YOLO


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param("data.yaml", "names: [twig, leaf]", id="a list"),
        pytest.param("data.yaml", "nc: 2\nnames:\n  0: twig\n  1: leaf", id="a mapping"),
        pytest.param("classes.txt", "twig\nleaf\n", id="a text file"),
    ],
)
def test_yolo_names_of_every_kind(
    trade: Trade, project: Project, folder: Path, names: str, text: str
) -> None:
    (folder / names).write_text(text)
    (folder / "train" / "labels").mkdir(parents=True)
    words = [str(v / side) for v, side in zip(SQUARE, (WIDTH, HEIGHT) * 4, strict=True)]
    (folder / "train" / "labels" / "a.txt").write_text(f"1 {' '.join(words)}\n\n0 .5 .5 .1 .1")
    report = trade.bring(project, "yolo", folder)
    assert (report.n_masks, report.n_boxes) == (1, 1)
    assert only_block(trade, project)
    assert trade.drafts(project)[1][2].box == (18, 13.5, 22, 16.5)


def test_yolo_without_names_calls_classes_by_number(
    trade: Trade, project: Project, folder: Path
) -> None:
    (folder / "a.txt").write_text("7 .5 .5 .1 .1")
    trade.bring(project, "yolo", folder)
    assert trade.drafts(project)[0][1] == "class 7"


# Pascal VOC


def voc(extra: str = "", size: bool = True) -> str:
    sides = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return (
        f"<annotation><folder>x</folder><filename>a.jpg</filename>{sides if size else ''}"
        f"<object><name>leaf</name>{extra}<bndbox><xmin>11</xmin><ymin>6</ymin>"
        "<xmax>30</xmax><ymax>15</ymax></bndbox></object></annotation>"
    )


@pytest.mark.parametrize("size", [True, False])
def test_voc_counts_pixels_from_one(
    trade: Trade, project: Project, folder: Path, size: bool
) -> None:
    (folder / "a.xml").write_text(voc(size=size))
    assert trade.bring(project, "voc", folder).n_boxes == 1
    assert trade.drafts(project)[0][2].box == (10, 5, 30, 15)


def test_voc_edges_that_nobody_decided_are_background(
    trade: Trade, project: Project, folder: Path
) -> None:
    for name in ("Annotations", "SegmentationObject", "SegmentationClass"):
        (folder / name).mkdir()
    values = block().astype(np.uint8)
    values[0] = 255
    (folder / "Annotations" / "a.xml").write_text(voc())
    (folder / "SegmentationObject" / "a.png").write_bytes(png(values))
    (folder / "SegmentationClass" / "a.png").write_bytes(png(values * 0))
    trade.bring(project, "voc", folder)
    assert only_block(trade, project)


# LabelMe


def labelme(*shapes: dict[str, Any]) -> str:
    size = {"imageWidth": WIDTH, "imageHeight": HEIGHT}
    document = {"version": "5.0.1", "flags": {}, "imagePath": "..\\photos\\a.jpg", **size}
    return json.dumps({**document, "imageData": None, "shapes": list(shapes)})


def pairs(flat: list[int]) -> list[list[int]]:
    return [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]


HALVES = [
    {"label": "leaf", "points": pairs([10, 5, 20, 5, 20, 15, 10, 15]), "group_id": 4},
    {"label": "leaf", "points": pairs([20, 5, 30, 5, 30, 15, 20, 15]), "group_id": 4},
]
MASK = {
    "label": "leaf",
    "shape_type": "mask",
    "points": [[10, 5], [29, 14]],
    "mask": base64.b64encode(png(np.ones((10, 20), np.uint8))).decode(),
}


@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param([{"label": "leaf", "points": pairs(SQUARE)}], id="polygon"),
        pytest.param(HALVES, id="two polygons of a group"),
        pytest.param([MASK], id="mask"),
    ],
)
def test_labelme_shapes_of_every_kind(
    trade: Trade, project: Project, folder: Path, shapes: list[dict[str, Any]]
) -> None:
    line = {"label": "leaf", "shape_type": "line", "points": [[1, 1], [2, 2]]}
    (folder / "a.json").write_text(labelme(*shapes, line))
    report = trade.bring(project, "labelme", folder)
    assert only_block(trade, project)
    assert report.left_out == [f"a.json, shape {len(shapes) + 1}: is a line"]


def test_a_labelme_rectangle_is_a_box_whatever_its_corners(
    trade: Trade, project: Project, folder: Path
) -> None:
    shape = {"label": "leaf", "shape_type": "rectangle", "points": [[30, 5], [10.5, 15]]}
    (folder / "a.json").write_text(labelme(shape))
    trade.bring(project, "labelme", folder)
    assert trade.drafts(project)[0][2].box == (10.5, 5, 30, 15)


# CVAT


def cvat(*shapes: str, image: str = "") -> str:
    label = "<label><name>leaf</name><color>#f00</color><attributes/></label>"
    return (
        "<annotations><version>1.1</version><meta><task><id>3</id><name>Greenhouse</name>"
        f"<labels>{label}</labels></task></meta>"
        f'<image id="0" name="sub/a.jpg" width="{WIDTH}" height="{HEIGHT}" {image}>'
        f"{''.join(shapes)}</image></annotations>"
    )


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param('<polygon label="leaf" points="10,5;30,5;30,15;10,15"/>', id="polygon"),
        pytest.param(
            '<mask label="leaf" rle="0, 200" left="10" top="5" width="20" height="10"/>', id="mask"
        ),
        pytest.param(
            '<mask label="leaf" rle="23,20,2,20,2,20,2,20,2,20,2,20,2,20,2,20,2,20,2,20,23"'
            ' left="9" top="4" width="22" height="12"/>',
            id="mask with a margin",
        ),
    ],
)
def test_cvat_shapes_of_every_kind(
    trade: Trade, project: Project, folder: Path, shape: str
) -> None:
    points = '<points label="leaf" points="1,1;2,2"/>'
    (folder / "annotations.xml").write_text(cvat(shape, points))
    report = trade.bring(project, "cvat", folder)
    assert only_block(trade, project)
    assert report.left_out == ["sub/a.jpg, shape 2: is a points"]


def test_a_cvat_box_comes_in_as_one(trade: Trade, project: Project, folder: Path) -> None:
    box = '<box label="leaf" xtl="10.50" ytl="5.00" xbr="30.00" ybr="15.00"/>'
    (folder / "annotations.xml").write_text(cvat(box))
    assert trade.bring(project, "cvat", folder).n_boxes == 1
    assert trade.drafts(project)[0][2].box == (10.5, 5, 30, 15)


# Datumaro


def datumaro(*annotations: dict[str, Any]) -> str:
    item = {"id": "a", "annotations": list(annotations), "attr": {"frame": 3}}
    item["image"] = {"path": "a.jpg", "size": [HEIGHT, WIDTH]}
    labels = {"labels": [{"name": "leaf", "parent": "plant", "attributes": []}], "attributes": []}
    return json.dumps({"info": {"by": "x"}, "categories": {"label": labels}, "items": [item]})


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param([{"type": "polygon", "label_id": 0, "points": SQUARE}], id="polygon"),
        pytest.param(
            [
                {"type": "polygon", "label_id": 0, "group": 2, "points": [*SQUARE[:4], 20, 15]},
                {"type": "polygon", "label_id": 0, "group": 2, "points": SQUARE},
            ],
            id="two of a group",
        ),
        pytest.param(
            [{"type": "mask", "label_id": 0, "rle": {"size": [HEIGHT, WIDTH], "counts": RUNS}}],
            id="mask",
        ),
    ],
)
def test_datumaro_shapes_of_every_kind(
    trade: Trade, project: Project, folder: Path, annotations: list[dict[str, Any]]
) -> None:
    (folder / "train.json").write_text(datumaro(*annotations, {"type": "label", "label_id": 0}))
    report = trade.bring(project, "datumaro", folder)
    assert only_block(trade, project)
    assert report.left_out == ["train.json, items[0]: holds a label"]


def test_a_datumaro_bbox_comes_in_as_a_box(trade: Trade, project: Project, folder: Path) -> None:
    box = {"type": "bbox", "label_id": 0, "bbox": [10.5, 5, 19.5, 10]}
    (folder / "default.json").write_text(datumaro(box))
    trade.bring(project, "datumaro", folder)
    assert trade.drafts(project)[0][2].box == (10.5, 5, 30, 15)


# PNG


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pictures_of_instances_need_no_names(
    trade: Trade, project: Project, folder: Path, kind: type
) -> None:
    values = block().astype(kind) * kind(200)
    (folder / "a.png").write_bytes(png(values))
    trade.bring(project, "png", folder)
    assert only_block(trade, project, "object")


def test_a_picture_of_categories_has_one_instance_of_each(
    trade: Trade, project: Project, folder: Path
) -> None:
    values = block().astype(np.uint8) * 3
    values[20:22] = 5
    values[25:27] = 5
    (folder / "a.png").write_bytes(png(values))
    trade.bring(project, "png-semantic", folder)
    found = {title: int(pixels.sum()) for title, pixels in masks(trade, project)}
    assert found == {"class 3": 200, "class 5": 4 * WIDTH}


def test_photos_beside_the_masks_are_images_and_not_masks(trade: Trade, folder: Path) -> None:
    empty = trade.project("Empty")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    (folder / "images" / "a.png").write_bytes(png(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    (folder / "masks" / "a.png").write_bytes(png(block().astype(np.uint8)))
    report = trade.bring(empty, "png", folder)
    assert (report.n_new_images, report.n_masks) == (1, 1)
    (folder / "images" / "a.png").unlink()
    alone = trade.bring(trade.project("Emptier"), "png", folder)
    assert (alone.n_new_images, alone.unmatched) == (0, ["a"])


# Fields of other tools, and how far they travel

FOREIGN = {
    "voc": ("a.xml", voc("<pose>Left</pose><part><name>tip</name></part>")),
    "labelme": (
        "a.json",
        labelme({"label": "leaf", "points": pairs(SQUARE), "flags": {"old": True}, "score": 0.5}),
    ),
    "cvat": (
        "annotations.xml",
        cvat(
            '<mask label="leaf" rle="0,200" left="10" top="5" width="20" height="10" occluded="1">'
            '<attribute name="ripe">yes &amp; no</attribute></mask>',
            image='subset="Train"',
        ),
    ),
    "datumaro": (
        "default.json",
        datumaro(
            {"type": "polygon", "label_id": 0, "points": SQUARE, "attributes": {"ripe": True}}
        ),
    ),
}
KEPT = {
    "voc": ("Annotations/a.xml", ["<pose>Left</pose>", "<name>tip</name>"]),
    "labelme": ("images/a.json", ['"old": true', '"score": 0.5', '"version": "5.0.1"']),
    "cvat": (
        "annotations.xml",
        ['occluded="1"', "yes &amp; no", 'subset="Train"', "Greenhouse", "#f00"],
    ),
    "datumaro": ("annotations/default.json", ['"ripe":true', '"frame":3', '"by":"x"', '"plant"']),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_a_tool_wrote_for_itself_is_there_when_it_comes_back(
    trade: Trade, project: Project, folder: Path, name: str
) -> None:
    file_name, content = FOREIGN[name]
    (folder / file_name).write_text(content)
    report: ImportReport = trade.bring(project, name, folder)
    assert report.n_images == 1
    for image, instance in list(trade.store.list_project_instances(project.id)):
        if instance.draft.rle is None:  # a box that got its mask meanwhile
            trade.store.save_instance(instance.id, filled(instance.draft), 1, "me", "", NOW)
        assert image.file_name == "a.jpg"
    out = trade.export(project, name)
    inner, texts = KEPT[name]
    with zipfile.ZipFile(out.path) as archive:
        written = archive.read(inner).decode()
        assert "".join(archive.namelist()).isascii()
    assert [text for text in texts if text not in written] == []
    other = trade.export(project, "coco")
    with zipfile.ZipFile(other.path) as archive:
        assert b"ripe" not in archive.read("annotations.json")
