"""Use cases of programs that pages lack: uploads by name, boxes, verdicts, all jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from app import again, batch, jobs
from app.errors import NotAllowed
from app.exchange import ExportReport, ImportReport
from app.history import SENT_BACK
from app.images import clean_name
from app.jobs import Jobs
from app.library import Library
from app.records import (
    Box,
    Draft,
    Image,
    Instance,
    Job,
    ModelVersion,
    NewInstance,
    State,
    Wish,
    Work,
)
from app.registry import Registry
from app.review import Review
from app.rounds import Rounds
from app.store import Store, no_such
from app.wire import NewExport
from app.workflow import Workflow
from mal_core.errors import BadImage

KINDS = (jobs.KIND, batch.KIND, again.KIND)
_NAME_BYTES = 200
_VERDICTS = {
    "accept": (State.ACCEPTED, "accept"),
    "reject": (State.REJECTED, "reject"),
    "flag": (State.PROPOSED, SENT_BACK),
}


@dataclass(frozen=True)
class Taken:
    """What became of an upload.

    Attributes:
        images: those it holds, each once, new to the project or known.
        added: how many are new.
        problems: a line for each file left out.
    """

    images: Sequence[Image]
    added: int
    problems: Sequence[str]


class Programs:
    """What a program asks for, in the name of a person."""

    def __init__(
        self,
        store: Store,
        workflow: Workflow,
        library: Library,
        review: Review,
        fine_tunes: Jobs,
        rounds: Sequence[Rounds],
        registry: Registry,
    ) -> None:
        self._store, self._workflow, self._registry = store, workflow, registry
        self._library, self._review = library, review
        self._fine_tunes = fine_tunes
        self._rounds = {one.kind: one for one in rounds}

    def upload(self, project_id: int, path: Path, name: str) -> Taken:
        """Take an image in, or the images of a zip.

        Args:
            project_id: the project.
            path: where the upload lies; its suffix says whether it is a zip.
            name: what the program calls it.

        Raises:
            BadImage: nothing in it could be used.
            NotFound: there is no such project.
        """
        self._store.get_project(project_id)
        steps = list(self._library.add_upload(project_id, path, name))
        images = {step.image.id: step.image for step in steps if step.image is not None}
        problems = [step.line for step in steps if step.image is None]
        if not images:
            raise BadImage("; ".join(problems[:10]) or f"{clean_name(name)} holds no image")
        return Taken([*images.values()], sum(step.added for step in steps), problems)

    def add_boxes(
        self, image_id: int, boxes: Sequence[tuple[Box, int]], person: str, request_id: str
    ) -> list[Instance]:
        """Add boxes to an image as proposals that have no mask yet, all of them or none.

        Args:
            image_id: the image.
            boxes: each with the id of its category.
            person: in whose name.
            request_id: asking again under the same name gets the instances made before.

        Raises:
            NotFound: there is no such image or category.
            NotAllowed: a category is another project's, or the request_id was used for something
                else.
            BadBox: a box leaves the image.
        """
        drafts = [Draft(State.PROPOSED, category, box, None) for box, category in boxes]
        new = [NewInstance(image_id, draft) for draft in drafts]
        with self._store.transaction():
            self._store.get_image(image_id)
            if request_id and (made := self._answered(image_id, person, request_id, len(boxes))):
                return made
            now = datetime.now(UTC)
            added = self._store.add_instances(new, person, "box", now)
            for place, instance in enumerate(added if request_id else ()):
                self._store.add_answer(person, f"{request_id}/{place}", instance.id)
        return added

    def judge(
        self,
        known: tuple[int, int],
        verdict: Literal["accept", "reject", "flag"],
        comment: str,
        person: str,
        work: Work,
    ) -> Instance:
        """Say of a mask that it is right, that it is none, or that it is to be mended.

        Args:
            known: id and version of the instance.
            verdict: accept, reject or flag; what is flagged comes first in the queue.
            comment: for those who look at it next; "" for none.
            person: whose word it is.
            work: the lease it is done under, and what it took.

        Raises:
            NotFound: there is no such instance.
            NotAllowed: the state does not fit.
            Conflict: somebody saved first.
        """
        instance = self._store.get_instance(known[0])
        if comment.strip():
            self._review.comment(instance.image_id, instance.id, person, comment)
        state, reason = _VERDICTS[verdict]
        draft = replace(instance.draft, state=state)
        return self._workflow.save(known[0], known[1], draft, person, reason, work)

    def list_jobs(self, project_id: int) -> list[Job]:
        """All jobs of a project, newest first.

        Raises:
            NotFound: there is no such project.
        """
        found = [job for kind in KINDS for job in self._store.list_jobs(project_id, kind)]
        return sorted(found, key=lambda job: -job.id)

    def wish(self, job_id: int, wish: Wish, person: str) -> Job:
        """Let a job pause, go on, or stop.

        Raises:
            NotFound: there is no such job.
            NotAllowed: it has ended, or is a fine-tune, which does not pause.
        """
        job = self._store.get_job(job_id)
        if job.kind in self._rounds:
            self._rounds[job.kind].wish(job_id, wish)
        elif wish is Wish.STOP:
            self._fine_tunes.stop(job_id)
        else:
            raise NotAllowed("a fine-tune does not pause: it can only be stopped")
        self._note(person, f"job.{wish}", job.project_id, f"{job.kind} {job.id}")
        return self._store.get_job(job_id)

    def import_files(
        self, project_id: int, format_name: str, path: Path, person: str, *, dry_run: bool
    ) -> ImportReport:
        """Import a file; see Library.import_files."""
        report = self._library.import_files(
            project_id, format_name, [path], person, dry_run=dry_run
        )
        if not dry_run:
            counts = {"images": report.n_images, "masks": report.n_masks, "boxes": report.n_boxes}
            self._note(person, "import", project_id, format_name, **counts)
        return report

    def export(self, project_id: int, body: NewExport, person: str) -> ExportReport:
        """Make a proved zip; see Library.export."""
        report = self._library.export(
            project_id,
            body.format,
            include_proposals=body.include_proposals,
            include_images=body.include_images,
        )
        told = {"masks": report.n_annotations, "name": report.path.name}
        self._note(person, "export", project_id, body.format, **told)
        return report

    def train(self, project_id: int, person: str, *, boxes_do: bool) -> Job:
        """Start a fine-tune; see Jobs.start."""
        job = self._fine_tunes.start(project_id, boxes_do=boxes_do)
        kind = "fine-tune from boxes" if boxes_do else "fine-tune"
        self._note(person, "job.start", project_id, f"{kind} {job.id}")
        return job

    def propose_all(self, project_id: int, person: str) -> Job:
        """Start the job that gives boxes their masks; see Batch.start."""
        job = self._rounds[batch.KIND].start(project_id)
        self._note(person, "job.start", project_id, f"masks for boxes {job.id}")
        return job

    def decide(self, job_id: int, person: str, *, use: bool) -> ModelVersion:
        """Take a person's word on new weights; see Jobs.decide."""
        model = self._fine_tunes.decide(job_id, use=use)
        project_id = self._store.get_job(job_id).project_id
        self._note(person, "model.use" if use else "model.keep", project_id, model.name)
        return model

    def use_model(self, project_id: int, model_id: int, person: str) -> ModelVersion:
        """Let another of a project's models propose; see Registry.use.

        Raises:
            NotFound: there is no such model, or it is another project's.
        """
        if model_id not in {model.id for model in self._store.list_models(project_id)}:
            raise no_such("model_version", model_id)
        model = self._registry.use(project_id, model_id)
        self._note(person, "model.use", project_id, model.name)
        return model

    def roll_back(self, project_id: int, person: str) -> ModelVersion:
        """Go back to the parent of the model in use; see Registry.roll_back."""
        model = self._registry.roll_back(project_id)
        self._note(person, "model.roll back", project_id, model.name)
        return model

    def _note(self, person: str, act: str, project_id: int, subject: str, **detail: object) -> None:
        """Write a line of the audit log, as the pages do."""
        now = datetime.now(UTC)
        self._store.add_audit(
            person, act, now, project_id=project_id, subject=subject, detail=detail
        )

    def _answered(self, image_id: int, person: str, request_id: str, count: int) -> list[Instance]:
        """The instances that an earlier request of this name made; none if there was none."""
        places = [f"{request_id}/{place}" for place in range(count)]
        found = [self._store.find_answer(person, place, image_id) for place in places[:1]]
        if found == [None]:
            return []
        keys = [self._store.find_answer(person, place, image_id) for place in places]
        if any(key is None for key in keys):
            raise NotAllowed("this request_id was used for other boxes: choose another one")
        return [self._store.get_instance(key) for key in keys if key is not None]


def safe_name(file_name: str) -> str:
    """A name for the disk that keeps what matters of a stranger's: its last part and its suffix."""
    last = clean_name(file_name).rsplit("/", 1)[-1].lstrip(".") or "file"
    suffix = PurePosixPath(last).suffix[:20]
    stem = last.removesuffix(PurePosixPath(last).suffix)
    room = _NAME_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode(errors="ignore") + suffix
