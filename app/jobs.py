"""Fine-tunes: freeze, queue, run, judge, publish; one at a time, over the end of the studio.

A job is a row in the database and `python -m mal_core finetune --json` as a child process; a crash
or lack of memory stays in the child. New weights are published under their content hash, then one
transaction records them and, if they passed the gate, puts them in use.
"""

import logging
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from app.again import Again
from app.children import STOP_SECONDS, Child
from app.errors import NotAllowed, from_disk
from app.gate import Verdict, judge
from app.history import newest_proposals
from app.images import open_vault, raster_name
from app.learning import Labels, check_enough, choose_splits, gather, snapshot
from app.records import OPEN, Job, JobState, ModelState, ModelVersion, NewModel, Split
from app.settings import PHOTOS, REMINDERS, Settings
from app.store import Store
from app.worker import Worker
from app.workflow import Workflow
from mal_core import checkpoint, coco
from mal_core.errors import MALError, TrainingError
from mal_core.files import move_whole

KIND = "fine-tune"
NEW_WEIGHTS = "new.safetensors"
COMPARISON = f"{NEW_WEIGHTS}.compare.json"
LOG = "log.txt"
FROZEN = {Split.TRAIN: "train.json", Split.HELD_OUT: "held-out.json"}
log = logging.getLogger(__name__)


