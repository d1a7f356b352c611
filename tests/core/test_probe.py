"""The probe: masks on scikit-image's photos that new weights should not unlearn."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from scipy import ndimage

from mal_core import coco
from mal_core.coco import Dataset
from mal_core.dataset import labelled, load_image
from mal_core.evaluate import score_instances
from mal_core.masks import decode
from mal_core.predictor import Predictor

PROBE = Path(__file__).parent.parent.parent / "weights" / "probe.json"
PHOTOS = Path(skimage.data.__file__).parent
LEAST_IOU = 0.90  # of the bundled weights; 0.914 when the probe was made


@pytest.fixture(scope="module")
def probe() -> Dataset:
    return coco.read(PROBE)


def test_every_annotation_is_the_mask_of_one_object(probe: Dataset) -> None:
    masks = [a for _, annotations in labelled(probe) for a in annotations]
    assert len(masks) == len(probe.annotations) >= 30
    assert all(a.rle is not None and a.box == a.rle.box for a in masks)


def test_it_is_varied(probe: Dataset) -> None:
    names = {category.id: category.name for category in probe.categories}
    counts = Counter(names[a.category_id] for a in probe.annotations)
    assert set(counts) == set(names.values())
    assert len(counts) >= 6
    assert max(counts.values()) <= len(probe.annotations) / 3
    areas = [a.rle.area for a in probe.annotations if a.rle is not None]
    assert min(areas) < 32**2
    assert max(areas) > 96**2


def test_its_photos_come_with_scikit_image_in_the_size_it_says(probe: Dataset) -> None:
    for record in probe.images:
        assert load_image(PHOTOS, record).shape == (record.height, record.width, 3)


def test_its_outlines_lie_on_edges_of_the_photos(probe: Dataset) -> None:
    """A probe of another version of the photos, or shifted, would not."""
    better = []
    for record, annotations in labelled(probe):
        edges = ndimage.gaussian_gradient_magnitude(load_image(PHOTOS, record).mean(2), 1.0)
        for annotation in annotations:
            assert annotation.rle is not None
            border = outline(decode(annotation.rle))
            beside = [np.roll(border, shift, axis) for axis in (0, 1) for shift in (-6, 6)]
            better.append(edges[border].mean() > np.mean([edges[b].mean() for b in beside]))
    assert np.mean(better) > 0.9


@pytest.mark.slow
def test_the_bundled_weights_know_the_probe(probe: Dataset, predictor: Predictor) -> None:
    scores = [s for part in score_instances(predictor, probe, PHOTOS) for s in part]
    assert np.mean([score.iou for score in scores]) > LEAST_IOU


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask's outermost pixels that are not at the image's border."""
    inner: NDArray[np.bool_] = ndimage.binary_erosion(mask, border_value=True)
    return mask & ~inner
