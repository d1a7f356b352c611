"""What `train` and `pretrain` share: how a run's events are shown and kept."""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from tqdm import tqdm

from mal_core.commands.options import show

CURVE = "curve.jsonl"
Event = Mapping[str, Any]


def print_events(events: Iterable[Event], folder: Path, *, as_json: bool, is_first: bool) -> None:
    """Show and keep the events of the first process; the others only work."""
    with ExitStack() as stack:
        if not is_first:
            for _ in events:
                pass
            return
        log = stack.enter_context(SummaryWriter(str(folder / "log")))
        curve = stack.enter_context((folder / CURVE).open("a", encoding="utf-8"))
        bar = stack.enter_context(tqdm(unit="step", disable=True if as_json else None))
        for event in events:
            line = json.dumps(event)
            if event["event"] in ("step", "look", "start"):
                curve.write(line + "\n")
                curve.flush()
            _log(log, event)
            if as_json:
                print(line, flush=True)
            else:
                _show(bar, event)


def _log(log: SummaryWriter, event: Event) -> None:
    """Every number of a step or look, for TensorBoard."""
    if event["event"] in ("step", "look"):
        for name, value in event.items():
            if isinstance(value, float):
                log.add_scalar(f"{event['event']}/{name}", value, event["step"])


def _show(bar: "tqdm[Any]", event: Event) -> None:
    kind = event["event"]
    if kind == "start":
        bar.reset(event["steps"])
        bar.update(event["step"])
    elif kind == "step":
        bar.update()
        bar.set_postfix(loss=f"{event['loss']:.4f}", refresh=False)
    elif kind != "decode" or event["done"] == event["total"]:
        bar.write("  ".join(f"{key} {show(value)}" for key, value in event.items()))
