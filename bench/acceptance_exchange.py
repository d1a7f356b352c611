"""The way of a data set, first half: boxes in, masks by a job under kills, review.

    python bench/acceptance_exchange.py label WORK ROOT [--kills 20] [--threads 1]
    python bench/acceptance_exchange.py review WORK

`label` imports the boxes, and only the boxes, of every ROOT/SOURCE/annotations.json with its images
by the studio's own command, damages the raster of one image, and lets the studio propose all masks
while it is killed (SIGKILL) again and again; then the raster is mended and the rest is asked for.
`review` saves what a careful person would: proposals with an IoU of .9 with the truth are accepted,
the others corrected to the truth, each fortieth is rejected.
WORK keeps everything, for bench/acceptance_trade.py.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app import rounds, server  # noqa: E402
from app.batch import Batch  # noqa: E402
from app.images import Intake, path_of  # noqa: E402
from app.library import Library  # noqa: E402
from app.records import Draft, Image, Job, Project, State  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.store import Store  # noqa: E402
from app.workflow import Workflow  # noqa: E402
from mal_core.masks import RLE, iou  # noqa: E402

NAME = "Acceptance"
ACCEPTED = 0.9  # IoU with the truth from which a proposal is accepted as it is
REJECTED = 40  # one in so many is rejected
STRIKE_SECONDS = 0.3  # a kill comes within so long after its box was begun


def main() -> None:
    """Run one act."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    acts = parser.add_subparsers(required=True, metavar="ACT")
    chosen = {}
    for act in (label, serve, review):
        chosen[act] = acts.add_parser(act.__name__, help=act.__doc__)
        chosen[act].add_argument("work", type=Path)
        chosen[act].set_defaults(act=act)
    chosen[label].add_argument("root", type=Path)
    chosen[label].add_argument("--kills", type=int, default=20)
    for act in (label, serve):
        chosen[act].add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.act(options)


# Boxes in, masks by the job


def label(options: argparse.Namespace) -> None:
    """Import boxes and propose all masks, killed on the way."""
    options.work.mkdir(parents=True)
    collect(options.root, options.work)
    note_asked(options.work)
    with opened(options.work) as (settings, store, project):
        command(settings, "import", "coco", str(options.work / "set"), "--project", NAME)
        victim = damage(settings, store, project)
        begin = time.perf_counter()
        number = begin_round(settings, store, project)
        killed = kill(options, store, project, number)
        with studio(options):
            job = wait(store, number)
        print(f"{time.perf_counter() - begin:.0f} s in all, starts of the studio included")
        judge(options.work, store, victim, job, killed)
        shutil.copy(options.work / "whole", path_of(settings, victim))
        number = begin_round(settings, store, project)
        with studio(options):
            job = wait(store, number)
        bare = [i for _, i in store.list_project_instances(project.id) if i.draft.rle is None]
        print(f"raster mended: {dict(job.progress)}; boxes without a mask: {len(bare)}")


def serve(options: argparse.Namespace) -> None:
    """Be the studio, but that it does not rest and writes down each box it is asked for."""
    rounds.REST = 0.0
    note_asked(options.work)
    settings = Settings(
        data_dir=options.work / "data", port=0, threads=options.threads, device="cpu"
    )
    server.serve(settings, print)


