"""Phase 2's bench: its precision is COCO's, only masks differ between kinds, and runs resume."""

import contextlib
import io
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench import phase2
from bench.phase2_data import (
    Sample,
    agreement,
    draw_crop,
    draw_images,
    fill_boxes,
    label_images,
    load_samples,
    read_labels,
)
from bench.phase2_score import Detection, average_precision, detect, summarise, to_coco
from bench.phase2_train import Recipe, Run, rate_at
from mal_core import coco
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord
from mal_core.errors import BadDataset, TrainingError
from mal_core.masks import decode, encode
from mal_core.predictor import Predictor

Draw = Callable[[int, int], Dataset]
TINY = Recipe(
    stages=1, channels=16, anchor=16, crop=48, batch_size=2, regions=8, detections=5, save_every=2
)


def oracle(truth: Dataset, detections: list[Detection], kind: str, most: int) -> list[float]:
    """AP, AP50 and AP75 as pycocotools sums them up, of detections that were cut by hand."""
    groups: dict[tuple[int, int], list[Detection]] = {}
    for one in sorted(detections, key=lambda d: -d["score"]):
        groups.setdefault((one["image_id"], one["category_id"]), []).append(one)
    kept = [one for group in groups.values() for one in group[:most]]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = to_coco(truth)
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(kept), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:3]]


