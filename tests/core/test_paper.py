"""The paper's network: its decoder against the equations, its scales, its encoder, its file."""

import hashlib
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from mal_core import checkpoint
from mal_core.checkpoint import Checkpoint
from mal_core.config import CropConfig, ModelConfig
from mal_core.decoder import dot
from mal_core.encoder import ConvStem, TimmEncoder, resize_positions
from mal_core.errors import CheckpointError, TrainingError
from mal_core.finetune import finetune
from mal_core.finetune_config import FinetuneConfig
from mal_core.geometry import Image
from mal_core.losses import mask_losses
from mal_core.masks import decode
from mal_core.material import Material
from mal_core.model import MAL
from mal_core.paper import PaperDecoder, box_scale
from mal_core.predictor import Predictor
from mal_core.prompts import Stroke

PAPER = ModelConfig(design="paper", backbone="vit_mini_patch16_224", crop_size=64)
AREAS = (1023.0, 1024.0, 1025.0, 9215.0, 9216.0, 9217.0)
CPU = torch.device("cpu")


@pytest.fixture
def paper() -> Checkpoint:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MAL(PAPER).eval()
    notes = {"threshold": "0.1"}
    return Checkpoint(model, CropConfig.of(PAPER), 0.1, "0" * 64, notes)


@pytest.fixture
def decoder() -> PaperDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PaperDecoder(8)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(6, 8, 4, 4, generator=torch.Generator().manual_seed(1))