def collect(root: Path, work: Path) -> None:
    """Lay out all sources as one data set of boxes; keep the truth beside it."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names: dict[str, int] = {}
    truth: list[dict[str, Any]] = []
    for path in sorted(root.glob("*/annotations.json")):
        source, document = path.parent.name, json.loads(path.read_bytes())
        target = work / "set" / "images" / source
        shutil.copytree(path.parent / "images", target)
        titles = {c["id"]: c["name"] for c in document["categories"]}
        numbers = {}
        for image in document["images"]:
            numbers[image["id"]] = len(images) + 1
            name = f"{source}/{image['file_name']}"
            images.append({**image, "id": len(images) + 1, "file_name": name})
        for entry in document["annotations"]:
            title = titles[entry["category_id"]]
            known = {
                "id": len(annotations) + 1,
                "image_id": numbers[entry["image_id"]],
                "category_id": names.setdefault(title, len(names) + 1),
                "bbox": entry["bbox"],
                "iscrowd": entry["iscrowd"],
            }
            annotations.append(known)
            name = images[known["image_id"] - 1]["file_name"]
            truth.append({"image": name, "category": title, **entry})
    categories = [{"id": number, "name": name} for name, number in names.items()]
    boxes = {"images": images, "categories": categories, "annotations": annotations}
    (work / "set" / "boxes.json").write_bytes(orjson.dumps(boxes))
    (work / "truth.json").write_bytes(orjson.dumps(truth))
    crowds = sum(entry["iscrowd"] for entry in annotations)
    print(f"{len(images)} images, {len(annotations)} boxes, {crowds} of them crowds")


@contextmanager
def opened(work: Path) -> Iterator[tuple[Settings, Store, Project]]:
    """The data folder of a run with its project, both made where they are not."""
    settings = Settings(data_dir=work / "data", device="cpu")
    store = Store(settings.database)
    with Intake(settings) as intake:
        library = Library(settings, store, intake)
        projects = store.list_projects()
        yield settings, store, projects[0] if projects else library.add_project(NAME, ())
    store.close()


def command(settings: Settings, *arguments: str) -> None:
    """Run a command of the studio and print what it says."""
    line = [sys.executable, "app.py", *arguments, "--data-dir", str(settings.data_dir)]
    begin = time.perf_counter()
    done = subprocess.run(line, cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    print(f"{' '.join(arguments[:2])}: {time.perf_counter() - begin:.0f} s")
    print("\n".join(f"  {text}" for text in done.stdout.splitlines()[:6]), flush=True)


def damage(settings: Settings, store: Store, project: Project) -> Image:
    """Cut the raster of an image with several boxes short; keep it whole beside."""
    summaries = store.list_images(project.id)
    victim = next(s.image for s in summaries if s.counts[State.PROPOSED] >= 3)
    path = path_of(settings, victim)
    shutil.copy(path, settings.data_dir.parent / "whole")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return victim


def begin_round(settings: Settings, store: Store, project: Project) -> int:
    """Begin a round as the Library page's button does, and end as a studio that is closed."""
    batch = Batch(settings, store, Workflow(settings, store))
    job = batch.start(project.id)
    batch.close()
    return job.id


