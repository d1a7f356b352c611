"""A thread that carries out the open jobs of one kind, one at a time.

What is to be done stands in the database alone: a job that is running when nobody runs it was
left by a studio that died, and goes first; then the queued ones, the oldest first. What a person
paused waits. What was begun three times and never ended, nor got on, is given up.
"""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Condition, Thread

from app.holding import hold
from app.records import Job, JobState, Wish
from app.store import Store

LAUNCHES = 3
PAUSE_SECONDS = 2.0  # after a job that the database could not even close
_TAKEN = "another studio serves this data folder and carries out its jobs: use that one"
log = logging.getLogger(__name__)


class Worker:
    """Carries out jobs of a kind until it is ended.

    Args:
        store: where the jobs are.
        kind: of the jobs.
        carry_out: does one job; it goes on being the first in line until its row has ended.
        lock: a file that one studio at a time may hold; its folder is made.
    """

    def __init__(
        self, store: Store, kind: str, carry_out: Callable[[Job], None], lock: Path
    ) -> None:
        self._store = store
        self._kind = kind
        self._carry_out = carry_out
        self._lock = lock
        self._held: int | None = None
        self._thread: Thread | None = None
        self._news = Condition()
        self._is_ending = False

    def begin(self) -> None:
        """Begin to work, unless that has happened.

        Raises:
            NotAllowed: another studio on this data folder carries out its jobs.
        """
        with self._news:
            if self._thread is None:
                self._held = hold(self._lock, _TAKEN)
                self._thread = Thread(target=self._work, name=self._kind, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Look for a new job."""
        with self._news:
            self._news.notify()

    def leave(self) -> None:
        """Take no job any more; the one in hand may be cut short."""
        with self._news:
            self._is_ending = True
            self._news.notify()

    @property
    def is_ending(self) -> bool:
        """Whether the job in hand should be left as it is, for the next start."""
        return self._is_ending

    def end(self, seconds: float) -> None:
        """Take no job any more, and wait so long for the one in hand."""
        self.leave()
        if self._thread is not None:
            self._thread.join(seconds)
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _work(self) -> None:
        while True:
            try:
                job = self._next()
                if job is None:
                    return
                if job.launches < LAUNCHES:
                    self._carry_out(job)
                else:
                    self._give_up(job)
            except Exception:
                log.exception("a job of kind %s", self._kind)
                with self._news:
                    self._news.wait(PAUSE_SECONDS)

    def _give_up(self, job: Job) -> None:
        """Close a job that something kills each time it runs."""
        last = job.error or "the studio was stopped while it ran"
        error = f"given up after {job.launches} attempts: {last}"
        now = datetime.now(UTC)
        self._store.set_job(job.id, state=JobState.FAILED, error=error, ended_at=now)

    def _next(self) -> Job | None:
        """The job whose turn it is; waits for one, None at the end."""
        with self._news:
            while not self._is_ending:
                jobs = [j for j in self._store.open_jobs(self._kind) if j.wish is not Wish.PAUSE]
                if jobs:
                    return min(jobs, key=lambda job: (job.state is JobState.QUEUED, job.id))
                self._news.wait()
        return None
