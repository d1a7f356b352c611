"""Label generation as a program: whoever is killed, it ends in the bytes of an unbroken run."""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mal_core import checkpoint as checkpoints
from mal_core import coco
from mal_core.__main__ import main
from mal_core.checkpoint import Checkpoint
from mal_core.coco import Dataset
from mal_core.decode import DEADLY
from tests.core import breaker

Draw = Callable[[int, int], Dataset]
IMAGES, SHARD_IMAGES, HOSTILE = 48, 2, 7  # number HOSTILE kills its decoder

pytestmark = pytest.mark.slow


@pytest.fixture
def words(draw_dataset: Draw, tiny: Checkpoint, tmp_path: Path) -> list[str]:
    """`label` on boxes of many small images, one of which kills its decoder."""
    weights, data = tmp_path / "tiny.safetensors", tmp_path / "boxes.json"
    checkpoints.save(tiny.model, weights, tiny.metadata)
    boxes = draw_dataset(0, IMAGES)
    bare = [replace(a, rle=None) for a in boxes.annotations]
    coco.save(replace(boxes, annotations=bare), data)
    (tmp_path / "images" / f"{HOSTILE}.png").write_bytes(breaker.DEADLY)
    words = ["label", data, tmp_path / "images", "--weights", weights, "--threads", 1]
    return [*map(str, words), "--shard-boxes", str(2 * SHARD_IMAGES), "--device", "cpu"]


@pytest.fixture
def whole(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What one process writes that nobody kills; the traps are set from here on."""
    for name, value in {"OMP_NUM_THREADS": "1", **breaker.arm(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "whole.json"
    assert main([*words, "--out", str(out)]) == 0
    return out.read_bytes()


def start(words: list[str], out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mal_core", *words, "--out", str(out), *more]
    null = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=breaker.ROOT, stdout=null, stderr=null)


def check(out: Path, whole: bytes, watch: list[tuple[int, int]], kills: int) -> None:
    """The bytes of the unbroken run; each box once; no rework beyond a shard a kill."""
    assert out.read_bytes() == whole
    entries = json.loads(whole)["annotations"]
    assert len({entry["id"] for entry in entries}) == len(entries) == 2 * IMAGES
    lost = {e["image_id"]: e["mal_error"] for e in entries if "mal_error" in e}
    assert lost == {HOSTILE: f"cannot read {HOSTILE}.png as an image: {DEADLY}"}
    times = Counter(image for image, _ in watch)
    assert set(times) == set(range(IMAGES))
    assert times.total() - IMAGES <= kills * SHARD_IMAGES


def test_a_killed_program_goes_on_and_ends_in_the_same_bytes(
    words: list[str], whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "masks.json"
    running = start(words, out)
    assert breaker.wait_for(running, out, 5), "the run was too quick to be killed"
    running.kill()
    running.wait()
    assert not out.exists()
    assert main([*words, "--out", str(out)]) == 0
    assert out.read_bytes() == whole
    assert not out.with_name("masks.json.shards").exists()


def test_killed_workers_and_decoders_change_nothing(
    words: list[str], whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "masks.json"
    running = start(words, out, "--workers", "2")
    victims = ["mal_core.decode", "mal_core.worker"]
    kills = breaker.kill_some(running, out, victims, random.Random(1))
    assert running.wait() == 0
    assert kills == 2
    check(out, whole, breaker.watched(tmp_path), kills)


def test_killed_actors_of_ray_change_nothing(
    words: list[str], whole: bytes, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "masks.json"
    running = start(words, out, "--workers", "2", "--ray")
    kills = breaker.kill_some(running, out, ["ray::", "mal_core.worker"], random.Random(2))
    assert running.wait() == 0
    assert kills == 2
    check(out, whole, breaker.watched(tmp_path), kills)