def draw_scores(random: np.random.Generator) -> tuple[Dataset, list[Detection]]:
    """Rectangles of two categories on four images, and detections that miss them by a little."""
    images = [ImageRecord(n, f"{n}.png", 180, 150) for n in range(1, 5)]
    annotations, detections = [], []
    for key in range(1, 41):
        x, y = int(random.integers(100)), int(random.integers(90))
        w, h = int(random.integers(5, 80)), int(random.integers(5, 60))
        rle = encode(np.ones((h, w), np.bool_), x0=x, y0=y, height=150, width=180)
        number, category = 1 + key % 4, int(random.integers(1, 3))
        annotations.append(Annotation(key, number, category, (x, y, x + w, y + h), rle))
        for _ in range(int(random.integers(3))):
            dx, dy = (int(value) for value in random.integers(-2, 3, 2))
            left, top = max(0, x + dx), max(0, y + dy)
            width, height = min(w, 180 - left), min(h, 150 - top)
            part = np.ones((height, width), np.bool_)
            found = encode(part, x0=left, y0=top, height=150, width=180)
            detections.append(
                {
                    "image_id": number,
                    "category_id": category if random.random() < 0.9 else 3 - category,
                    "bbox": [float(left), float(top), float(width), float(height)],
                    "score": float(random.random()),
                    "segmentation": found.to_coco(),
                }
            )
    return Dataset(
        images, [CategoryRecord(1, "a"), CategoryRecord(2, "b")], annotations
    ), detections


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("most", [2, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_precision_is_that_of_pycocotools(kind: str, most: int, seed: int) -> None:
    truth, detections = draw_scores(np.random.default_rng(seed))
    found = average_precision(truth, detections, kind, most)
    assert 0.05 < found.ap < found.ap50 < 1
    assert [found.ap, found.ap50, found.ap75] == pytest.approx(
        oracle(truth, detections, kind, most), abs=1e-6
    )


def test_the_truth_itself_has_precision_one_and_nothing_has_zero(draw_dataset: Draw) -> None:
    truth = draw_dataset(1, 2)
    perfect = [{**a, "score": 0.9} for a in to_coco(truth)["annotations"]]
    assert average_precision(truth, perfect).ap == pytest.approx(1)
    assert average_precision(truth, []).ap == 0


def test_a_category_without_truth_is_left_out_of_the_mean() -> None:
    table = np.full((10, 101, 2, 4, 3), 0.25)
    table[:, :, 1] = -1
    assert summarise(table).ap == 0.25
    assert summarise(np.full_like(table, -1)).ap == 0


def test_a_draw_of_images_is_repeated_and_keeps_their_instances(draw_dataset: Draw) -> None:
    data = draw_dataset(1, 6)
    drawn = draw_images(data, 3)
    assert drawn == draw_images(data, 3)
    assert len(drawn.images) == 3
    assert len(drawn.annotations) == 6
    assert len(draw_images(data, None).images) == 6


def test_crowds_and_boxes_without_masks_are_not_drawn(draw_dataset: Draw) -> None:
    data = draw_dataset(1, 1)
    first, second = data.annotations
    mixed = replace(data, annotations=[replace(first, iscrowd=True), replace(second, rle=None)])
    assert draw_images(mixed, None).images == []


def test_labels_change_masks_only_and_are_made_once(
    draw_dataset: Draw, tmp_path: Path, tiny: Checkpoint
) -> None:
    data, folder = draw_dataset(1, 3), tmp_path / "labels"
    predictor = Predictor(tiny, torch.device("cpu"))
    assert len(list(label_images(predictor, data, tmp_path / "images", folder))) == 3
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "2.json").unlink()
    list(label_images(predictor, data, tmp_path / "images", folder))
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert [name for name in sorted(after) if after[name] == before[name]] == ["1.json", "3.json"]
    labels = read_labels(data, folder)
    assert [replace(a, rle=None) for a in labels.annotations] == [
        replace(a, rle=None) for a in data.annotations
    ]
    picture = load_samples(data, tmp_path / "images", 512)[0].image
    boxes = [a.box for a in data.annotations[:2]]
    masks = predictor.predict(picture.permute(1, 2, 0).contiguous().numpy(), boxes).masks()
    assert [a.rle for a in labels.annotations[:2]] == masks


def test_labels_that_are_missing_are_refused_by_image(draw_dataset: Draw, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="no whole labels of image 1"):
        read_labels(draw_dataset(1, 1), tmp_path)


def test_a_filled_box_covers_the_pixels_its_box_touches(draw_dataset: Draw) -> None:
    data = draw_dataset(1, 1)
    first = replace(data.annotations[0], box=(3.2, 4.0, 9.1, 12.5))
    filled = fill_boxes(replace(data, annotations=[first])).annotations[0]
    assert filled.rle is not None
    assert filled.rle.box == (3, 4, 10, 13)
    assert filled.rle.area == 7 * 9
    assert agreement(data, data) == 1
    assert 0.7 < agreement(data, fill_boxes(data)) < 0.85  # an ellipse fills pi / 4 of its box


def test_a_crop_holds_what_the_image_has_there_and_may_be_mirrored(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    data = draw_dataset(1, 1)
    (sample,) = load_samples(data, tmp_path / "images", 512)
    whole = torch.stack(
        [torch.from_numpy(decode(a.rle).copy()) for a in data.annotations if a.rle is not None]
    )
    seen = set()
    for seed in range(8):
        image, target = draw_crop(sample, 64, np.random.default_rng(seed))
        mirrored = not torch.equal(image, sample.image.float() / 255)
        seen.add(mirrored)
        expected = whole.flip(-1) if mirrored else whole
        assert torch.equal(target["masks"].bool(), expected)
        for box, mask in zip(target["boxes"].int().tolist(), target["masks"], strict=True):
            rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
            tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert box == [int(value) for value in tight]
    assert seen == {True, False}


def test_a_small_crop_cuts_boxes_and_masks_alike_and_drops_slivers() -> None:
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [19.0, 0.0, 40.0, 40.0]])
    full = (np.ones((40, 40), np.bool_), 0, 0)
    sample = Sample(image, boxes, torch.tensor([1, 2]), [full, (full[0][:, 19:], 19, 0)])
    sizes = set()
    for seed in range(40):
        _, target = draw_crop(sample, 20, np.random.default_rng(seed))
        wide = (target["boxes"][:, 2] - target["boxes"][:, 0]).tolist()
        assert wide == target["masks"].any(1).sum(1).tolist()
        assert min(wide) >= 3
        sizes.add(len(wide))
    assert sizes == {1, 2}


