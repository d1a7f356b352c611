"""A fine-tune that is killed, wherever it is, goes on to the very same weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mal_core import checkpoint, coco
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from tests.core.runs import Event, run, run_here

FLAGS = "--epochs 4 --epoch-steps 1 --patience 0 --views 1 --batch-size 2 --tuned-blocks 1"
RATES = "--distil-crops 4 --decoder-rate 1e-3 --encoder-rate 1e-3 --device cpu --threads 1 --json"


@pytest.mark.slow
def test_a_killed_fine_tune_ends_in_the_same_curve_and_file(
    tiny: Checkpoint,
    draw_dataset: Callable[[int, int], Dataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIGKILL while features are made, in an epoch, while judging; then to the end."""
    weights, images = tmp_path / "tiny.safetensors", tmp_path / "images"
    checkpoint.save(tiny.model, weights, tiny.metadata)
    train = draw_dataset(0, 3)
    first, *others = train.annotations
    train = replace(train, annotations=[replace(first, rle=None), *others])  # one by its box alone
    coco.save(train, tmp_path / "train.json")
    coco.save(draw_dataset(3, 2), tmp_path / "held-out.json")

    def finetune(out: Path, kill: tuple[str, int] | None = None) -> list[Event]:
        words = ["-m", "mal_core", "finetune", str(tmp_path / "train.json"), str(images)]
        words += ["--held-out", str(tmp_path / "held-out.json"), "--weights", str(weights)]
        words += ["--out", str(out), "--distil", str(images), "--resume"]
        words += [*FLAGS.split(), *RATES.split()]
        return run(words, kill[1], kill[0]) if kill else run_here(words, capsys)

    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    expected = finetune(whole)
    for kill in (("cache", 1), ("epoch", 3), ("measure", 1)):
        assert finetune(killed, kill)[-1]["event"] == kill[0]
        assert not killed.exists()
    events = finetune(killed)
    curves = [
        [(e["epoch"], e["loss"], e["held_out_iou"]) for e in told if e["event"] == "epoch"]
        for told in (expected, events)
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 5
    assert killed.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.glob("killed*")} == {
        killed.name,
        f"{killed.name}.compare.json",
    }