def note_asked(work: Path) -> None:
    """Let the workflow write down each box of a round before the model is asked."""
    ask, log = (
        Workflow.propose_bare,
        os.open(work / "asked.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    )

    def told(workflow: Workflow, instance_id: int) -> bool:
        os.write(log, f"{instance_id}\n".encode())
        return ask(workflow, instance_id)

    setattr(Workflow, "propose_bare", told)  # noqa: B010 - mypy lets no method be replaced
    os.write(log, b"start\n")


@contextmanager
def studio(options: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    """A studio of its own process, killed at the end."""
    line = [
        sys.executable,
        __file__,
        "serve",
        str(options.work),
        "--threads",
        str(options.threads),
    ]
    with subprocess.Popen(
        line,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            yield child
        finally:
            child.send_signal(signal.SIGKILL)


def kill(options: argparse.Namespace, store: Store, project: Project, job: int) -> list[str]:
    """Kill the studio again and again, evenly over the boxes; the box in hand at each kill."""
    chance = random.Random(0)
    log = options.work / "asked.log"
    total = sum(s.counts[State.PROPOSED] for s in store.list_images(project.id))
    hands = []
    for place in range(1, options.kills + 1):
        with studio(options) as child:
            while count(log) < place * total // (options.kills + 1):
                if child.poll() is not None or store.get_job(job).ended_at is not None:
                    raise SystemExit("the studio ended by itself, or its job did")
                time.sleep(0.02)
            time.sleep(chance.random() * STRIKE_SECONDS)
        hands.append(log.read_text().split()[-1])
        print(f"kill {place}: {count(log)} asked", flush=True)
    return hands


def count(log: Path) -> int:
    """How many boxes were asked for so far."""
    return sum(line != "start" for line in log.read_text().split())


def wait(store: Store, job: int) -> Job:
    """Wait for a job's end."""
    while store.get_job(job).ended_at is None:
        time.sleep(0.5)
    return store.get_job(job)


def judge(work: Path, store: Store, victim: Image, job: Job, killed: list[str]) -> None:
    """Say what the kills have cost, and whether every box has one proposal."""
    starts = (work / "asked.log").read_text().split("start\n")[1:]
    damaged = {str(instance.id) for instance in store.list_instances(victim.id)}
    asked = Counter(key for part in starts for key in part.split() if key not in damaged)
    twice = {key: times - 1 for key, times in asked.items() if times > 1}
    strange = [key for key in twice if key not in killed]
    print(f"job: {job.state}, {dict(job.progress)}, {dict(job.result)}")
    print(f"starts {len(starts)}, kills {len(killed)}; boxes on the damaged image {len(damaged)}")
    print(f"on the others: boxes {len(asked)}, asked {asked.total()}, again {sum(twice.values())},")
    print(f"of those not in hand at a kill {len(strange)}")
    states: Counter[str] = Counter()
    for _, instance in store.list_project_instances(job.project_id):
        revisions = store.list_revisions(instance.id)
        has = "mask" if instance.draft.rle is not None else "no mask"
        states[f"{instance.draft.state}, {has}, {len(revisions)} revisions"] += 1
    print(f"instances: {dict(states)}", flush=True)


# Review


def review(options: argparse.Namespace) -> None:
    """Accept, correct and reject as a careful person would."""
    truth: dict[Any, RLE] = {}
    for entry in orjson.loads((options.work / "truth.json").read_bytes()):
        x, y, w, h = entry["bbox"]
        key = (entry["image"], entry["category"], (x, y, x + w, y + h))
        if not entry["iscrowd"]:
            truth[key] = RLE.from_coco(entry["segmentation"])
    acts: Counter[str] = Counter()
    values: defaultdict[str, list[float]] = defaultdict(list)
    with opened(options.work) as (settings, store, project):
        workflow = Workflow(settings, store)
        titles = {c.id: c.name for c in store.list_categories(project.id)}
        for image, instance in list(store.list_project_instances(project.id)):
            draft = instance.draft
            assert draft.rle is not None
            # Imported boxes stand in the history; the model's are cut to the image's pixels.
            box = store.list_revisions(instance.id)[0].draft.box
            wanted = truth[image.file_name, titles[draft.category_id], box]
            value = iou(draft.rle, wanted)
            values[image.file_name.split("/")[0]].append(value)
            reason, changed = decide(draft, wanted, value, instance.number)
            workflow.save(instance.id, instance.version, changed, "reviewer", reason)
            acts[reason] += 1
    print(f"review: {dict(acts)}")
    for source, found in sorted(values.items()):
        print(f"| {source} | {len(found)} | {np.mean(found):.3f} |")
    every = [value for found in values.values() for value in found]
    print(f"| all | {len(every)} | {np.mean(every):.3f} |")


def decide(draft: Draft, wanted: RLE, value: float, number: int) -> tuple[str, Draft]:
    """What a careful person does with a proposal, and how it is called."""
    if number % REJECTED == 0:
        return "reject", replace(draft, state=State.REJECTED)
    if value >= ACCEPTED:
        return "accept", replace(draft, state=State.ACCEPTED)
    return "brush", replace(draft, state=State.CORRECTED, rle=wanted)


if __name__ == "__main__":
    main()
