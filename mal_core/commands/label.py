"""`label`: the boxes of a COCO file become masks."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mal_core.autolabel import Crew, Order, label_file
from mal_core.commands.options import (
    add_backend,
    add_command,
    add_device,
    add_refine,
    add_threshold,
    add_weights,
    count,
)
from mal_core.config import LabelConfig
from mal_core.errors import InputError
from mal_core.extras import load_extra
from mal_core.labeller import Labeller, label_here, make_labeller
from mal_core.shards import FORMS, SHARD_BOXES, Shelf
from mal_core.team import Job, label_together

REASONS_SHOWN = 10
UNCALIBRATED = "there is no calibration for these weights: scores are the network's own"


def add(commands: Any) -> None:  # noqa: ANN401
    """Add the command and its flags."""
    text = "the boxes of a COCO file become masks; a killed run goes on when it is repeated"
    command = add_command(commands, "label", run, text)
    command.add_argument("data", type=Path, metavar="DATA.json")
    text = "folder, .zip, .tar or 'part-*.tar', or a URL of one such as s3://bucket/images"
    command.add_argument("images", metavar="IMAGES/", help=text)
    text = "the new file; may be left out where --shards keeps the answers"
    command.add_argument("--out", type=Path, metavar="MASKS.json", help=text)
    command.add_argument("--score", action="store_true", help="add the IoU to expect of each mask")
    command.add_argument("--relabel", action="store_true", help="replace masks that are there")
    command.add_argument("--restart", action="store_true", help="forget an unfinished run")
    add_crew(command)
    add_weights(command)
    add_device(command)
    add_threshold(command)
    add_refine(command)
    add_backend(command, usual="torch")  # a run that goes on must not change its mind


def add_crew(command: argparse.ArgumentParser) -> None:
    """Add who does the work, and in what pieces."""
    text = "processes on this machine, or with --ray actors in the cluster (default: this process)"
    command.add_argument("--workers", type=count, metavar="N", help=text)
    text = "work on the Ray cluster at ADDRESS, or on one started here"
    command.add_argument("--ray", nargs="?", const="local", metavar="ADDRESS", help=text)
    text = "keep the shards in this folder or at this URL (default: beside OUT, until it is there)"
    command.add_argument("--shards", metavar="DIR", help=text)
    text = "of the shards' files (default: coco)"
    command.add_argument("--format", choices=FORMS, default=FORMS[0], help=text)
    text = f"boxes that fill a shard (default: {SHARD_BOXES})"
    command.add_argument("--shard-boxes", type=count, default=SHARD_BOXES, metavar="N", help=text)


def run(arguments: argparse.Namespace) -> None:
    """Label; with --json one event a line, else a progress bar, the reasons and the counts.

    Boxes without a mask are told and counted, and no failure of the command; none with one is.
    """
    if arguments.out is None and arguments.shards is None:
        raise InputError("label needs --out MASKS.json, --shards DIR, or both")
    job = _job(arguments)
    labeller = make_labeller(job)
    job = replace(job, backend=labeller.predictor.backend)  # of one mind with all workers
    if labeller.config.score and labeller.calibration is None:
        print(f"note: {UNCALIBRATED}", file=sys.stderr)
    shelf = Shelf(job.shelf, job.form)
    keep = arguments.shards is not None
    order = Order(arguments.data, arguments.out, shelf, keep, arguments.shard_boxes)
    crew = _crew(arguments, job, labeller, shelf)
    events = label_file(order, labeller, crew, restart=arguments.restart)
    if arguments.json:
        for event in events:
            print(json.dumps(event), flush=True)
    else:
        _show(events)


def _job(arguments: argparse.Namespace) -> Job:
    config = LabelConfig(arguments.threshold, arguments.relabel, arguments.score)
    threads = arguments.threads
    if arguments.workers and not arguments.ray:  # they share the cores
        threads = threads or max(1, (os.cpu_count() or 1) // arguments.workers)
    return Job(
        weights=str(arguments.weights.resolve()),
        device=arguments.device,
        backend=arguments.backend,
        refine=arguments.refine,
        threads=threads,
        config=asdict(config),
        images=_absolute(arguments.images),
        shelf=_absolute(arguments.shards or f"{arguments.out}.shards"),
        form=arguments.format,
    )


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).resolve())


def _crew(arguments: argparse.Namespace, job: Job, labeller: Labeller, shelf: Shelf) -> Crew:
    if arguments.ray:
        label_on_ray = load_extra("mal_core.cluster").label_on_ray
        return partial(label_on_ray, job, arguments.workers, arguments.ray)
    if arguments.workers:
        return partial(label_together, job, arguments.workers)
    return partial(label_here, labeller, job.images, shelf)


def _show(events: Iterable[Mapping[str, Any]]) -> None:
    reasons: Counter[str] = Counter()
    with tqdm(unit="image", disable=None) as bar:
        for event in events:
            if event["event"] == "start":
                bar.reset(event["images"])
                bar.update(event["resumed"])
            elif event["event"] == "image":
                bar.update()
            elif event["event"] == "error":
                reasons[event["reason"]] += 1
            else:
                _summarise(event, reasons)


def _summarise(saved: Mapping[str, Any], reasons: Counter[str]) -> None:
    for reason, times in reasons.most_common(REASONS_SHOWN):
        print(f"no mask for {times}: {reason}", file=sys.stderr)
    if len(reasons) > REASONS_SHOWN:
        print(f"and {len(reasons) - REASONS_SHOWN} more reasons", file=sys.stderr)
    counts = "  ".join(
        f"{name} {saved[name]}" for name in ("labelled", "flagged", "failed", "kept")
    )
    speed = f"{saved['boxes_per_second']} boxes/s"
    print(f"{saved['file']}: {counts}  {saved['seconds']} s  {speed}")
