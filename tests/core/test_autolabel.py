"""Label generation: what it adds and keeps, what fails alone, and that a killed run goes on."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as PilImage
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mal_core import coco
from mal_core.autolabel import Event, Order, label_file
from mal_core.calibrate import Calibration, features
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.config import LabelConfig
from mal_core.dataset import read_image
from mal_core.errors import BadDataset, InputError
from mal_core.geometry import Box, Image
from mal_core.labeller import CHUNK, Labeller, label_here
from mal_core.masks import RLE
from mal_core.predictor import Prediction, Predictor
from mal_core.refine import RefineConfig
from mal_core.shards import Shelf

Draw = Callable[[int, int], Dataset]
Document = dict[str, Any]
IMAGES = 3
THRESHOLD = 0.493  # splits what the untrained network says of a box
OTHER_EDGES = RefineConfig(method="meanfield")
CALIBRATION = Calibration(-0.7, 0.9, 0.6, 0.1)


@pytest.fixture
def small(tiny: Checkpoint) -> Predictor:
    return Predictor(tiny, torch.device("cpu"))


@pytest.fixture
def labeller(small: Predictor) -> Labeller:
    return Labeller(small, LabelConfig(THRESHOLD))


@pytest.fixture
def document(draw_dataset: Draw) -> Document:
    """Three images with two boxes each, without masks, with fields of other tools everywhere."""
    value: Document = json.loads(coco.write(draw_dataset(0, IMAGES)))
    value = {"info": {"year": 2026}, **value, "licenses": [{"id": 1}]}
    for part in ("images", "categories", "annotations"):
        for entry in value[part]:
            entry["mood"] = f"calm {entry['id']}"
    for entry in value["annotations"]:
        del entry["segmentation"], entry["area"], entry["iscrowd"]
    value["annotations"].reverse()  # not in the order of the images
    return value


@pytest.fixture
def write(document: Document, tmp_path: Path) -> Callable[[], Path]:
    """Write the document, as the test changed it."""

    def to_file() -> Path:
        path = tmp_path / "boxes.json"
        path.write_text(json.dumps(document))
        return path

    return to_file


def start(
    data: Path, labeller: Labeller, images: str = "images", **options: bool
) -> Iterator[Event]:
    """One run of this process into masks.json beside the data, two boxes a shard."""
    shelf = Shelf(data.with_name("masks.json.shards"))
    crew = partial(label_here, labeller, data.with_name(images), shelf)
    order = Order(data, data.with_name("masks.json"), shelf, size=2)
    return label_file(order, labeller, crew, **options)


def label(data: Path, labeller: Labeller, **options: bool) -> tuple[list[Any], Document]:
    """Run to the end; the events and the new file, which must be alone."""
    out = data.with_name("masks.json")
    events = list(start(data, labeller, **options))
    assert {p.name for p in data.parent.iterdir()} == {"boxes.json", "images", "masks.json"}
    return events, json.loads(out.read_bytes())


def by_id(document: Document) -> dict[int, Document]:
    return {entry["id"]: entry for entry in document["annotations"]}


def errors(events: list[Any]) -> dict[int, str]:
    return {e["annotation"]: e["reason"] for e in events if e["event"] == "error"}


def test_each_box_gets_the_predictor_s_mask_and_its_area(
    write: Callable[[], Path], labeller: Labeller
) -> None:
    data = write()
    _, masks = label(data, labeller)
    for record, annotations in coco.read(data).by_image():
        image = read_image(data.with_name("images") / record.file_name)
        answer = labeller.predictor.predict(image, [a.box for a in annotations])
        answer = replace(answer, threshold=THRESHOLD)
        for index, (annotation, rle) in enumerate(zip(annotations, answer.masks(), strict=True)):
            entry = by_id(masks)[annotation.id]
            assert entry["segmentation"] == rle.to_coco()
            assert entry["area"] == rle.area != (entry["bbox"][2] * entry["bbox"][3])
            assert entry["mal_flagged"] is answer.flagged(rle, index)
            assert "score" not in entry


def test_everything_else_stays_as_and_where_it_was(
    write: Callable[[], Path], labeller: Labeller, document: Document
) -> None:
    _, masks = label(write(), labeller)
    assert list(masks) == [*document, "mal_label"]
    added = {"segmentation", "area", "iscrowd", "mal_flagged"}
    for name, value in document.items():
        if name != "annotations":
            assert masks[name] == value
    for before, after in zip(document["annotations"], masks["annotations"], strict=True):
        assert {k: v for k, v in after.items() if k not in added} == before
        assert after.keys() - before.keys() == added
    assert masks["mal_label"]["weights"] == labeller.predictor.checkpoint.sha256


def test_the_events_count_images_and_boxes(write: Callable[[], Path], labeller: Labeller) -> None:
    events, masks = label(write(), labeller)
    assert events[0] == {"event": "start", "images": 3, "boxes": 6, "resumed": 0}
    assert [(e["done"], e["total"], e["file_name"], e["boxes"]) for e in events[1:-1]] == [
        (number + 1, 3, f"{number}.png", 2) for number in range(3)
    ]
    flagged = sum(entry["mal_flagged"] for entry in masks["annotations"])
    wanted = {"labelled": 6, "flagged": flagged, "failed": 0, "kept": 0}
    assert events[-1].items() >= wanted.items()
    assert masks["mal_label"].items() >= wanted.items()
    json.dumps(events)


def test_a_mask_that_fills_its_box_is_flagged(write: Callable[[], Path], small: Predictor) -> None:
    everything = Labeller(small, LabelConfig(0.0))
    events, masks = label(write(), everything)
    assert all(entry["mal_flagged"] for entry in masks["annotations"])
    assert events[-1]["flagged"] == 6


def test_masks_and_crowds_are_kept_and_masks_relabelled_on_demand(
    write: Callable[[], Path], small: Predictor, document: Document
) -> None:
    first, second, third = document["annotations"][:3]
    first["segmentation"] = [[10, 10, 20, 10, 20, 20]]
    first |= {"area": 7.5, "mal_flagged": True, "score": 0.25}
    second |= {"iscrowd": 1}
    third["score"] = 0.75  # a detector's, not ours
    events, masks = label(write(), Labeller(small, LabelConfig(THRESHOLD)))
    assert masks["annotations"][0] == first | {"iscrowd": 0}
    crowd = masks["annotations"][1]
    assert RLE.from_coco(crowd["segmentation"]).area == crowd["area"] == 0
    assert "mal_flagged" not in crowd
    assert masks["annotations"][2]["score"] == 0.75
    assert events[-1].items() >= {"labelled": 4, "kept": 2}.items()
    events, masks = label(write(), Labeller(small, LabelConfig(THRESHOLD, relabel=True)))
    new = masks["annotations"][0]
    assert new["area"] == RLE.from_coco(new["segmentation"]).area != 7.5
    assert "score" not in new
    assert events[-1].items() >= {"labelled": 5, "kept": 1}.items()


def test_a_second_run_tries_only_failures_again_and_no_empty_answer(
    write: Callable[[], Path], labeller: Labeller, document: Document, tmp_path: Path
) -> None:
    whole = by_id(label(write(), labeller)[1])
    picture = tmp_path / "images" / "1.png"
    content = picture.read_bytes()
    picture.unlink()
    _, masks = label(write(), labeller)
    assert sorted(k for k, e in by_id(masks).items() if "mal_error" in e) == [3, 4]
    picture.write_bytes(content)
    document |= masks
    events, again = label(write(), labeller)
    assert events[0]["boxes"] == 2
    assert by_id(again) == whole


def test_unusable_images_and_boxes_fail_alone_and_are_named(
    write: Callable[[], Path], labeller: Labeller, document: Document, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    (images / "0.png").write_bytes((images / "0.png").read_bytes()[:300])
    PilImage.new("RGB", (9, 9)).save(images / "1.png")
    boxes = by_id(document)
    boxes[5]["bbox"] = [3, 4, 0, 5]
    boxes[5]["area"] = 3
    document["annotations"].append(boxes[6] | {"id": 9, "bbox": [63.9999, 1, 5, 5]})
    whole = boxes[6].copy()
    events, masks = label(write(), labeller)
    reasons = errors(events)
    assert sorted(reasons) == [1, 2, 3, 4, 5, 9]
    assert "cannot read 0.png" in reasons[1] == reasons[2]
    assert "1.png is 9x9, but the data set says 64x64" in reasons[3] == reasons[4]
    assert "wider and higher than 0" in reasons[5]
    assert "holds no pixel" in reasons[9]
    new = by_id(masks)
    assert {key: new[key]["mal_error"] for key in reasons} == reasons
    assert str(tmp_path) not in json.dumps(masks)
    assert new[6].items() >= whole.items()
    assert new[6]["area"] > 0
    for key in reasons:
        assert RLE.from_coco(new[key]["segmentation"]).area == 0
        assert new[key].items() >= boxes.get(key, {}).items()
    assert events[-1].items() >= {"labelled": 1, "failed": 6}.items()


def test_a_run_without_a_single_mask_is_an_error_and_writes_nothing(
    write: Callable[[], Path], labeller: Labeller, tmp_path: Path
) -> None:
    data = write()
    with pytest.raises(InputError, match=r"none of 6 boxes got a mask; the first: cannot read 0"):
        list(start(data, labeller, "elsewhere"))
    assert {p.name for p in tmp_path.iterdir()} == {"boxes.json", "images"}


def test_a_file_without_boxes_comes_out_as_it_went_in(
    write: Callable[[], Path], labeller: Labeller, document: Document
) -> None:
    document["annotations"].clear()
    _, masks = label(write(), labeller)
    assert masks["annotations"] == []
    assert masks["images"] == document["images"]


def test_pycocotools_can_evaluate_with_the_new_file(
    write: Callable[[], Path], labeller: Labeller, document: Document, tmp_path: Path
) -> None:
    (tmp_path / "images" / "1.png").unlink()
    document["annotations"][0]["iscrowd"] = 1
    label(write(), labeller)
    truth = COCO(str(tmp_path / "masks.json"))
    answers = [a | {"score": 0.5} for a in truth.dataset["annotations"] if "mal_flagged" in a]
    judge = COCOeval(truth, truth.loadRes(answers), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert 0 < judge.stats[0] < 1  # the failed boxes are objects that nothing found


def test_scores_are_the_network_s_own_or_calibrated(
    write: Callable[[], Path], small: Predictor
) -> None:
    data = write()
    config = LabelConfig(THRESHOLD, score=True)
    raw, calibrated = (
        by_id(label(data, Labeller(small, config, c))[1]) for c in (None, CALIBRATION)
    )
    for record, annotations in coco.read(data).by_image():
        image = read_image(data.with_name("images") / record.file_name)
        answer = replace(small.predict(image, [a.box for a in annotations]), threshold=THRESHOLD)
        expected = CALIBRATION.apply(features(answer, answer.masks()))
        for index, annotation in enumerate(annotations):
            assert raw[annotation.id]["score"] == pytest.approx(answer.scores[index], abs=1e-4)
            assert calibrated[annotation.id]["score"] == pytest.approx(expected[index], abs=1e-4)


def test_a_crowded_image_is_answered_in_parts_as_if_at_once(
    write: Callable[[], Path],
    labeller: Labeller,
    document: Document,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = by_id(document)[1]
    document["annotations"] = [box | {"id": key} for key in range(CHUNK + 1)]
    asked: list[int] = []
    predict = Predictor.predict

    def count(self: Predictor, image: Image, boxes: Sequence[Box]) -> Prediction:
        asked.append(len(boxes))
        return predict(self, image, boxes)

    monkeypatch.setattr(Predictor, "predict", count)
    _, masks = label(write(), labeller)
    assert asked == [CHUNK, 1]
    assert len({json.dumps(e["segmentation"]) for e in masks["annotations"]}) == 1


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(
    write: Callable[[], Path], labeller: Labeller, tmp_path: Path
) -> None:
    data, out, shards = write(), tmp_path / "masks.json", tmp_path / "masks.json.shards"
    label(data, labeller)
    whole = out.read_bytes()
    for stop in range(IMAGES + 1):
        out.unlink(missing_ok=True)
        run = start(data, labeller)
        for _ in range(1 + stop):
            next(run)
        run.close()
        assert not out.exists()
        (shards / ".000000-0.json-draft").write_bytes(b"to")  # what a killed process leaves
        events = list(start(data, labeller))
        assert events[0]["resumed"] == stop
        numbers = [e["done"] for e in events if e["event"] == "image"]
        assert numbers == list(range(events[0]["resumed"] + 1, IMAGES + 1))
        assert out.read_bytes() == whole
        assert not shards.exists()


def test_images_that_failed_are_tried_again_when_a_run_goes_on(
    write: Callable[[], Path], labeller: Labeller, tmp_path: Path
) -> None:
    data, folder, out = write(), tmp_path / "images", tmp_path / "masks.json"
    label(data, labeller)
    whole = out.read_bytes()
    content = (folder / "0.png").read_bytes()
    (folder / "0.png").unlink()
    run = start(data, labeller)
    while next(run)["event"] != "image":
        pass
    run.close()
    (folder / "0.png").write_bytes(content)
    label(data, labeller)
    assert out.read_bytes() == whole


@pytest.mark.parametrize("change", ["data", "weights", "edges", "settings"])
def test_another_run_s_shards_are_refused(
    write: Callable[[], Path], labeller: Labeller, document: Document, change: str
) -> None:
    data = write()
    run = start(data, labeller)
    assert next(run)["event"] == "start"
    assert next(run)["event"] == "image"
    run.close()
    if change == "data":
        by_id(document)[1]["bbox"][0] += 1
        write()
    elif change == "weights":
        other = replace(labeller.predictor.checkpoint, sha256="1" * 64)
        labeller = replace(labeller, predictor=Predictor(other, torch.device("cpu")))
    elif change == "edges":
        predictor = Predictor(labeller.predictor.checkpoint, torch.device("cpu"), OTHER_EDGES)
        labeller = replace(labeller, predictor=predictor)
    else:
        labeller = replace(labeller, config=LabelConfig(threshold=0.3))
    with pytest.raises(InputError, match="other data, weights or settings"):
        list(start(data, labeller))
    label(data, labeller, restart=True)


def test_two_runs_cannot_write_one_file(write: Callable[[], Path], labeller: Labeller) -> None:
    data = write()
    run = start(data, labeller)
    next(run)
    with pytest.raises(InputError, match="another run is writing"):
        next(start(data, labeller))
    assert list(run)[-1]["labelled"] == 6


def test_data_that_change_under_way_are_refused(
    write: Callable[[], Path], labeller: Labeller, document: Document, tmp_path: Path
) -> None:
    data, out = write(), tmp_path / "masks.json"
    run = start(data, labeller)
    next(run)
    document["info"] = "another"
    write()
    with pytest.raises(BadDataset, match=r"boxes\.json changed while it was being labelled"):
        list(run)
    assert not out.exists()


def test_a_failed_write_leaves_the_old_file_and_the_shards(
    write: Callable[[], Path], labeller: Labeller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write(), tmp_path / "masks.json"
    out.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("mal_core.merge.move_whole", fail)
        with pytest.raises(OSError, match="disk full"):
            list(start(data, labeller))
    assert out.read_text() == "old"
    events, _ = label(data, labeller)
    assert events[0]["resumed"] == IMAGES


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold"):
        LabelConfig(threshold=1.5)