def crops(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def reference(decoder: PaperDecoder, features: Tensor, scale: float) -> Tensor:
    """One crop's (8, 4, 4) features -> (16, 16), straight from the equations."""
    weights = {name: value.detach() for name, value in decoder.state_dict().items()}
    mean = torch.stack([channel.sum() / 16 for channel in features])
    hidden = (weights["key.0.weight"] @ mean + weights["key.0.bias"]).clamp(min=0)
    key = weights["key.2.weight"] @ hidden + weights["key.2.bias"]
    maps = features[None]
    if scale != 1:
        maps = F.interpolate(maps, scale_factor=scale, mode="bilinear")
    for n in range(4):
        if n == 3:
            maps = F.interpolate(maps, scale_factor=2.0, mode="bilinear")
        weight, bias = weights[f"values.{n}.weight"], weights[f"values.{n}.bias"]
        maps = F.conv2d(maps, weight, bias, padding=1).clamp(min=0)
    logits = torch.zeros(maps.shape[2:])
    for channel in range(256):
        logits += key[channel] * maps[0, channel]
    return F.interpolate(logits[None, None], size=(16, 16), mode="bilinear")[0, 0]


@pytest.mark.parametrize(
    ("area", "scale"),
    [(1.0, 0.5), *zip(AREAS, (0.5, 1, 1, 1, 1, 2), strict=True), (1e6, 2.0)],
)
@torch.no_grad()
def test_logits_are_the_key_times_the_values_at_the_scale_of_the_box(
    decoder: PaperDecoder, features: Tensor, area: float, scale: float
) -> None:
    logits = decoder(features[:1], torch.tensor([area]))[0]
    assert torch.allclose(logits, reference(decoder, features[0], scale), atol=1e-5)


def test_both_bounds_belong_to_the_middle_scale() -> None:
    assert box_scale(torch.tensor(AREAS)).tolist() == [0, 1, 1, 1, 1, 2]


@torch.no_grad()
def test_no_area_falls_between_the_scales(decoder: PaperDecoder, features: Tensor) -> None:
    same = features[:1].expand(6, -1, -1, -1)
    logits = decoder(same, torch.tensor(AREAS))
    assert logits.isfinite().all()
    assert (logits.std((1, 2)) > 0).all()
    for near in logits[1:]:  # one object, about as large: nearly one answer
        assert torch.nn.functional.cosine_similarity(near.ravel(), logits[1].ravel(), 0) > 0.8


@torch.no_grad()
def test_crops_of_all_scales_together_are_as_one_by_one(
    decoder: PaperDecoder, features: Tensor
) -> None:
    areas = torch.tensor(AREAS)[[5, 0, 2, 4, 1, 3]]
    alone = [decoder(f[None], a[None])[0] for f, a in zip(features, areas, strict=True)]
    assert torch.allclose(decoder(features, areas), torch.stack(alone), atol=1e-5)


@torch.no_grad()
def test_without_areas_all_boxes_are_of_the_middle_scale(
    decoder: PaperDecoder, features: Tensor
) -> None:
    assert torch.equal(decoder(features), decoder(features, torch.full((6,), 5000.0)))


@pytest.mark.parametrize("shape", [(5,), (7,), (6, 1), ()])
def test_areas_that_are_not_one_a_crop_are_refused(
    decoder: PaperDecoder, features: Tensor, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"areas must be \(6,\)"):
        decoder(features, torch.ones(shape))


def test_the_sum_of_256_products_is_taken_in_full_precision() -> None:
    values, key = torch.full((1, 256, 2, 2), 30.1), torch.full((1, 256), 30.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = dot(values, key)
    assert product.dtype == torch.float32
    assert product.flatten().tolist() == pytest.approx([256 * 30.1**2] * 4, rel=1e-5)
    half = dot(values.half(), key.half())
    assert half.isfinite().all()


@pytest.mark.parametrize("stem", ["conv", "patch"])
@torch.no_grad()
def test_the_encoder_is_timm_s_vit_without_its_class_token(stem: str) -> None:
    encoder = TimmEncoder(replace(PAPER, stem=stem)).eval()
    tokens = encoder.vit.forward_features(crops(2))  # (2, 1 + 16, 32)
    maps = encoder(crops(2))
    assert maps.shape == (2, 32, 4, 4)
    for row in range(4):
        for column in range(4):
            assert torch.equal(maps[:, :, row, column], tokens[:, 1 + 4 * row + column])


def test_the_patch_stem_leaves_timm_s_vit_as_it_is() -> None:
    vit = timm.create_model("vit_mini_patch16_224", img_size=64, num_classes=0)
    encoder = TimmEncoder(replace(PAPER, stem="patch"))
    assert encoder.vit.state_dict().keys() == vit.state_dict().keys()


def test_the_convolutional_stem_has_the_published_layers() -> None:
    stem, widths = ConvStem(192), (3, 24, 48, 96, 192)
    shapes = {name: tuple(value.shape) for name, value in stem.state_dict().items()}
    wanted: dict[str, tuple[int, ...]] = {}
    for n, (inputs, outputs) in enumerate(pairwise(widths)):
        wanted[f"{n}.0.weight"], wanted[f"{n}.0.bias"] = (outputs, inputs, 3, 3), (outputs,)
        wanted[f"{n}.1.weight"] = wanted[f"{n}.1.bias"] = (outputs,)
    wanted |= {"3.3.weight": (192, 192, 1, 1), "3.3.bias": (192,)}
    assert shapes == wanted
    assert all(stage[0].stride == (2, 2) and stage[1].num_groups == 1 for stage in stem)
    assert stem(crops(1)).shape == (1, 192, 4, 4)


def test_positions_on_their_own_grid_stay() -> None:
    positions = torch.randn(1, 1 + 16, 8)
    assert torch.equal(resize_positions(positions, 4, 1), positions)


def test_positions_are_resized_and_the_class_token_s_is_kept() -> None:
    rows = torch.linspace(0, 1, 14).repeat_interleave(14)
    positions = torch.cat([torch.tensor([9.0]), rows])[None, :, None]
    resized = resize_positions(positions, 28, 1)
    assert resized.shape == (1, 1 + 28 * 28, 1)
    assert resized[0, 0, 0] == 9
    grid = resized[0, 1:, 0].unflatten(0, (28, 28))
    assert (grid.diff(dim=0)[3:-3] > 0).all()
    assert grid.diff(dim=1).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(1, 18, 8), (1, 1, 8), (2, 17, 8), (17, 8), (1, 0, 8)])
