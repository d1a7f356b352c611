"""Parent against child, from boxes to full-size masks: what decides about new weights."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mal_core.coco import Annotation, Dataset
from mal_core.evaluate import InstanceScore, by_category, score_instances, summarise
from mal_core.files import write_whole
from mal_core.material import Material
from mal_core.metrics import mean, paired_bootstrap
from mal_core.predictor import Predictor

Event = Mapping[str, Any]
Scores = Sequence[InstanceScore]


def judge(
    parent: Predictor, child: Predictor, material: Material, pictures: Path
) -> Iterator[Event]:
    """Measure both on the held-out images and on the probe.

    Args:
        parent: the weights that the child started from.
        child: the new weights, as they will be used.
        material: says by what.
        pictures: where to write, for each held-out instance, both masks and their IoU: a JSON list
            of {annotation_id, image_id, category_id, bbox, iou_before, iou_after, before, after}.

    Yields:
        "measure" {done, total}, then "judged"; see `finetune`.

    Raises:
        BadImage: an image is missing or of another size.
        OSError: the file cannot be written.
    """
    total, done = 2 * (material.n_held_out + material.n_probe), 0
    sets = [(material.held_out, material.folder)]
    if material.probe is not None:
        sets.append((material.probe.dataset, material.probe.folder))
    found: list[Scores] = []
    for dataset, folder in sets:
        for predictor in (parent, child):
            scores: list[InstanceScore] = []
            for part in score_instances(predictor, dataset, folder):
                scores += part
                done += len(part)
                yield {"event": "measure", "done": done, "total": total}
            found.append(scores)
    before, after, *probed = found
    rows = _rows(material.held_out.annotations, before, after)
    write_whole(pictures, json.dumps(rows).encode())
    means = [mean(score.iou for score in scores) for scores in probed]
    probe = {"before": means[0], "after": means[1], "n": material.n_probe} if means else None
    yield {"event": "judged", **_figures(material.held_out, before, after), "probe": probe}


def _figures(held_out: Dataset, before: Scores, after: Scores) -> Mapping[str, Any]:
    """What the held-out instances say; nothing where there are none."""
    if not before:
        names = ("before", "after", "gain", "boundary_gain")
        return {**dict.fromkeys(names), "categories": {}}
    return {
        "before": summarise(before).to_dict(),
        "after": summarise(after).to_dict(),
        "gain": _gain("iou", before, after),
        "boundary_gain": _gain("boundary_iou", before, after),
        "categories": _categories(held_out, before, after),
    }


def _gain(name: str, before: Scores, after: Scores) -> Mapping[str, Any]:
    """The mean difference of an IoU, and its 95 % interval over the images."""
    pairs = zip(before, after, strict=True)
    differences = [getattr(new, name) - getattr(old, name) for old, new in pairs]
    return asdict(paired_bootstrap(differences, [score.image_id for score in before]))


def _categories(held_out: Dataset, before: Scores, after: Scores) -> Mapping[str, Any]:
    names = {category.id: category.name for category in held_out.categories}
    old, new = by_category(before), by_category(after)
    counts = {key: sum(score.category_id == key for score in before) for key in old}
    return {names[key]: {"before": old[key], "after": new[key], "n": counts[key]} for key in old}


def _rows(
    annotations: Sequence[Annotation], before: Scores, after: Scores
) -> Sequence[Mapping[str, Any]]:
    boxes = {annotation.id: annotation.box for annotation in annotations}
    rows = []
    for old, new in zip(before, after, strict=True):
        x0, y0, x1, y1 = boxes[old.annotation_id]
        rows.append(
            {
                "annotation_id": old.annotation_id,
                "image_id": old.image_id,
                "category_id": old.category_id,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iou_before": old.iou,
                "iou_after": new.iou,
                "before": old.answer.to_coco(),
                "after": new.answer.to_coco(),
            }
        )
    return rows