class Jobs:
    """Runs one fine-tune at a time; the others wait."""

    def __init__(self, settings: Settings, store: Store, workflow: Workflow, again: Again) -> None:
        self._settings = settings
        self._store = store
        self._workflow = workflow
        self._again = again
        self._lock = Lock()
        self._child: tuple[int, Child] | None = None
        self._stopped: set[int] = set()
        self._worker = Worker(store, KIND, self._carry_out, settings.jobs / "fine-tune.lock")

    def recover(self) -> None:
        """Go on with what a former studio left running or queued.

        Raises:
            NotAllowed: another studio on this data folder does.
        """
        self._worker.begin()

    def start(self, project_id: int, *, boxes_do: bool = False) -> Job:
        """Freeze what is labelled now, and learn from it as soon as no other fine-tune runs.

        Args:
            project_id: the project.
            boxes_do: whether boxes alone are enough to learn from.

        Raises:
            NotAllowed: too little is labelled, or another studio on this data folder works.
            StudioError: the disk refuses; nothing was begun.
        """
        self._worker.begin()
        with self._lock:  # of two at once, the second sees the parts that the first gave images
            known = gather(self._store.list_project_instances(project_id))
            check_enough(known, boxes_do=boxes_do)
            job = self._freeze(project_id, known)
        self._worker.wake()
        return job

    def stop(self, job_id: int) -> None:
        """Ask a job to end; nothing of it is used.

        Raises:
            NotAllowed: it does not run, nor wait to.
        """
        state = self._store.get_job(job_id).state
        with self._lock:
            child = self._child[1] if self._child and self._child[0] == job_id else None
            if state not in OPEN or (child is not None and child.has_ended):
                raise NotAllowed("this job does not run any more")
            self._stopped.add(job_id)
        if child is not None:
            child.end()
        elif state is JobState.QUEUED:
            self._close(job_id, "")

    def decide(self, job_id: int, *, use: bool) -> ModelVersion:
        """Take a person's word on weights that the gate could not judge.

        Raises:
            NotAllowed: nobody asked, or the answer was given.
            NotFound: the weights are gone.
        """
        job = self._store.get_job(job_id)
        model = next(
            (m for m in self._store.list_models(job.project_id) if m.job_id == job_id), None
        )
        if model is None:
            raise NotAllowed("this job left no weights to decide on")
        if use:
            self._workflow.adopt(model.sha256, model.name)
        state = ModelState.PROMOTED if use else ModelState.REJECTED
        with self._store.transaction():
            decided = self._store.decide_model(model.id, state)
            outcome = {**job.result, "state": str(state), "decided": True, "in_use": use}
            self._store.set_job(job.id, result=outcome)
        if use:
            self._again.start(job.project_id)
        return decided

    def close(self) -> None:
        """End with the server; what runs goes on at the next start."""
        with self._lock:
            running = self._child
        if running is not None:
            self._worker.leave()
            running[1].end()
        self._worker.end(STOP_SECONDS)

    def _freeze(self, project_id: int, known: list[Labels]) -> Job:
        """Write what to learn from and to judge by into a new job's folder, and record both."""
        store = self._store
        splits = choose_splits(known)
        categories = store.list_categories(project_id)
        paths = {k.image.id: Path(raster_name(k.image)) for k in known}
        proposals = newest_proposals(store.list_project_revisions(project_id))
        parts = snapshot(known, splits, categories, paths, proposals)
        params = _to_params(known, splits)
        # Held until the files are there: the worker must not find the job before.
        with store.transaction():
            store.set_splits(project_id, splits)
            job = store.add_job(project_id, KIND, params, datetime.now(UTC))
            try:
                folder = self._folder(job.id)
                shutil.rmtree(folder, ignore_errors=True)  # of another life of the database
                folder.mkdir(parents=True)
                for part, name in FROZEN.items():
                    coco.save(parts[part], folder / name)
            except OSError as error:
                raise from_disk(error, "the fine-tune could not be started") from error
        return job

    def _carry_out(self, job: Job) -> None:
        """Run the child to its end and see what it left; a killed one is begun again."""
        job = self._launch(job)  # where the database refuses that, the job stays first in line
        try:
            child = Child(self._command(job), self._folder(job.id) / LOG)
        except (OSError, MALError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            self._close(job.id, f"the training could not be started: {text}")
            self._sweep(job.id)
            return
        with self._lock:
            self._child = job.id, child
            is_stopped = job.id in self._stopped
        try:
            if is_stopped:  # while it began
                child.end()
            result = self._listen(job, child)
            self._finish(job, child, result)
        except Exception as error:
            log.exception("job %s", job.id)
            text = str(error) if isinstance(error, MALError) else f"internal error: {error!r:.200}"
            self._close(job.id, text)
        finally:
            child.end()
            with self._lock:
                self._child = None
            if self._store.get_job(job.id).ended_at is not None:
                self._sweep(job.id)

    def _launch(self, job: Job) -> Job:
        """Record the start; the parent is the model in use when the first attempt begins."""
        parent = job.params.get("parent_id") or self._workflow.model_in_use(job.project_id).id
        params = {**job.params, "parent_id": parent}
        return self._store.launch_job(job.id, params, datetime.now(UTC))

    def _command(self, job: Job) -> list[str]:
        folder = self._folder(job.id)
        parent = self._store.get_model(int(job.params["parent_id"]))
        weights = self._workflow.weights_path(parent)
        files = {part: str((folder / name).resolve()) for part, name in FROZEN.items()}
        probe = self._settings.probe
        return [
            *(sys.executable, "-m", "mal_core", "finetune"),
            *(files[Split.TRAIN], str(self._lay_out(job).resolve())),
            *("--held-out", files[Split.HELD_OUT]),
            *("--weights", str(weights.resolve())),
            *("--out", str((folder / NEW_WEIGHTS).resolve())),
            *("--distil", *(str(PHOTOS / name) for name in REMINDERS)),
            *(("--probe", str(probe.resolve()), str(PHOTOS)) if probe.exists() else ()),
            *("--device", self._settings.device, "--threads", str(self._settings.threads)),
            *(("--resume",) if job.launches > 1 else ()),
            "--json",
        ]

    def _lay_out(self, job: Job) -> Path:
        """A folder that holds the images of a job for as long as its child reads them."""
        folder = self._folder(job.id)
        place = folder / "images"
        shutil.rmtree(place, ignore_errors=True)  # of an attempt that was killed
        names = (i.file_name for part in FROZEN.values() for i in coco.read(folder / part).images)
        return open_vault(self._settings).lay_out(names, place)

    def _listen(self, job: Job, child: Child) -> Mapping[str, Any]:
        """Carry the child's events into the database; returns the final figures."""
        curve = {row["epoch"]: row for row in job.progress.get("curve", [])}
        notices = list(job.progress.get("notices", []))
        if job.launches > 1:
            why = job.error or "the studio was stopped"
            notices.append(f"begun again, attempt {job.launches}: {why}")
        result: dict[str, Any] = {}
        for kind, event in child.events(lambda: self._store.beat_job(job.id, datetime.now(UTC))):
            if kind in ("judged", "saved"):
                result |= event
            elif kind == "epoch":
                curve[event["epoch"]] = event
            elif kind == "notice":
                notices.append(str(event["text"]))
            progress = {"stage": kind, "curve": list(curve.values()), "notices": notices} | event
            self._store.set_job(job.id, progress=progress)
        return result

    def _finish(self, job: Job, child: Child, result: Mapping[str, Any]) -> None:
        """Use what a child left, unless it failed or was stopped; too late to stop from here on."""
        code = child.wait()
        with self._lock:
            is_stopped = job.id in self._stopped
        if self._worker.is_ending and not is_stopped and code != 0:
            return  # ended with the studio: goes on at the next start
        if code < 0 and not is_stopped:
            self._store.set_job(job.id, error=child.last_words(code))  # and is begun again
        elif is_stopped or code != 0 or "sha256" not in result:
            self._close(job.id, child.last_words(code))
        else:
            self._publish(job, result)

    def _publish(self, job: Job, result: Mapping[str, Any]) -> None:
        """Move the weights to their hash, try them out, record them; use them if they pass."""
        verdict = judge(result, len(job.params["held_out_images"]))
        made = self._folder(job.id) / NEW_WEIGHTS
        sha256 = checkpoint.load(made).sha256
        if sha256 != result["sha256"]:
            raise TrainingError("the new weights are not the ones the child wrote")
        try:
            move_whole(made, self._settings.models / f"{sha256}.safetensors")
        except OSError as error:
            raise from_disk(error, "the new weights could not be kept") from error
        self._workflow.adopt(sha256, f"fine-tune {job.id}")
        if self._record(job, verdict, result):
            self._again.start(job.project_id)

    def _record(self, job: Job, verdict: Verdict, result: Mapping[str, Any]) -> bool:
        """Make the weights known; they are used if they passed what is still in use."""
        now = datetime.now(UTC)
        counts = {key: job.params[key] for key in ("n_masks", "n_boxes")}
        figures = {**result, **counts, "reason": verdict.reason}
        model = NewModel(
            name=f"fine-tune {job.id}",
            sha256=str(result["sha256"]),
            figures=figures,
            project_id=job.project_id,
            parent_id=int(job.params["parent_id"]),
            job_id=job.id,
        )
        with self._store.transaction():
            made = self._store.publish(model, verdict.state, now)
            in_use = self._store.get_project(job.project_id).model_id == made.id
            if verdict.state is ModelState.PROMOTED and not in_use:
                figures["reason"] += "; another model was chosen meanwhile and stays in use"
            outcome = {**figures, "state": str(verdict.state), "in_use": in_use}
            self._store.set_job(job.id, state=JobState.DONE, result=outcome, ended_at=now)
        return in_use

    def _close(self, job_id: int, text: str) -> None:
        """Close a job that came to nothing: stopped if a person asked for it, else failed."""
        stopped = job_id in self._stopped
        state, error = (JobState.STOPPED, "") if stopped else (JobState.FAILED, text)
        with suppress(NotAllowed):  # it is closed already
            self._store.set_job(job_id, state=state, error=error, ended_at=datetime.now(UTC))

    def _sweep(self, job_id: int) -> None:
        """Keep what the job was made from and what it showed; remove the rest."""
        kept = {*FROZEN.values(), LOG, COMPARISON}
        for path in self._folder(job_id).iterdir():
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _folder(self, job_id: int) -> Path:
        return job_folder(self._settings, job_id)


def job_folder(settings: Settings, job_id: int) -> Path:
    """Where a job's frozen data and what it showed lie."""
    return settings.jobs / str(job_id)


def _to_params(known: list[Labels], splits: Mapping[int, Split]) -> dict[str, Any]:
    """What a job is on record with: the revision of everything it uses, and who judges."""
    train = [k for k in known if splits[k.image.id] is Split.TRAIN]
    judges = [k for k in known if splits[k.image.id] is Split.HELD_OUT and k.masks]
    masks = [i for k in train for i in k.masks]
    boxes = [i for k in train for i in k.boxes]
    held = [i for k in judges for i in k.masks]
    return {
        "versions": {str(i.id): i.version for i in [*masks, *boxes, *held]},
        "held_out_images": [k.image.id for k in judges],
        "n_masks": len(masks),
        "n_boxes": len(boxes),
    }
