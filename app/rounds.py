"""Rounds: the model is asked for a project's instances one by one, in the background.

What is left to do follows from the store alone, so that a round which was paused, stopped with the
studio or killed goes on where it was. A person's own box waits for at most one of a round's:
between two, the thread rests as long as the last one took.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import ClassVar

from app.errors import NotAllowed, Unavailable
from app.records import Job, JobState, Sketch, Wish
from app.settings import Settings
from app.store import Store
from app.worker import Worker
from app.workflow import Workflow
from mal_core.errors import MALError

END_SECONDS = 5.0
REST = 1.0  # times as long as the last one took
DEATHS = 2  # less than the launches after which a whole job is given up
TOLD = 20  # errors in words; all are counted
log = logging.getLogger(__name__)
_turn = Lock()  # of all rounds: a person does not wait for one of each kind


class Rounds(ABC):
    """The rounds of one kind, a project at a time."""

    kind: ClassVar[str]
    lock: ClassVar[str]  # the file that one studio holds while it carries them out

    def __init__(self, settings: Settings, store: Store, workflow: Workflow) -> None:
        self._store = store
        self._workflow = workflow
        self._worker = Worker(store, self.kind, self._carry_out, settings.jobs / self.lock)

    @abstractmethod
    def find(self, project_id: int) -> Iterable[Sketch]:
        """What is left to do."""

    @abstractmethod
    def do(self, instance_id: int) -> bool:
        """Do one; whether it has a new mask.

        Raises:
            MALError: it stays as it is.
        """

    def check(self, project_id: int) -> None:  # noqa: B027 - most may always begin
        """Whether a round may begin.

        Raises:
            NotAllowed: with the reason.
        """

    def recover(self) -> None:
        """Go on with what a former studio left.

        Raises:
            NotAllowed: another studio on this data folder does.
        """
        self._worker.begin()

    def start(self, project_id: int) -> Job:
        """Begin a round.

        Raises:
            NotAllowed: another studio on this data folder carries out its jobs, or `check` says so.
        """
        self._worker.begin()
        with self._store.transaction():
            self.check(project_id)
            job = self._store.add_job(project_id, self.kind, {}, datetime.now(UTC))
        self._worker.wake()
        return job

    def wish(self, job_id: int, wish: Wish) -> None:
        """Let a round pause, go on, or stop and leave the rest as it is.

        Raises:
            NotAllowed: it has ended, or a stop was wished for already.
        """
        self._store.wish_job(job_id, wish)
        self._worker.wake()

    def close(self) -> None:
        """End with the server; the job goes on at the next start."""
        self._worker.end(END_SECONDS)

    def _carry_out(self, job: Job) -> None:
        store = self._store
        with store.transaction():  # a wish may have come since the job was read
            job = store.launch_job(job.id, store.get_job(job.id).params, datetime.now(UTC))
        try:
            model = self._workflow.model_in_use(job.project_id)
            self._workflow.adopt(model.sha256, model.name)
        except MALError as error:
            now = datetime.now(UTC)
            store.set_job(job.id, state=JobState.FAILED, error=str(error), ended_at=now)
            return
        self._go_through(job)

    def _go_through(self, job: Job) -> None:
        """Do what is left, one after the other; each looks for the model in use anew.

        The one in hand is written down before it is done: what was in hand when the studio was
        killed, again and again, is left as it is. So one bad image does not hold up the others.
        """
        store = self._store
        # By image, so that each is decoded once.
        left = sorted(self.find(job.project_id), key=lambda s: (s.image_id, s.number))
        total = max(len(left), int(job.progress.get("total", 0)))
        images = max(len({s.image_id for s in left}), int(job.progress.get("images", 0)))
        progress = {"done": total - len(left), "total": total, "images": images}
        errors: Counter[str] = Counter()
        deaths = _count_deaths(job)
        changed, launches = 0, None
        for sketch in left:
            told = progress | _told(errors) | ({"deaths": deaths} if deaths else {})
            wish = store.get_job(job.id).wish
            if self._worker.is_ending or wish is Wish.PAUSE:
                store.set_job(job.id, progress=told, launches=0)  # left in order, not killed
                return
            if wish is Wish.STOP:
                break
            store.set_job(job.id, progress=told | {"in_hand": sketch.id}, launches=launches)
            if deaths[str(sketch.id)] < DEATHS:
                changed += self._do_one(job.id, sketch, errors)
            else:
                name = store.get_image(sketch.image_id).file_name
                errors[f"{name}: the studio ended {DEATHS} times while a box was in hand"] += 1
            progress["done"] += 1
            launches = 0  # it got on: only what never does is given up
        state = JobState.STOPPED if store.get_job(job.id).wish is Wish.STOP else JobState.DONE
        result = {"changed": changed, "waiting": len(left)}
        store.set_job(
            job.id,
            state=state,
            progress=progress | _told(errors),
            result=result,
            launches=launches,
            ended_at=datetime.now(UTC),
        )

    def _do_one(self, job_id: int, sketch: Sketch, errors: Counter[str]) -> bool:
        """Do one, and rest; one that cannot be done is left as it is.

        Where the image store is away, none of the others could be done either: the round pauses.
        """
        with _turn:
            begin = time.perf_counter()
            try:
                return self.do(sketch.id)
            except Exception as error:
                log.exception("instance %s is left as it is", sketch.id)
                name = self._store.get_image(sketch.image_id).file_name
                text = str(error) if isinstance(error, MALError) else f"internal: {error!r:.200}"
                errors[f"{name}: {text}"] += 1
                if isinstance(error, Unavailable):
                    with suppress(NotAllowed):  # it is being stopped anyway
                        self._store.wish_job(job_id, Wish.PAUSE)
                return False
            finally:
                time.sleep(REST * (time.perf_counter() - begin))


def _count_deaths(job: Job) -> Counter[str]:
    """How often the studio was killed with each instance in hand; ids as JSON keeps them."""
    deaths = Counter[str](job.progress.get("deaths", {}))
    if (in_hand := job.progress.get("in_hand")) is not None:
        deaths[str(in_hand)] += 1
    return deaths


def _told(errors: Counter[str]) -> dict[str, object]:
    """The errors as they stand in a job's progress, one line for all boxes of an image alike."""
    if not errors:
        return {}
    lines = [f"{text} ({n} boxes)" if n > 1 else text for text, n in errors.items()]
    return {"failed": errors.total(), "errors": lines[:TOLD]}
