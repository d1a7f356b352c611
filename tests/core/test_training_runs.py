"""Training as a program: kills, resumption, bad images, refusals, two processes."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mal_core import coco
from mal_core.__main__ import main
from mal_core.coco import Dataset
from tests.core import runs

Draw = Callable[[int, int], Dataset]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(draw_dataset: Draw, tmp_path: Path) -> tuple[Path, Path]:
    path = tmp_path / "data.json"
    coco.save(draw_dataset(0, 3), path)
    return path, tmp_path / "images"


def train(data: tuple[Path, Path], out: Path, *more: str) -> int:
    words = runs.command(*data, out, "--steps", "2", *more)
    return main(words[2:])


@pytest.mark.slow
@pytest.mark.soak
def test_a_killed_run_goes_on_along_the_same_curve(
    data: tuple[Path, Path],
    tmp_path: Path,
    capsys: Capture,
    scale: Callable[[int, int], int],
    tell: Callable[[str], None],
) -> None:
    kills, steps, chance = scale(1, 20), scale(6, 60), random.Random(0)
    more = ["--steps", str(steps), "--threads", "1"]
    command = runs.command(*data, tmp_path / "whole.safetensors", *more)
    whole = runs.run_here(command, capsys)
    halted = runs.command(*data, tmp_path / "halted.safetensors", *more, "--resume")
    events: list[runs.Event] = []
    for _ in range(kills):
        events += runs.run(halted, kill_after=chance.randint(1, 3))
    events += runs.run_here(halted, capsys)
    assert runs.curve(events) == runs.curve(whole)
    assert len(runs.curve(whole)) == steps
    assert events[-1]["sha256"] == whole[-1]["sha256"]
    tell(f"{kills} kills in {steps} steps: the same losses and the same weights")


@pytest.mark.slow
def test_two_processes_compute_what_one_would(
    data: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    more = ["--steps", "3", "--threads", "1"]
    alone = runs.run_here(runs.command(*data, tmp_path / "alone.safetensors", *more), capsys)
    torchrun = [
        *("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29731"),
        *runs.command(*data, tmp_path / "pair.safetensors", *more),
    ]
    pair = runs.run(torchrun)
    losses = [list(runs.curve(events).values()) for events in (alone, pair)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("alone", "pair"))
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, atol=2e-3, err_msg=name)


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_a_restart_goes_on(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    torchrun = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "29741"),
        *runs.command(*data, tmp_path / "pair.safetensors", "--steps", "400", "--threads", "1"),
    ]
    child = subprocess.Popen(
        torchrun, cwd=runs.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    steps = 0
    for line in child.stdout:
        event = json.loads(line)
        steps = event["step"] if event["event"] == "kept" else steps
        if steps == 2:
            kill_second_process(child.pid)
            break
    _, trouble = child.communicate(timeout=120)
    assert child.returncode != 0
    assert "Signal 9" in trouble
    resumed = runs.command(*data, tmp_path / "pair.safetensors", "--steps", "400", "--resume")
    events = runs.run(resumed, kill_after=1)
    (start,) = [event for event in events if event["event"] == "start"]
    assert start["step"] >= 2


def kill_second_process(launcher: int) -> None:
    """SIGKILL the torchrun child of local rank 1."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        if b"LOCAL_RANK=1" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            os.kill(int(child), 9)
            return
    raise AssertionError("torchrun has no second process")


def test_a_corrupt_image_is_named_and_counted_and_the_run_goes_on(
    data: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    (data[1] / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    assert train(data, tmp_path / "new.safetensors") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (skipped,) = [event for event in events if event["event"] == "skipped"]
    assert skipped["image"] == "1.png"
    (decoded,) = [event for event in events if event["event"] == "decode"]
    assert decoded == {"event": "decode", "done": 3, "total": 3, "skipped": 1}
    assert [event["event"] for event in events][-1] == "saved"


def test_a_run_leaves_its_weights_its_curve_and_a_log(
    data: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "new.safetensors"
    held_out = ("--held-out", str(data[0]), str(data[1]), "--evaluate-every", "1")
    assert train(data, out, *held_out, "--held-out-limit", "1") == 0
    saved = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["info", "--weights", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sha256"] == saved["sha256"]
    assert facts["metadata"]["parent"] == "random"
    folder = tmp_path / "new.safetensors.run"
    lines = (folder / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["start", *["step", "look"] * 2]
    assert list((folder / "log").glob("events.out.tfevents.*"))
    assert sorted(path.name for path in folder.iterdir()) == ["curve.jsonl", "log"]


def test_a_run_goes_on_from_a_checkpoint(
    data: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert train(data, first) == 0
    assert train(data, second, "--start", str(first)) == 0
    capsys.readouterr()
    assert main(["info", "--weights", str(second), "--json"]) == 0
    parent = json.loads(capsys.readouterr().out)["metadata"]["parent"]
    assert main(["info", "--weights", str(first), "--json"]) == 0
    assert parent == json.loads(capsys.readouterr().out)["sha256"]


def test_a_new_network_may_start_from_another_s_encoder(
    data: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert train(data, first) == 0
    assert train(data, second, "--encoder", str(first), "--rate", "0") == 0
    assert main(["info", "--weights", str(second), "--json"]) == 0
    notes = json.loads(capsys.readouterr().out.splitlines()[-1])["metadata"]
    assert notes["encoder"] == hashlib.sha256(first.read_bytes()).hexdigest()
    tensors = [load_file(path) for path in (first, second)]
    np.testing.assert_array_equal(tensors[0]["pos"], tensors[1]["pos"])
    assert (tensors[0]["dec.val4.1.weight"] != tensors[1]["dec.val4.1.weight"]).any()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param(["--rate", "2"], "rate must be", id="rate"),
        pytest.param(["--supervision", "none"], "supervision must be one of", id="kind"),
        pytest.param(["--share", "nan"], "share of data.json must be 0 or more", id="share"),
        pytest.param(["--also", "{data}", "{images}", "x"], "must be a number", id="also"),
        pytest.param(
            ["--also", "none.json", "{images}", "1"], "the file cannot be read", id="no-file"
        ),
        pytest.param(["--start", "none.safetensors"], "none.safetensors", id="no-start"),
        pytest.param(["--min-area", "1e8"], "no box of 1e+08", id="nothing-left"),
        pytest.param(["--accumulate", "3"], "multiple of accumulate", id="parts"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(
    data: tuple[Path, Path], tmp_path: Path, capsys: Capture, more: list[str], message: str
) -> None:
    words = [word.format(data=data[0], images=data[1]) for word in more]
    assert train(data, tmp_path / "new.safetensors", *words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "new.safetensors").exists()


def test_an_unfinished_run_is_not_overwritten(
    data: tuple[Path, Path], tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "new.safetensors"
    assert train(data, out) == 0
    state = tmp_path / "new.safetensors.run" / "state.safetensors"
    state.write_bytes(b"somebody's work")
    assert train(data, out) == 1
    assert "holds an unfinished run: --resume" in capsys.readouterr().err
    assert state.read_bytes() == b"somebody's work"
