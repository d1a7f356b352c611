"""The network equals its specification: the drawn cases that came with the weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mal_core.config import CropConfig, ModelConfig
from mal_core.geometry import CPU, Crop
from mal_core.masks import decode
from mal_core.model import normalise
from mal_core.predictor import Predictor
from mal_core.prompts import prompt_planes
from mal_core.refine import RefineConfig

CASES = ["centre", "border", "strokes", "small"]
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def parity() -> Arrays:
    with np.load(Path(__file__).parent / "data" / "parity.npz", allow_pickle=False) as file:
        return dict(file)


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("case", CASES)
def test_the_network_gives_the_reference_logits(
    predictor: Predictor, parity: Arrays, case: str
) -> None:
    crop, planes = (torch.from_numpy(parity[f"{case}/{n}"])[None] for n in ("crop", "prompts"))
    with torch.inference_mode():
        coarse, fine = predictor.checkpoint.model(crop, planes)
    assert np.abs(coarse[0].numpy() - parity[f"{case}/logits4"]).max() < 1e-3
    assert np.abs(fine[0].numpy() - parity[f"{case}/logits2"]).max() < 1e-3


@pytest.mark.parametrize("case", CASES)
def test_a_box_becomes_the_reference_crop_and_box_plane(parity: Arrays, case: str) -> None:
    crop = Crop.around(tuple(map(float, parity[f"{case}/box"])), 0.2)
    pixels, valid = crop.apply(parity[f"{case}/image"], CropConfig())
    got = normalise(pixels[None], valid[None])[0].numpy()
    assert np.abs(got - parity[f"{case}/crop"]).max() < 1e-3
    assert np.array_equal(prompt_planes(crop, 256)[0].numpy(), parity[f"{case}/prompts"][0])


@pytest.mark.parametrize("case", [c for c in CASES if c != "strokes"])
@pytest.mark.parametrize(("threshold", "name"), [(None, "mask"), (0.5, "mask_thr05")])
def test_the_full_size_mask_equals_the_reference(
    predictor: Predictor, parity: Arrays, case: str, threshold: float | None, name: str
) -> None:
    bare = Predictor(predictor.checkpoint, CPU, RefineConfig(method="none"))
    answer = bare.predict(parity[f"{case}/image"], [tuple(parity[f"{case}/box"])])
    mask = decode(answer.masks(threshold)[0])
    assert mask_iou(mask, parity[f"{case}/{name}"]) >= 0.999


def test_the_bundled_file_is_the_one_its_card_describes(predictor: Predictor) -> None:
    card = Path(__file__).resolve().parents[2] / "weights" / "README.md"
    assert predictor.checkpoint.sha256 in card.read_text(encoding="utf-8")
    assert predictor.checkpoint.model.config == ModelConfig()
    assert (predictor.checkpoint.crop, predictor.checkpoint.threshold) == (CropConfig(), 0.4)