def test_the_masks_do_not_change_what_is_drawn(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(1, 1)
    human, filled = (
        load_samples(one, tmp_path / "images", 512)[0] for one in (data, fill_boxes(data))
    )
    for seed in range(5):
        first, target = draw_crop(human, 40, np.random.default_rng(seed))
        second, other = draw_crop(filled, 40, np.random.default_rng(seed))
        assert torch.equal(first, second)
        assert torch.equal(target["boxes"], other["boxes"])
        assert torch.equal(target["labels"], other["labels"])
        assert (target["masks"] <= other["masks"]).all()


def test_a_large_image_is_shrunk_with_its_boxes_and_masks(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    (sample,) = load_samples(draw_dataset(1, 1), tmp_path / "images", 32)
    assert sample.image.shape == (3, 32, 32)
    for (mask, x0, y0), box in zip(sample.masks, sample.boxes.tolist(), strict=True):
        assert np.abs(np.array(box) - [x0, y0, x0 + mask.shape[1], y0 + mask.shape[0]]).max() <= 1


def weights_of(run: Run) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    samples = load_samples(draw_dataset(1, 3), tmp_path / "images", 64)
    whole = Run(tmp_path / "whole", TINY, 2, 0, 5)
    losses = list(whole.train(samples))
    killed = Run(tmp_path / "killed", TINY, 2, 0, 5).train(samples)
    assert [next(killed) for _ in range(3)] == losses[:3]
    killed.close()
    again = Run(tmp_path / "killed", TINY, 2, 0, 5)
    assert again.step == 2  # what was saved last
    assert list(again.train(samples)) == losses[2:]
    assert torch.equal(weights_of(again), weights_of(whole))
    assert list(Run(tmp_path / "killed", TINY, 2, 0, 5).train(samples)) == []


def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    Run(tmp_path / "run", TINY, 2, 0, 5).save()
    with pytest.raises(TrainingError, match="of another run"):
        Run(tmp_path / "run", TINY, 2, 0, 6)


def test_a_loss_that_is_not_finite_stops_the_run_by_its_step(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    samples = load_samples(draw_dataset(1, 1), tmp_path / "images", 64)
    run = Run(tmp_path / "run", TINY, 2, 0, 5)
    with torch.no_grad():
        next(run.network.roi_heads.mask_predictor.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 0 of run is not finite"):
        list(run.train(samples))
    assert not (tmp_path / "run").exists()


def test_the_rate_climbs_and_then_falls_to_nothing() -> None:
    rates = [rate_at(step, 100, 0.1) for step in range(101)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10] == 1
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0)


def test_detections_are_of_the_images_own_size(draw_dataset: Draw, tmp_path: Path) -> None:
    data = draw_dataset(7, 2)
    network = Run(tmp_path / "run", TINY, 2, 0, 1).network
    parts = list(detect(network, data, tmp_path / "images", 32))
    assert [{one["image_id"] for one in part} for part in parts] == [{7}, {8}]
    for one in parts[0]:
        assert one["segmentation"]["size"] == [64, 64]
        assert one["category_id"] in (1, 2)
    assert max(one["bbox"][0] + one["bbox"][2] for part in parts for one in part) > 33


def test_the_script_prints_a_table_and_goes_on_where_it_was(
    draw_dataset: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Checkpoint
) -> None:
    coco.save(draw_dataset(1, 3), tmp_path / "data.json")
    (tmp_path / "weights").write_bytes(b"tiny")
    monkeypatch.setattr(
        phase2.Predictor, "load", lambda _: Predictor(tiny, torch.device("cpu")), raising=True
    )
    pair = [str(tmp_path / "data.json"), str(tmp_path / "images")]
    flags = "--seeds 2 --steps 2 --stages 1 --channels 16 --crop 48 --batch-size 2 --regions 8"
    line = ["phase2.py", *pair, "--eval-data", pair[0], "--eval-images", pair[1], *flags.split()]
    line += ["--detections", "5", "--weights", str(tmp_path / "weights")]
    line += ["--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", line)
    first, second = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(first):
        phase2.main()
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["steps"] == 2
    monkeypatch.setattr(Run, "_take_step", None)  # nothing is left to train
    with contextlib.redirect_stdout(second):
        phase2.main()
    table = [text for text in first.getvalue().splitlines() if text.startswith("|")]
    assert [row.split("|")[1].strip() for row in table[2:]] == ["human", "mal", "box"]
    assert [text for text in second.getvalue().splitlines() if text.startswith("|")] == table
    monkeypatch.setattr("sys.argv", [*line, "--crop", "40"])
    with pytest.raises(TrainingError, match=r"other settings: .*recipe"):
        phase2.main()


def test_the_table_gives_mean_spread_and_the_ratio_of_each_seed() -> None:
    def result(ap: float) -> dict[str, float]:
        return dict.fromkeys(phase2.MEASURES, ap)

    results = {("human", 0): result(0.4), ("human", 1): result(0.5)}
    results |= {("mal", 0): result(0.3), ("mal", 1): result(0.45)}
    results |= {("box", 0): result(0.2), ("box", 1): result(0.2)}
    rows = phase2.to_table(results, 2)
    assert rows[3].startswith("| mal | 37.5 ± 10.6 |")
    assert rows[3].endswith("| 0.825 ± 0.106 |")
    assert rows[2].endswith("| 1.000 ± 0.000 |")
