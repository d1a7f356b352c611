"""Fine-tunes as child processes: start, follow, stop, judge, publish.

A job is a row in the database and `python -m mal_core finetune --json` in a process group of its
own, at low priority; a crash or lack of memory stays in the child. New weights are published under
their content hash, then one transaction records them and, if they passed, puts them in use.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from app.errors import NotAllowed, StudioError
from app.images import path_of
from app.learning import Labelled, Verdict, choose_splits, judge, reviewed_masks, snapshot
from app.records import Job, JobState, NewModel, Split
from app.settings import Settings
from app.store import Store
from app.workflow import Workflow
from mal_core import checkpoint, coco
from mal_core.errors import MALError, TrainingError
from mal_core.files import move_whole

KIND = "fine-tune"
LOW_PRIORITY = 10
STOP_SECONDS = 5.0
NEW_WEIGHTS = "new.safetensors"
_FILES = {Split.TRAIN: "train.json", Split.HELD_OUT: "held-out.json"}
log = logging.getLogger(__name__)


class Jobs:
    """Runs at most one fine-tune at a time."""

    def __init__(self, settings: Settings, store: Store, workflow: Workflow) -> None:
        self._settings = settings
        self._store = store
        self._workflow = workflow
        self._lock = Lock()
        self._children: dict[int, subprocess.Popen[str]] = {}
        self._follower: Thread | None = None
        self._stopped: set[int] = set()

    def recover(self) -> None:
        """Close the books on jobs that a former server left queued or running."""
        for job in self._store.running_jobs():
            self._close(job.id, "the studio was stopped while this job ran; start it again")
            self._sweep(job.id)

    def start(self, project_id: int) -> Job:
        """Freeze the reviewed masks and start to learn from them.

        Raises:
            NotAllowed: too few reviewed masks, or another fine-tune runs.
            StudioError: the disk or the system refuses; the job is on record as failed.
        """
        with self._lock:
            if self._children:
                raise NotAllowed("a fine-tune is running: wait for it or stop it first")
            job, labelled, splits = self._prepare(project_id)
            try:
                self._freeze(job, labelled, splits)
                child = self._spawn(self._command(job), self._folder(job.id))
            except OSError as error:
                text = f"the training could not be started: {error.strerror}"
                self._close(job.id, text)
                raise StudioError(text) from error
            self._children[job.id] = child
            self._follower = Thread(target=self._follow, args=(job, child), daemon=True)
            self._follower.start()
        return job

    def stop(self, job_id: int) -> None:
        """Ask a job to end; nothing of it is used.

        Raises:
            NotAllowed: it does not run.
        """
        with self._lock:
            child = self._children.get(job_id)
            if child is None or child.poll() is not None:
                raise NotAllowed("this job does not run any more")
            self._stopped.add(job_id)
        _terminate(child)

    def close(self) -> None:
        """Stop whatever runs, at the server's end, and see it into the books."""
        for job_id in list(self._children):
            with suppress(NotAllowed):  # it ended by itself meanwhile
                self.stop(job_id)
        if self._follower is not None:
            self._follower.join(STOP_SECONDS)

    def _prepare(self, project_id: int) -> tuple[Job, Labelled, Mapping[int, Split]]:
        """Choose what to learn from and what to judge by, and record the job with both."""
        store, parent = self._store, self._workflow.model_in_use(project_id)
        labelled = reviewed_masks(store.list_project_instances(project_id))
        images = [image for image, _ in labelled]
        splits = choose_splits(images)
        store.set_splits(project_id, splits)
        revisions = {i.id: i.version for _, instances in labelled for i in instances}
        params = {
            "parent_id": parent.id,
            "versions": {str(key): version for key, version in revisions.items()},
            "held_out_images": [i.id for i in images if splits[i.id] is Split.HELD_OUT],
        }
        return store.add_job(project_id, KIND, params, datetime.now(UTC)), labelled, splits

    def _freeze(self, job: Job, labelled: Labelled, splits: Mapping[int, Split]) -> None:
        """Write the masks to learn from and to judge by into the job's folder."""
        folder = self._folder(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        root = self._settings.images
        paths = {i.id: path_of(self._settings, i).relative_to(root) for i, _ in labelled}
        categories = self._store.list_categories(job.project_id)
        parts = snapshot(labelled, splits, categories, paths)
        for part, name in _FILES.items():
            coco.save(parts[part], folder / name)

    def _command(self, job: Job) -> list[str]:
        folder = self._folder(job.id)
        parent = self._store.get_model(int(job.params["parent_id"]))
        weights = self._workflow.weights_path(parent)
        files = {part: str((folder / name).resolve()) for part, name in _FILES.items()}
        return [
            *(sys.executable, "-m", "mal_core", "finetune"),
            *(files[Split.TRAIN], str(self._settings.images.resolve())),
            *("--held-out", files[Split.HELD_OUT]),
            *("--weights", str(weights.resolve())),
            *("--out", str((folder / NEW_WEIGHTS).resolve())),
            *("--device", self._settings.device, "--threads", str(self._settings.threads)),
            "--json",
        ]

    def _spawn(self, command: list[str], folder: Path) -> "subprocess.Popen[str]":
        with (folder / "log.txt").open("w", encoding="utf-8") as errors:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and checked paths
                ["nice", "-n", str(LOW_PRIORITY), *command],  # noqa: S607
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )

    def _follow(self, job: Job, child: "subprocess.Popen[str]") -> None:
        """Carry the child's events into the database until it ends; then judge."""
        try:
            result = self._listen(job.id, child)
            self._finish(job, child.wait(), result)
        except Exception as error:
            log.exception("job %s", job.id)
            text = str(error) if isinstance(error, MALError) else f"internal error: {error!r:.200}"
            self._close(job.id, text)
        finally:
            _terminate(child)
            with self._lock:
                del self._children[job.id]
                self._stopped.discard(job.id)
            self._sweep(job.id)

    def _listen(self, job_id: int, child: "subprocess.Popen[str]") -> Mapping[str, Any]:
        """Read events to the end of the child's output; returns the final figures."""
        curve: list[Mapping[str, Any]] = []
        result: dict[str, Any] = {}
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                kind, event = _read_event(line)
                if kind in ("judged", "saved"):
                    result |= event
                elif kind == "epoch":
                    curve.append(event)
                progress = {"stage": kind, "curve": curve} | event
                self._store.set_job(job_id, state=JobState.RUNNING, progress=progress)
        return result

    def _finish(self, job: Job, code: int, result: Mapping[str, Any]) -> None:
        """Use what a child left, unless it failed or was stopped; too late to stop from here on."""
        with self._lock:
            is_stopped = job.id in self._stopped
        if is_stopped or code != 0 or "sha256" not in result:
            self._close(job.id, self._last_words(job.id, code))
        else:
            self._publish(job, result)

    def _publish(self, job: Job, result: Mapping[str, Any]) -> None:
        """Move the weights to their hash, load them once, record them; use them if they pass."""
        verdict = judge(result)
        made = self._folder(job.id) / NEW_WEIGHTS
        loaded = checkpoint.load(made)  # strict: the smoke test of the file
        if loaded.sha256 != result["sha256"]:
            raise NotAllowed("the new weights are not the ones the child wrote")
        move_whole(made, self._settings.models / f"{loaded.sha256}.safetensors")
        self._record(job, verdict, result)

    def _record(self, job: Job, verdict: Verdict, result: Mapping[str, Any]) -> None:
        """Make the weights known; they are used if they passed what is still in use."""
        now = datetime.now(UTC)
        figures = {**result, "reason": verdict.reason}
        model = NewModel(
            name=f"fine-tune {job.id}",
            sha256=str(result["sha256"]),
            figures=figures,
            project_id=job.project_id,
            parent_id=int(job.params["parent_id"]),
            job_id=job.id,
        )
        with self._store.transaction():
            made = self._store.publish(model, use=verdict.promoted, now=now)
            in_use = self._store.get_project(job.project_id).model_id == made.id
            if verdict.promoted and not in_use:
                figures["reason"] += "; another model was chosen meanwhile and stays in use"
            outcome = {**figures, "promoted": verdict.promoted, "in_use": in_use}
            self._store.set_job(job.id, state=JobState.DONE, result=outcome, ended_at=now)

    def _close(self, job_id: int, text: str) -> None:
        """Close a job that came to nothing: stopped if a person asked for it, else failed."""
        stopped = job_id in self._stopped
        state, error = (JobState.STOPPED, "") if stopped else (JobState.FAILED, text)
        try:
            self._store.set_job(job_id, state=state, error=error, ended_at=datetime.now(UTC))
        except StudioError:  # it is closed already, or the disk is full
            log.exception("job %s could not be closed as %s", job_id, state)

    def _last_words(self, job_id: int, code: int) -> str:
        """Why the child ended: its last line on stderr, or the signal that killed it."""
        if code < 0:
            return f"the training process was killed by signal {-code}, perhaps for lack of memory"
        text = (self._folder(job_id) / "log.txt").read_text("utf-8", errors="replace").strip()
        words = text.splitlines()[-1] if text else "no message"
        return f"the training process ended with status {code}: {words[:500]}"

    def _sweep(self, job_id: int) -> None:
        """Remove what a child that was killed could not: features, weights nobody uses."""
        folder = self._folder(job_id)
        (folder / NEW_WEIGHTS).unlink(missing_ok=True)
        for features in folder.glob("features-*"):
            shutil.rmtree(features, ignore_errors=True)

    def _folder(self, job_id: int) -> Path:
        return self._settings.jobs / str(job_id)


def _read_event(line: str) -> tuple[str, dict[str, Any]]:
    try:
        event = json.loads(line)
        return event.pop("event"), event
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise TrainingError(f"the training process wrote no event but {line!r:.100}") from error


def _terminate(child: "subprocess.Popen[str]") -> None:
    """End a child and what it started, politely first."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, sign)
            child.wait(STOP_SECONDS)
