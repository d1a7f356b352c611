"""Training runs as a user starts them: child processes that can be killed at a step."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mal_core.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = "--dim 32 --depth 2 --heads 2 --crop-size 64 --registers 2 --batch-size 4 --min-area 0"
Event = Mapping[str, Any]


def command(data: Path, images: Path, out: Path, *more: str) -> list[str]:
    """`train` on a CPU with a small network, its state saved at every step."""
    words = [*SMALL.split(), "--save-minutes", "0", "--device", "cpu", "--json"]
    return ["-m", "mal_core", "train", str(data), str(images), "--out", str(out), *words, *more]


def run(words: Sequence[str], kill_after: int | None = None, kind: str = "kept") -> list[Event]:
    """Run to the end, or until SIGKILL after so many events of a kind; returns the events."""
    events: list[Event] = []
    kept = 0
    child = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdout as lines, child.stderr as errors:
        for line in lines:
            events.append(json.loads(line))
            kept += events[-1]["event"] == kind
            if kept == kill_after:
                child.send_signal(signal.SIGKILL)
                break
        trouble = errors.read()
    code = child.wait()
    assert code == (-signal.SIGKILL if kept == kill_after else 0), trouble
    return events


def run_here(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> list[Event]:
    """Run to the end in this process, which spares the start of another."""
    capsys.readouterr()
    assert main(list(words[2:])) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def curve(events: Sequence[Event]) -> dict[int, float]:
    """Loss by step; a step that was taken again after a kill must have cost the same."""
    losses: dict[int, float] = {}
    for event in events:
        if event["event"] == "step":
            assert losses.setdefault(event["step"], event["loss"]) == event["loss"]
    return losses
