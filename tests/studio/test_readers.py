"""Our exports in other programs' readers, and upright images from every camera."""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from faster_coco_eval import COCO as FasterCOCO  # noqa: N811 - a class, whatever its case
from PIL import Image as Pil
from PIL import ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from app.exchange import FORMATS
from app.images import Intake, load_image
from app.records import Project
from mal_core.masks import decode
from tests.studio.trade import CASES, HEIGHT, NOW, WIDTH, Case, Pixels, Trade

HARD = ("holes", "parts", "island in a hole", "noise", "one pixel", "touching borders", "overlaps")


@pytest.fixture(scope="module")
def trade(tmp_path_factory: pytest.TempPathFactory, shared_database: str) -> Iterator[Trade]:
    opened = Trade(tmp_path_factory.mktemp("trade"), shared_database)
    yield opened
    opened.store.close()


@pytest.fixture(scope="module")
def project(trade: Trade) -> Project:
    """Every hard case on an image of its own."""
    project = trade.project()
    for title in HARD:
        trade.fill(project, trade.image(project, f"{title}.jpg"), CASES[title])
    return project


def member(trade: Trade, project: Project, name: str, inner: str) -> bytes:
    report = trade.export(project, name)
    with zipfile.ZipFile(report.path) as archive:
        data = archive.read(inner)
    report.path.unlink()
    return data


def stored(trade: Trade, project: Project) -> list[Pixels]:
    return [decode(d.rle) for _, _, d in trade.drafts(project) if d.rle is not None]


@pytest.mark.parametrize("name", ["coco", "coco-polygons"])
@pytest.mark.parametrize("reader", [COCO, FasterCOCO], ids=["pycocotools", "faster-coco-eval"])
def test_coco_readers_see_the_masks_pixel_for_pixel(
    trade: Trade,
    project: Project,
    tmp_path: Path,
    name: str,
    reader: Any,  # noqa: ANN401
) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(member(trade, project, name, "annotations.json"))
    with contextlib.redirect_stdout(io.StringIO()):
        index = reader(str(path))
    annotations = [index.anns[key] for key in sorted(index.anns)]
    for annotation, pixels in zip(annotations, stored(trade, project), strict=True):
        assert np.array_equal(index.annToMask(annotation), pixels)
        rle = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
        assert annotation["area"] == coco_mask.area(rle)
        assert annotation["bbox"] == coco_mask.toBbox(rle).tolist()
        assert annotation["iscrowd"] == 0


def test_run_length_masks_are_byte_for_byte_those_of_pycocotools(
    trade: Trade, project: Project
) -> None:
    document = json.loads(member(trade, project, "coco", "annotations.json"))
    for annotation, pixels in zip(document["annotations"], stored(trade, project), strict=True):
        wanted = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
        assert annotation["segmentation"]["counts"].encode() == wanted["counts"]


def test_a_plain_yolo_parser_sees_the_classes_boxes_and_filled_outlines(
    trade: Trade, project: Project
) -> None:
    """As trainers do it: fractions times size, filled with the outline by OpenCV."""
    report = trade.export(project, "yolo-seg")
    masks = iter(stored(trade, project))
    titles = [title for _, title, _ in trade.drafts(project)]
    seen = 0
    with zipfile.ZipFile(report.path) as archive:
        names = yaml.safe_load(archive.read("data.yaml"))["names"]
        for title in HARD:
            for line in archive.read(f"labels/{title}.txt").decode().splitlines():
                key, *values = line.split()
                points = np.array(values, np.float64).reshape(-1, 2) * (WIDTH, HEIGHT)
                canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
                cv2.fillPoly(canvas, [points.round().astype(np.int32)], 1)
                pixels = next(masks)
                assert names[int(key)] == titles[seen]
                assert canvas[pixels].all()  # nothing is lost; the outline makes it fatter
                seen += 1
    report.path.unlink()
    assert seen == len(titles)


def test_labelme_s_way_of_filling_loses_no_pixel(trade: Trade, project: Project) -> None:
    """Its reader draws polygons with their outline by Pillow, and pastes mask shapes."""
    report = trade.export(project, "labelme")
    masks = iter(stored(trade, project))
    with zipfile.ZipFile(report.path) as archive:
        for title in HARD:
            for shape in json.loads(archive.read(f"images/{title}.json"))["shapes"]:
                pixels = next(masks)
                if shape["shape_type"] == "polygon":
                    canvas = Pil.new("L", (WIDTH, HEIGHT))
                    points = [tuple(point) for point in shape["points"]]
                    ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
                    assert np.asarray(canvas)[pixels].all()
    report.path.unlink()


@pytest.fixture(scope="module")
def turned(trade: Trade, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same picture as eight cameras would store it, each with a mask on its bright corner."""
    project = trade.project("Turned")
    folder = tmp_path_factory.mktemp("turned")
    upright = Pil.new("L", (WIDTH, HEIGHT))
    upright.paste(255, (0, 0, 9, 5))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> Pillow's transposition
    with Intake(trade.settings) as intake:
        for orientation in range(1, 9):
            raw = upright if orientation == 1 else upright.transpose(back[orientation])
            exif = Pil.Exif()
            exif[0x0112] = orientation
            path = folder / f"{orientation}.png"
            raw.save(path, exif=exif)
            image, _ = trade.store.add_image(project.id, intake.take(path, path.name), NOW)
            bright = load_image(trade.settings, image)[:, :, 0] > 128
            assert bright[:5, :9].all()
            assert bright.sum() == 45
            trade.fill(project, image, Case([("corner", bright)]))
    return project


@pytest.mark.parametrize("name", FORMATS)
def test_masks_lie_on_the_upright_image_whatever_the_camera_wrote(
    trade: Trade, turned: Project, name: str
) -> None:
    report = trade.export(turned, name, include_images=True)
    assert (report.n_compared, report.n_exact) == (8, 8)
    with zipfile.ZipFile(report.path) as archive:
        folder = FORMATS[name].images
        pictures = [Pil.open(archive.open(f"{folder}/{n}.png")) for n in range(1, 9)]
    assert {picture.size for picture in pictures} == {(WIDTH, HEIGHT)}
    assert all(not picture.getexif() for picture in pictures)
    report.path.unlink()