def test_positions_of_no_square_grid_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positions must be"):
        resize_positions(torch.zeros(shape), 4, 1)


@pytest.mark.parametrize(
    "backbone",
    ["vit_nothing_patch16_224", "vit_relpos_small_patch16_224"],
    ids=["unknown", "other"],
)
def test_a_backbone_that_is_no_plain_vit_is_refused(backbone: str) -> None:
    config = replace(PAPER, backbone=backbone)
    with pytest.raises(ValueError, match=backbone):
        MAL(config)
    with pytest.raises(CheckpointError, match=backbone):
        checkpoint.build(config)


@torch.no_grad()
def test_the_network_gives_both_strides_and_reads_no_prompts(paper: Checkpoint) -> None:
    areas = torch.tensor(AREAS[:3])
    coarse, fine = paper.model(crops(3), torch.zeros(3, 4, 64, 64), areas)
    assert coarse.shape == (3, 16, 16)
    twice = F.interpolate(coarse[:, None], scale_factor=2.0, mode="bilinear")[:, 0]
    assert torch.equal(fine, twice)
    assert torch.equal(paper.model(crops(3), torch.ones(3, 4, 64, 64), areas)[1], fine)


@torch.no_grad()
def test_the_studio_design_reads_no_areas(tiny: Checkpoint) -> None:
    planes = torch.zeros(2, 4, 64, 64)
    with_areas = tiny.model(crops(2), planes, torch.tensor([1.0, 1e6]))
    assert torch.equal(tiny.model(crops(2), planes)[1], with_areas[1])


def test_every_weight_learns(paper: Checkpoint) -> None:
    model = paper.model.train()
    sum(part.square().mean() for part in model(crops(6), None, torch.tensor(AREAS))).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_the_predictor_gives_the_area_of_the_box_in_the_image(
    paper: Checkpoint, scene: Image
) -> None:
    seen: list[Tensor] = []
    paper.model.paper.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    boxes = [(10, 20, 42, 52), (0, 0, 320, 240), (300.5, 220, 400, 400)]
    Predictor(paper, CPU).predict(scene, boxes)
    assert torch.cat(seen).tolist() == [1024.0, 76800.0, 390.0]  # clipped to the image


def test_boxes_together_are_as_one_by_one(paper: Checkpoint, scene: Image) -> None:
    boxes = [(10, 20, 40, 50), (0, 0, 320, 240), (100, 60, 160, 120)]
    predictor = Predictor(paper, CPU)
    alone = [predictor.predict(scene, [box]).probs[0] for box in boxes]
    assert torch.allclose(predictor.predict(scene, boxes).probs, torch.stack(alone), atol=1e-5)


def test_strokes_cost_no_second_look_and_decide_where_they_are(
    paper: Checkpoint, scene: Image
) -> None:
    looks: list[int] = []
    paper.model.paper.register_forward_pre_hook(lambda _, inputs: looks.append(len(inputs[0])))
    strokes = [Stroke(((30.0, 30.0),), radius=4.0, adds=True),
               Stroke(((50.0, 60.0),), radius=4.0, adds=False)]  # fmt: skip
    marked = Predictor(paper, CPU).predict(scene, [(10, 20, 60, 70)], [strokes])
    mask = decode(marked.masks()[0])
    assert looks == [1]
    assert bool(mask[28:33, 28:33].all())
    assert not bool(mask[58:63, 48:53].any())


