"""Label generation as a program: killed at random, it ends in the bytes of an unbroken run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.commands.options import BUNDLED

Draw = Callable[[int, int], Dataset]


@pytest.mark.slow
def test_a_killed_program_goes_on_and_ends_in_the_same_bytes(
    draw_dataset: Draw, tiny: Checkpoint, tmp_path: Path
) -> None:
    """SIGKILL after random numbers of images, three times, then to the end."""
    weights, data = tmp_path / "tiny.safetensors", tmp_path / "boxes.json"
    checkpoints.save(tiny.model, weights, tiny.metadata)
    boxes = draw_dataset(0, 60)
    bare = [replace(a, rle=None) for a in boxes.annotations]
    coco.save(replace(boxes, annotations=bare), data)
    words = ["label", data, tmp_path / "images", "--weights", weights, "--threads", "1", "--out"]
    command = [sys.executable, "-m", "mal_core", *map(str, words)]
    whole, out = tmp_path / "whole.json", tmp_path / "masks.json"
    assert program([*command, str(whole)]).wait() == 0
    kills = 0
    random = np.random.default_rng(0)
    for rows in np.sort(random.integers(2, 45, 3)):
        running = program([*command, str(out)])
        kill_at(running, out.with_name("masks.json.part"), int(rows))
        kills += running.wait() == -signal.SIGKILL
    assert kills, "the runs were too quick to be killed"
    assert program([*command, str(out)]).wait() == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not out.with_name("masks.json.part").exists()


def program(command: list[str]) -> subprocess.Popen[bytes]:
    environment: Mapping[str, str] = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=BUNDLED.parent.parent, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kill_at(running: subprocess.Popen[bytes], journal: Path, rows: int) -> None:
    """Kill a program once its journal has so many rows, unless it is over before."""
    while running.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > rows:
            running.kill()
            return
        time.sleep(0.002)
