"""Kill -9 processes that publish new weights; every model on record must load after each kill.

python bench/kill_publish.py [--kills 200]
"""

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.images import Intake  # noqa: E402
from app.jobs import KIND, NEW_WEIGHTS  # noqa: E402
from app.library import Library  # noqa: E402
from app.records import JobState  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.store import Store  # noqa: E402
from app.workflow import Workflow  # noqa: E402
from mal_core import checkpoint  # noqa: E402
from mal_core.errors import CheckpointError  # noqa: E402
from tests.studio.conftest import make_weights  # noqa: E402
from tests.studio.trainer import judged, open_parts  # noqa: E402

REACH = 1.5  # a kill falls within so many times the first publication's duration


@dataclass
class Outcome:
    """What the kills left: models by id that were looked at, and publications cut short."""

    published: set[int] = field(default_factory=set)
    unloadable: int = 0
    torn: int = 0


def main(*words: str) -> None:
    """Publish under kills and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    kills = parser.parse_args(words).kills
    torch.set_num_threads(1)  # no pool of threads, so that this process may fork
    chance, outcome = random.Random(0), Outcome()
    with tempfile.TemporaryDirectory() as name:
        weights = make_weights(Path(name, "tiny.safetensors"), seed=0)
        settings = Settings(data_dir=Path(name, "data"), weights=weights, device="cpu", threads=1)
        prepare(settings)
        for number in range(kills):
            here, there = os.pipe()
            child = os.fork()
            if child == 0:
                publish_until_killed(settings, number, there)
            os.close(there)
            took = time_first(here)
            time.sleep(chance.uniform(0, REACH * took))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(here)
            look(settings, outcome)
    print(
        f"{kills} kills: {len(outcome.published)} models published,"
        f" {outcome.torn} publications cut short, {outcome.unloadable} unloadable"
    )
    raise SystemExit(outcome.unloadable > 0)


def prepare(settings: Settings) -> None:
    """A project to publish for."""
    store = Store(settings.database)
    with Intake(settings) as intake:
        Library(settings, store, intake).add_project("Killed")
    store.close()


def time_first(line: int) -> float:
    """Wait until a process has published once; the seconds that took.

    Raises:
        RuntimeError: it ended by itself.
    """
    if not os.read(line, 1):
        raise RuntimeError("the process ended before it published")
    begin = time.perf_counter()
    if not os.read(line, 1):
        raise RuntimeError("the process ended while it published")
    return time.perf_counter() - begin


def publish_until_killed(settings: Settings, number: int, line: int) -> None:
    """Publish models without end, as the studio does; a byte before and after each."""
    store = Store(settings.database)
    workflow = Workflow(settings, store)
    jobs, _ = open_parts(settings, store, workflow)
    project = store.list_projects()[0]
    model = checkpoint.load(settings.weights).model
    for count in itertools.count():
        parent = workflow.model_in_use(project.id)
        params = {"parent_id": parent.id, "held_out_images": [1, 2], "n_masks": 1, "n_boxes": 1}
        now = datetime.now(UTC)
        job = store.launch_job(store.add_job(project.id, KIND, {}, now).id, params, now)
        folder = settings.jobs / str(job.id)
        folder.mkdir(parents=True)
        sha256 = checkpoint.save(model, folder / NEW_WEIGHTS, {"made": f"{number} {count}"})
        result = {**judged(0.75), "sha256": sha256, "best_epoch": 1, "n_train": 1, "n_boxes": 1}
        os.write(line, b"<")
        jobs._publish(job, result)
        os.write(line, b">")


def look(settings: Settings, outcome: Outcome) -> None:
    """Open the folder as the next start would, and load what is new on record or in use."""
    store = Store(settings.database)
    (project,) = store.list_projects()
    models = store.list_models(project.id)
    torn = store.open_jobs(KIND)
    for job in torn:
        store.set_job(job.id, state=JobState.FAILED)
    store.close()
    outcome.torn += len(torn)
    assert project.model_id in {model.id for model in models}
    for model in models:
        if model.project_id is None or model.id in outcome.published:
            continue
        outcome.published.add(model.id)
        try:
            loaded = checkpoint.load(settings.models / f"{model.sha256}.safetensors")
        except CheckpointError:
            outcome.unloadable += 1
        else:
            outcome.unloadable += loaded.sha256 != model.sha256


if __name__ == "__main__":
    main(*sys.argv[1:])
