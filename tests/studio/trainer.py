"""Children that act as the trainer would, but for the learning."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.again import Again
from app.jobs import Jobs
from app.records import Job
from app.settings import Settings
from app.store import Store
from app.workflow import Workflow
from mal_core import checkpoint

if TYPE_CHECKING:
    from tests.studio.conftest import Studio

# Their arguments: the job's folder, the weights they will have learned, which launch this is.
TRAINER = """
import json, os, shutil, signal, sys, time
from pathlib import Path
folder, weights, launch = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def say(event, **fields): print(json.dumps({"event": event, **fields}), flush=True)
"""
LEARN = """
say("cache", done=1, total=2)
say("epoch", epoch=0, epochs=1, loss=None, held_out_iou=0.5, eta_seconds=2.0)
say("notice", text="half the batch: memory is short")
say("epoch", epoch=1, epochs=1, loss=0.25, held_out_iou=0.75, eta_seconds=0.0)
"""
SAVE = """
say("judged", **json.loads(JUDGED))
shutil.copy(weights, folder / "new.safetensors")
say("saved", sha256=SHA, best_epoch=BEST, n_train=6, n_boxes=0)
"""
WAIT = """
(folder / "features-1").mkdir(exist_ok=True)
(folder / "features-1" / "big").write_bytes(b"0" * 1000)
say("epoch", epoch=0, epochs=1, loss=None, held_out_iou=0.5, eta_seconds=2.0)
time.sleep(600)
"""
DIE = "os.kill(os.getpid(), signal.SIGKILL)\n"


def figures(mean: float, n: int = 12) -> dict[str, Any]:
    return {"n": n, "instance_iou": mean, "boundary_iou": mean, "class_iou": mean}


def judged(after: float, n: int = 12) -> dict[str, Any]:
    """The trainer's verdict of weights that go from .5 to this held-out IoU, evenly."""
    gain = {"mean": after - 0.5, "low": after - 0.5, "high": after - 0.5, "n": n}
    return {
        "before": figures(0.5, n),
        "after": figures(after, n),
        "gain": gain,
        "boundary_gain": gain,
        "categories": {"thing": {"before": 0.5, "after": after, "n": n}},
        "probe": {"before": 0.9, "after": 0.9, "n": 30},
    }


def learned(weights: Path, after: float, best_epoch: int = 1, n: int = 12) -> str:
    """The script of a child that reaches this held-out IoU, from 0.5."""
    values = {"JUDGED": json.dumps(judged(after, n)), "SHA": checkpoint.file_sha256(weights)}
    script = LEARN + SAVE.replace("BEST", str(best_epoch))
    for name, value in values.items():
        script = script.replace(name, repr(value))
    return script


def open_jobs(studio: "Studio") -> tuple[Jobs, Again]:
    return open_parts(studio.settings, studio.store, studio.workflow)


def open_parts(settings: Settings, store: Store, workflow: Workflow) -> tuple[Jobs, Again]:
    again = Again(settings, store, workflow)
    return Jobs(settings, store, workflow, again), again


def run(jobs: Jobs, studio: "Studio") -> Job:
    """Start a job, wait for its end, and read it back."""
    return ended(studio, jobs.start(studio.project.id).id)


def ended(studio: "Studio", job_id: int) -> Job:
    """Wait for the end of a job."""
    return wait_for(studio, job_id, lambda job: job.ended_at is not None)


def wait_for(studio: "Studio", job_id: int, is_so: Callable[[Job], bool]) -> Job:
    """Wait until a job is as it should be; a test that hangs is a test that failed."""
    for _ in range(12_000):
        job = studio.store.get_job(job_id)
        if is_so(job):
            return job
        time.sleep(0.01)
    raise AssertionError(f"job {job_id} is still {job}")


def begun(jobs: Jobs, studio: "Studio") -> Job:
    """Start a job and wait until its child has said something."""
    job = jobs.start(studio.project.id)
    return wait_for(studio, job.id, lambda job: job.progress != {})


def model_in_use(studio: "Studio") -> int:
    return studio.store.get_project(studio.project.id).model_id