def test_a_saved_network_comes_back_with_its_crop_and_threshold(
    paper: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "paper.safetensors"
    told = checkpoint.save(paper.model, path, paper.metadata)
    loaded = checkpoint.load(path)
    assert told == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.model.config == PAPER
    assert (loaded.crop, loaded.threshold) == (CropConfig(size=64, margin=0.15, mirror=True), 0.1)
    found = loaded.model.state_dict()
    assert found.keys() == paper.model.state_dict().keys()
    for name, value in paper.model.state_dict().items():
        assert torch.equal(found[name], value.half().float()), name
    copy = tmp_path / "copy.safetensors"
    checkpoint.save(loaded.model, copy, loaded.metadata)
    assert copy.read_bytes() == path.read_bytes()


def test_the_margin_in_a_file_goes_before_the_design_s(paper: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "paper.safetensors"
    checkpoint.save(paper.model, path, {"eval_expand": "0.1"})
    assert checkpoint.load(path).crop.margin == 0.1


@pytest.mark.parametrize("missing", ["encoder.norm.bias", "decoder.values.3.weight"])
def test_a_file_without_one_of_its_tensors_is_refused(
    paper: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    path = tmp_path / "paper.safetensors"
    write = checkpoint.tensors_to_bytes
    monkeypatch.setattr(
        checkpoint,
        "tensors_to_bytes",
        lambda tensors, notes: write({k: v for k, v in tensors.items() if k != missing}, notes),
    )
    checkpoint.save(paper.model, path, {})
    with pytest.raises(CheckpointError, match=f"lacks 1 tensors: {missing}"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"backbone": "vit_nothing_patch16_224"}, id="unknown-backbone"),
        pytest.param({"backbone": "hf-hub:someone/something"}, id="backbone-of-the-network"),
        pytest.param({"backbone": ["vit_mini_patch16_224"]}, id="backbone-a-list"),
        pytest.param({"backbone": "vit_small_patch16_224"}, id="another-backbone"),
        pytest.param({"backbone": "vit_giant_patch16_gap_224"}, id="a-huge-backbone"),
        pytest.param({"stem": "patch"}, id="another-stem"),
        pytest.param({"stem": None}, id="no-stem"),
        pytest.param({"design": "other"}, id="unknown-design"),
        pytest.param({"design": ["paper"]}, id="design-a-list"),
        pytest.param({"design": "studio"}, id="the-other-design"),
        pytest.param({"img": 96}, id="another-grid"),
        pytest.param({"img": math.nan}, id="size-nan"),
    ],
)
def test_a_file_that_describes_another_network_is_refused(
    paper: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    path = tmp_path / "paper.safetensors"
    monkeypatch.setitem(checkpoint._FIXED, "paper", change)
    checkpoint.save(paper.model, path, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"paper\.safetensors") as caught:
        checkpoint.load(path)
    assert len(str(caught.value)) < 500


def test_a_fine_tune_of_the_paper_s_design_is_refused(paper: Checkpoint, tmp_path: Path) -> None:
    material = object.__new__(Material)  # never looked at
    out = tmp_path / "new.safetensors"
    with pytest.raises(TrainingError, match="studio design, got the paper's"):
        next(iter(finetune(paper, material, out, FinetuneConfig(), CPU)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_network_learns_a_few_masks_by_heart(paper: Checkpoint) -> None:
    model = paper.model.train()
    pictures = torch.zeros(3, 3, 64, 64)
    target = torch.zeros(3, 32, 32)
    for n, (low, high) in enumerate([(4, 20), (8, 28), (12, 24)]):
        target[n, low:high, low : high + 2] = 1
        pictures[n, :, 2 * low : 2 * high, 2 * low : 2 * high + 4] = 2
    areas = torch.tensor([500.0, 5000.0, 50000.0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for _ in range(60):
        loss = mask_losses(*model(pictures, None, areas), target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    answer = model.eval()(pictures, None, areas)[1] > 0
    truth = target > 0.5
    iou = (answer & truth).sum((1, 2)) / (answer | truth).sum((1, 2))
    assert iou.min() > 0.7
