"""A fine-tune keeps its best epoch, leaves its parent alone, and writes whole files or none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mal_core import checkpoint
from mal_core import tuning as tunings
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.dataset import exact_examples, stack
from mal_core.errors import BadImage, InputError, TrainingError
from mal_core.evaluate import score_instances
from mal_core.features import FeatureCache
from mal_core.finetune import Event, finetune
from mal_core.finetune_config import FinetuneConfig
from mal_core.masks import RLE, iou
from mal_core.material import Material
from mal_core.metrics import paired_bootstrap
from mal_core.pool import Source
from mal_core.predictor import Predictor
from mal_core.tuning import Tuning

Draw = Callable[[int, int], Dataset]
State = dict[str, Tensor]
CPU = torch.device("cpu")
QUICK = FinetuneConfig(
    epochs=2,
    epoch_steps=1,
    patience=0,
    batch_size=4,
    tuned_blocks=1,
    decoder_rate=1e-3,
    encoder_rate=1e-3,
    distil_crops=4,
)


@pytest.fixture
def material(draw_dataset: Draw, tmp_path: Path) -> Material:
    return Material(draw_dataset(0, 3), draw_dataset(3, 2), tmp_path / "images")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder / "new.safetensors"


def run(
    parent: Checkpoint, material: Material, out: Path, config: FinetuneConfig = QUICK
) -> list[Event]:
    return list(finetune(parent, material, out, config, CPU))


def crop_iou(tuned: Checkpoint, material: Material) -> float:
    """Mean IoU on the held-out crops, straight through the whole network."""
    examples = list(exact_examples(material.held_out, material.folder, tuned.crop))
    batch = stack(examples)
    with torch.inference_mode():
        answers = tuned.model(batch.crop, batch.planes)[1].sigmoid() > tuned.threshold
    truths = batch.target > 0.5
    both, either = (answers & truths).sum((1, 2)), (answers | truths).sum((1, 2))
    return float((both / either).mean())


def script_scores(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[State]:
    """Let held-out scores be as given, and keep the weights that each was given to."""
    seen: list[State] = []
    given = iter(scores)

    def score(self: Tuning, _: FeatureCache) -> float:
        state = self._model.state_dict()
        seen.append({name: value.half().float() for name, value in state.items()})
        return next(given)

    monkeypatch.setattr(Tuning, "_held_out_iou", score)
    return seen


def test_events_come_in_order(tiny: Checkpoint, material: Material, out: Path) -> None:
    events = run(tiny, material, out)
    kinds = ["cache"] * 5 + ["epoch"] * 3 + ["measure"] * 4 + ["judged", "saved"]
    assert [event["event"] for event in events] == kinds
    caches, epochs, measures = (
        [event for event in events if event["event"] == kind]
        for kind in ("cache", "epoch", "measure")
    )
    assert [(e["done"], e["total"]) for e in caches] == [(n, 16) for n in (4, 8, 12, 16, 16)]
    assert [(e["epoch"], e["epochs"]) for e in epochs] == [(0, 2), (1, 2), (2, 2)]
    assert [(e["done"], e["total"]) for e in measures] == [(2, 8), (4, 8), (6, 8), (8, 8)]


def test_epoch_0_is_the_parent(tiny: Checkpoint, material: Material, out: Path) -> None:
    epochs = [event for event in run(tiny, material, out) if event["event"] == "epoch"]
    assert epochs[0]["loss"] is epochs[0]["eta_seconds"] is None
    assert epochs[0]["held_out_iou"] == pytest.approx(crop_iou(tiny, material), abs=0.01)
    assert all(event["loss"] > 0 for event in epochs[1:])
    assert epochs[1]["eta_seconds"] > epochs[2]["eta_seconds"] == 0


def test_the_last_event_names_the_file(tiny: Checkpoint, material: Material, out: Path) -> None:
    *_, judged, saved = run(tiny, material, out)
    loaded = checkpoint.load(out)
    assert saved["sha256"] == loaded.sha256
    assert (saved["n_train"], saved["n_boxes"]) == (6, 0)
    assert loaded.metadata["parent"] == tiny.sha256
    assert loaded.metadata["epochs"] == str(saved["best_epoch"])
    assert (loaded.threshold, loaded.crop) == (tiny.threshold, tiny.crop)
    assert set(judged["categories"]) == {"bright", "dark"}
    assert judged["before"]["n"] == judged["after"]["n"] == 4


def test_the_judge_compares_parent_and_child_on_the_held_out_images(
    tiny: Checkpoint, material: Material, out: Path
) -> None:
    *_, judged, _ = run(tiny, material, out)
    for key, weights in (("before", tiny), ("after", checkpoint.load(out))):
        parts = score_instances(Predictor(weights, CPU), material.held_out, material.folder)
        scores = [score for part in parts for score in part]
        assert judged[key]["instance_iou"] == pytest.approx(sum(s.iou for s in scores) / 4)
        bright = [score.iou for score in scores if score.category_id == 1]
        assert judged["categories"]["bright"][key] == pytest.approx(sum(bright) / 2)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        pytest.param([0.1, 0.5, 0.9, 0.2], 2, id="one-in-the-middle"),
        pytest.param([0.1, 0.2, 0.3, 0.4], 3, id="the-last"),
        pytest.param([0.9, 0.2, 0.3, 0.4], 0, id="the-parent"),
        pytest.param([0.4, 0.4, 0.4, 0.4], 0, id="a-tie-keeps-the-parent"),
        pytest.param([0.1, 0.4, 0.2, 0.4], 1, id="a-tie-keeps-the-earlier"),
    ],
)
def test_the_best_epoch_is_the_one_that_is_saved(
    tiny: Checkpoint,
    material: Material,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: list[float],
    best: int,
) -> None:
    seen = script_scores(monkeypatch, scores)
    events = run(tiny, material, out, replace(QUICK, epochs=3))
    saved = checkpoint.load(out).model.state_dict()
    assert events[-1]["best_epoch"] == best
    assert all(torch.equal(saved[name], value) for name, value in seen[best].items())
    others = [state for epoch, state in enumerate(seen) if epoch != best]
    name = "decoder.key.2.bias"
    assert not any(torch.equal(saved[name], state[name]) for state in others)


def test_the_saved_weights_score_as_their_epoch_did(
    tiny: Checkpoint, material: Material, out: Path
) -> None:
    events = run(tiny, material, out)
    best = next(e for e in events if e.get("epoch") == events[-1]["best_epoch"])
    assert crop_iou(checkpoint.load(out), material) == pytest.approx(best["held_out_iou"], abs=0.02)


@pytest.mark.parametrize("tuned", [0, 1, 3])
def test_only_the_decoder_and_the_last_blocks_change(
    tiny: Checkpoint, material: Material, out: Path, monkeypatch: pytest.MonkeyPatch, tuned: int
) -> None:
    script_scores(monkeypatch, [0.1, 0.2, 0.3])
    run(tiny, material, out, replace(QUICK, tuned_blocks=tuned))
    after = checkpoint.load(out).model.state_dict()
    free = ("decoder.", "encoder.norm.", *(f"encoder.blocks.{2 - k}." for k in range(tuned)))
    for name, value in tiny.model.state_dict().items():
        if not name.startswith(free):
            assert torch.equal(after[name], value.half().float()), name
    weights = ["decoder.key.2.weight", "decoder.val4.0.0.weight", "encoder.norm.weight"]
    weights += [f"encoder.blocks.{2 - k}.mlp.fc1.weight" for k in range(tuned)]
    for name in weights:
        assert not torch.equal(after[name], tiny.model.state_dict()[name].half().float()), name


def test_the_parent_is_not_touched(tiny: Checkpoint, material: Material, out: Path) -> None:
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    run(tiny, material, out)
    assert all(torch.equal(v, before[k]) for k, v in tiny.model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in tiny.model.parameters())
    assert not tiny.model.training


def test_nothing_is_left_but_the_new_file(tiny: Checkpoint, material: Material, out: Path) -> None:
    run(tiny, material, out)
    assert set(out.parent.iterdir()) == {out, pictures(out)}


def test_the_same_seed_gives_the_same_file(
    tiny: Checkpoint, material: Material, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for seed in (7, 7, 8):
        script_scores(monkeypatch, [0.1, 0.2, 0.3])
        hashes.append(run(tiny, material, out, replace(QUICK, seed=seed))[-1]["sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_other_corrections_give_another_file_even_where_the_parent_is_kept(
    tiny: Checkpoint, material: Material, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = replace(material, train=material.train.first(2))
    hashes = []
    for learnt in (material, fewer):
        script_scores(monkeypatch, [0.9, 0.2, 0.3])
        hashes.append(run(tiny, learnt, out)[-1]["sha256"])
    assert hashes[0] != hashes[1]


def test_a_run_leaves_the_caller_s_random_numbers_alone(
    tiny: Checkpoint, material: Material, out: Path
) -> None:
    before = torch.get_rng_state()
    run(tiny, material, out)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["cache", "epoch", "measure", "judged"])
def test_a_cancelled_run_leaves_the_old_file_alone(
    tiny: Checkpoint, material: Material, out: Path, kind: str
) -> None:
    out.write_bytes(b"old")
    events = iter(finetune(tiny, material, out, QUICK, CPU))
    assert isinstance(events, Iterator)
    while next(events)["event"] != kind:
        assert out.read_bytes() == b"old"
    events.close()  # type: ignore[attr-defined]
    assert out.read_bytes() == b"old"
    assert not list(out.parent.glob(".*"))  # no half-written file


def test_a_loss_that_is_not_finite_stops_the_run(
    tiny: Checkpoint, material: Material, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunings, "mask_losses", lambda *parts: parts[1].sum((1, 2)) * torch.nan)
    with pytest.raises(TrainingError, match="loss is not finite"):
        run(tiny, material, out)
    assert not out.exists()


def test_a_missing_image_stops_the_run(tiny: Checkpoint, material: Material, out: Path) -> None:
    (material.folder / "4.png").unlink()
    with pytest.raises(BadImage, match=r"cannot read 4\.png"):
        run(tiny, material, out)
    assert not out.exists()


def test_an_image_cannot_be_both_trained_on_and_held_out(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"both trained on and held out: \['2.png'\]"):
        Material(draw_dataset(0, 3), draw_dataset(2, 3), tmp_path)


def test_an_image_is_the_same_however_its_path_is_written(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    train = draw_dataset(0, 1)
    held_out = replace(train, images=[replace(train.images[0], file_name="./0.png")])
    with pytest.raises(TrainingError, match="both trained on and held out"):
        Material(train, held_out, tmp_path)


@pytest.mark.parametrize("how", ["no-images", "no-objects"])
def test_there_must_be_something_to_learn_from(
    draw_dataset: Draw, tmp_path: Path, how: str
) -> None:
    train = draw_dataset(0, 2)
    empty = train.first(0) if how == "no-images" else replace(train, annotations=[])
    with pytest.raises(TrainingError, match="at least one mask or box"):
        Material(empty, draw_dataset(2, 2), tmp_path)


def test_the_probe_tells_of_photos_that_nothing_reminded_of(
    draw_dataset: Draw, tmp_path: Path
) -> None:
    probe = Source(draw_dataset(4, 1), tmp_path)
    photos = [tmp_path / "4.png", tmp_path / "5.png"]
    with pytest.raises(InputError, match=r"to stay near the parent: \['4.png'\]"):
        Material(draw_dataset(0, 2), draw_dataset(2, 2), tmp_path, probe, photos)
    assert Material(draw_dataset(0, 2), draw_dataset(2, 2), tmp_path, probe, photos[1:]).photos


def without_masks(dataset: Dataset) -> Dataset:
    return replace(dataset, annotations=[replace(a, rle=None) for a in dataset.annotations])


def test_boxes_alone_teach_without_a_judge(tiny: Checkpoint, material: Material, out: Path) -> None:
    boxes = Material(without_masks(material.train), material.held_out.first(0), material.folder)
    events = run(tiny, boxes, out)
    *_, judged, saved = events
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["held_out_iou"] for event in epochs] == [None] * 3
    assert all(event["loss"] > 0 for event in epochs[1:])
    figures = {"before", "after", "gain", "boundary_gain", "probe"}
    assert all(judged[name] is None for name in figures)
    assert judged["categories"] == {}
    assert (saved["n_train"], saved["n_boxes"], saved["best_epoch"]) == (0, 6, 2)
    name = "decoder.key.2.bias"
    after = checkpoint.load(out).model.state_dict()[name]
    assert not torch.equal(after, tiny.model.state_dict()[name].half().float())


def test_masks_and_boxes_teach_together(tiny: Checkpoint, material: Material, out: Path) -> None:
    first, *others = material.train.annotations
    mixed = replace(material.train, annotations=[first, *(replace(a, rle=None) for a in others)])
    *_, saved = run(tiny, replace(material, train=mixed), out)
    assert (saved["n_train"], saved["n_boxes"]) == (1, 5)


def test_the_probe_is_measured_with_both(
    tiny: Checkpoint, material: Material, draw_dataset: Draw, out: Path
) -> None:
    probe = Source(draw_dataset(5, 2), material.folder)
    *_, last, judged, _ = run(tiny, replace(material, probe=probe), out)
    assert (last["done"], last["total"]) == (16, 16)
    assert judged["probe"]["n"] == 4
    for key, weights in (("before", tiny), ("after", checkpoint.load(out))):
        parts = score_instances(Predictor(weights, CPU), probe.dataset, probe.folder)
        ious = [score.iou for part in parts for score in part]
        assert judged["probe"][key] == pytest.approx(sum(ious) / 4)


def pictures(out: Path) -> Path:
    return out.with_name(out.name + ".compare.json")


def test_both_masks_of_each_held_out_instance_are_there_to_be_looked_at(
    tiny: Checkpoint, material: Material, out: Path
) -> None:
    *_, judged, _ = run(tiny, material, out)
    rows = json.loads(pictures(out).read_bytes())
    truths = {a.id: a for a in material.held_out.annotations}
    assert [row["annotation_id"] for row in rows] == list(truths)
    for row in rows:
        truth = truths[row["annotation_id"]]
        x0, y0, x1, y1 = truth.box
        assert row["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert (row["image_id"], row["category_id"]) == (truth.image_id, truth.category_id)
        for when in ("before", "after"):
            assert truth.rle is not None
            assert row[f"iou_{when}"] == iou(RLE.from_coco(row[when]), truth.rle)
    gains = [row["iou_after"] - row["iou_before"] for row in rows]
    expected = paired_bootstrap(gains, [row["image_id"] for row in rows])
    assert judged["gain"] == asdict(expected)
    assert judged["categories"]["bright"]["n"] == 2


def test_patience_ends_a_run_that_gains_nothing(
    tiny: Checkpoint, material: Material, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_scores(monkeypatch, [0.1, 0.3, 0.2, 0.3])
    events = run(tiny, material, out, replace(QUICK, epochs=9, patience=2))
    assert [e["epoch"] for e in events if e["event"] == "epoch"] == [0, 1, 2, 3]
    assert events[-1]["best_epoch"] == 1


def test_an_unfinished_run_is_not_begun_anew_by_mistake(
    tiny: Checkpoint, material: Material, out: Path
) -> None:
    events = iter(finetune(tiny, material, out, QUICK, CPU))
    while next(events).get("epoch") != 1:
        pass
    events.close()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"new\.safetensors\.run holds an unfinished run"):
        run(tiny, material, out)
    other = replace(QUICK, seed=1)
    with pytest.raises(TrainingError, match="the saved run differs in seed"):
        list(finetune(tiny, material, out, other, CPU, resume=True))


@pytest.mark.slow
def test_a_network_that_knows_nothing_learns_to_tell_discs(
    tiny: Checkpoint, draw_dataset: Draw, out: Path
) -> None:
    material = Material(draw_dataset(0, 16), draw_dataset(16, 6), out.parent.parent / "images")
    config = replace(QUICK, epochs=6, batch_size=8, decoder_rate=2e-3, pull=0.0)
    events = run(tiny, material, out, config)
    losses = [e["loss"] for e in events if e["event"] == "epoch" and e["epoch"]]
    judged = events[-2]
    assert losses[-1] < 0.5 * losses[0]
    assert judged["after"]["instance_iou"] > judged["before"]["instance_iou"] + 0.05
    assert judged["after"]["instance_iou"] > judged["after"]["box_iou"] + 0.05
