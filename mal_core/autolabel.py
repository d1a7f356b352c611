"""Label generation: the boxes of a COCO file become masks, shard by shard.

The answers lie in files of their own until all are there; only then is the new file written, whole.
A killed run goes on with the shards that are not there, and ends in the same bytes as one that was
never killed, whoever did them and in whatever order.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mal_core import coco
from mal_core.coco import Dataset
from mal_core.errors import InputError
from mal_core.labeller import Labeller, Report
from mal_core.merge import Merger, write_merged
from mal_core.shards import ERROR, FLAGGED, SHARD_BOXES, Header, Shard, Shelf, cut, failed

Event = Mapping[str, Any]
Crew = Callable[[Sequence[Shard]], Iterator[Report]]


@dataclass(frozen=True)
class Order:
    """What is to be labelled, and where the answers go.

    Attributes:
        data: a COCO file with boxes.
        out: the new file; None: the shards are all that is wanted.
        shelf: where the shards lie.
        keep: whether they stay when the new file is there; if not, the shelf is this run's alone.
        size: boxes that make a shard full.
    """

    data: Path
    out: Path | None
    shelf: Shelf
    keep: bool = False
    size: int = SHARD_BOXES


@dataclass(frozen=True)
class _Plan:
    """What an order's file says, cut into shards; `bad_boxes` are in none of them."""

    sha256: str
    dataset: Dataset
    bad_boxes: Mapping[int, str]
    shards: Sequence[Shard]


def label_file(
    order: Order, labeller: Labeller, crew: Crew, *, restart: bool = False
) -> Iterator[Event]:
    """Label a COCO file into a new one; stop iterating to stop, run again to go on.

    Args:
        order: what is to be labelled.
        labeller: the network and what is asked of it.
        crew: gets shards, puts each on the shelf by `label_shard` and tells its report.
        restart: begin anew, whatever shards there are.

    Yields:
        JSON-ready events, in order: "start" {images, boxes, resumed}, `resumed` images being done;
        for each image, in any order, one "error" {annotation, file_name, reason} a box that got no
        mask, then "image" {done, total, file_name, boxes, failed}; "saved" {file, labelled,
        flagged, failed, kept, seconds, boxes_per_second}, counts of the whole file, speed of this
        run.

    Raises:
        BadDataset: the file breaks the format, or changed while it was being labelled.
        InputError: shards of another run are there; or there were boxes, and none got a mask.
        OSError: the disk is full, or refuses.
    """
    shelf = order.shelf
    with nullcontext() if order.keep else shelf.alone():
        if restart:
            shelf.clear()
        plan = _read(order, labeller)
        begin, answered = time.perf_counter(), 0
        for event in _work(plan, shelf, crew):
            answered += event.get("boxes", 0) if event["event"] == "image" else 0
            yield event
        seconds = time.perf_counter() - begin
        some = _has_some(plan, shelf)
        tally = _tally(order, plan, labeller.header) if some is None else {}
        if not order.keep:
            shelf.remove()
    if some is not None:
        raise InputError(some)
    speed = {
        "seconds": round(seconds, 2),
        "boxes_per_second": round(answered / max(seconds, 1e-9), 2),
    }
    name = shelf.name if order.out is None else order.out.name
    yield {"event": "saved", "file": name, **tally, **speed}


def _read(order: Order, labeller: Labeller) -> _Plan:
    content = order.data.read_bytes()
    bad_boxes: dict[int, str] = {}
    dataset = coco.read(content, bad_boxes)
    shards = cut(labeller.work(dataset), dataset.categories, labeller.header, order.size)
    return _Plan(hashlib.sha256(content).hexdigest(), dataset, bad_boxes, shards)


def _work(plan: _Plan, shelf: Shelf, crew: Crew) -> Iterator[Event]:
    """Have those shards done that are not there; those with errors are tried again."""
    done = _done(plan, shelf)
    total = sum(len(shard.work) for shard in plan.shards)
    number = sum(len(shard.work) for shard in plan.shards if shard.name in done)
    boxes = sum(len(found) for shard in plan.shards for _, found in shard.work)
    counts = {"images": total, "boxes": boxes + len(plan.bad_boxes), "resumed": number}
    yield {"event": "start", **counts}
    for key, reason in plan.bad_boxes.items():
        yield {"event": "error", "annotation": key, "file_name": None, "reason": reason}
    for told in crew([shard for shard in plan.shards if shard.name not in done]):
        for image in told["images"]:
            name, bad = image["file_name"], image["failed"]
            yield from ({"event": "error", "file_name": name, **error} for error in bad)
            number += 1
            progress = {"done": number, "total": total, "file_name": name}
            yield {"event": "image", **progress, "boxes": image["boxes"], "failed": len(bad)}
    if missing := {shard.name for shard in plan.shards} - shelf.names():
        raise InputError(f"{len(missing)} shards are gone from {shelf.name}: run again")


def _done(plan: _Plan, shelf: Shelf) -> set[str]:
    """The shards that are there, without an error."""
    there = shelf.names()
    if there - {shard.name for shard in plan.shards}:
        raise InputError(
            f"{shelf.name} was left by a run of other data, weights or settings:"
            " repeat that run to finish it, or start anew with --restart"
        )
    found = (shard.name for shard in plan.shards if shard.name in there)
    return {name for name in found if not any(map(failed, shelf.get(name).values()))}


def _has_some(plan: _Plan, shelf: Shelf) -> str | None:
    """None, or what to say: a run without a mask is a mistake, most likely the wrong folder."""
    count, first = len(plan.bad_boxes), next(iter(plan.bad_boxes.values()), "")
    for shard in plan.shards:
        for answers in shelf.get(shard.name).values():
            if len(bad := failed(answers)) < len(answers):
                return None
            count, first = count + len(bad), first or bad[0][ERROR]
    return f"none of {count} boxes got a mask; the first: {first}" if count else None


def _tally(order: Order, plan: _Plan, header: Header) -> Mapping[str, int]:
    """Write the new file, if one is wanted; annotations by fate."""
    if order.out is not None:
        merger = Merger(plan.dataset, plan.shards, order.shelf, plan.bad_boxes, header)
        return write_merged(order.data, plan.sha256, order.out, merger)
    tally = Counter(labelled=0, flagged=0, failed=len(plan.bad_boxes))
    for shard in plan.shards:
        for answers in order.shelf.get(shard.name).values():
            bad = len(failed(answers))
            flagged = sum(bool(answer.get(FLAGGED)) for answer in answers)
            tally.update(labelled=len(answers) - bad, failed=bad, flagged=flagged)
    kept = len(plan.dataset.annotations) + len(plan.bad_boxes)
    return {**tally, "kept": kept - tally["labelled"] - tally["failed"]}
