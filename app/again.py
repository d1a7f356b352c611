"""After another model came into use: untouched proposals are proposed again, in the background.

A mask that a person corrected, accepted, rejected or so much as brushed once is left alone. A
person's own box waits for at most one of these: between two, the thread rests as long as the last
one took.
"""

import logging
import time
from datetime import UTC, datetime

from app.records import Job, JobState, State
from app.settings import Settings
from app.store import Store
from app.worker import Worker
from app.workflow import Workflow
from mal_core.errors import MALError

KIND = "propose again"
END_SECONDS = 5.0
log = logging.getLogger(__name__)


class Again:
    """Proposes again, a project at a time."""

    def __init__(self, settings: Settings, store: Store, workflow: Workflow) -> None:
        self._store = store
        self._workflow = workflow
        self._stopped: set[int] = set()
        self._worker = Worker(store, KIND, self._carry_out, settings.jobs / "again.lock")

    def recover(self) -> None:
        """Go on with what a former studio left.

        Raises:
            NotAllowed: another studio on this data folder does.
        """
        self._worker.begin()

    def start(self, project_id: int) -> Job:
        """Ask the model in use for the untouched proposals of other models.

        Raises:
            NotAllowed: another studio on this data folder carries out its jobs.
        """
        self._worker.begin()
        job = self._store.add_job(project_id, KIND, {}, datetime.now(UTC))
        self._worker.wake()
        return job

    def stop(self, job_id: int) -> None:
        """Leave the rest as it is."""
        self._stopped.add(job_id)

    def close(self) -> None:
        """End with the server; the job goes on at the next start."""
        self._worker.end(END_SECONDS)

    def _carry_out(self, job: Job) -> None:
        """Go through the project's proposals; each looks for the model in use anew."""
        store = self._store
        store.launch_job(job.id, job.params, datetime.now(UTC))
        try:
            model = self._workflow.model_in_use(job.project_id)
            self._workflow.adopt(model.sha256, model.name)
        except MALError as error:
            now = datetime.now(UTC)
            store.set_job(job.id, state=JobState.FAILED, error=str(error), ended_at=now)
            return
        waiting = self._find(job.project_id)
        changed = 0
        for done, instance_id in enumerate(waiting):
            store.set_job(job.id, progress={"done": done, "total": len(waiting)})
            if self._worker.is_ending:
                return
            if job.id in self._stopped:
                break
            changed += self._do_one(instance_id)
        state = JobState.STOPPED if job.id in self._stopped else JobState.DONE
        result = {"changed": changed, "waiting": len(waiting)}
        store.set_job(job.id, state=state, result=result, ended_at=datetime.now(UTC))

    def _do_one(self, instance_id: int) -> bool:
        """Propose one again, and rest; one that cannot be proposed is left as it is."""
        begin = time.perf_counter()
        try:
            return self._workflow.propose_again(instance_id)
        except MALError:
            log.exception("instance %s is left as it is", instance_id)
            return False
        finally:
            time.sleep(time.perf_counter() - begin)

    def _find(self, project_id: int) -> list[int]:
        """Proposals with a mask of another model than the one in use; touched ones among them."""
        in_use = self._store.get_project(project_id).model_id
        pairs = self._store.list_project_instances(project_id, {State.PROPOSED})
        return [i.id for _, i in pairs if i.draft.rle and i.draft.model_id != in_use]
