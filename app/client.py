"""A studio from a program: upload, boxes, masks, review, export, train, wait.

    from app.client import Client

    with Client("http://127.0.0.1:7860", token="mal_...") as studio:
        project = studio.add_project("Cups", ["cup"])
        image = studio.upload(project.id, Path("photo.jpg")).images[0]

It needs httpx, pydantic and the few modules it imports; no part of the studio itself. It may be
shared by threads. What the studio refuses is raised as the error it is there; see app.errors.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

import httpx

from app import wire
from app.calls import Calls
from app.errors import JobFailed, Unreachable
from app.records import Box, JobState, State
from mal_core.masks import RLE

Verdict = Literal["accept", "reject", "flag"]


class Client:
    """Speaks to one studio.

    Args:
        url: where it answers, such as "https://studio.example/annotate".
        token: of `python app.py user token NAME`; "" for a studio without users.
        timeout: seconds without a byte, after which a request has failed.
        sleep: waits so many seconds.
        transport: another way to the studio, for tests.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._calls = Calls(url, token, timeout, sleep, transport)
        self._sleep = sleep

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._calls.close()

    def projects(self) -> list[wire.Project]:
        """The projects you have a role in, oldest first."""
        return self._calls.get(wire.Projects, "/projects").projects

    def add_project(self, name: str, categories: Sequence[str] = ("object",)) -> wire.Project:
        """Make a project; one more of the same name, if there is one."""
        body = {"name": name, "categories": [*categories]}
        return self._calls.post(wire.Project, "/projects", body)

    def categories(self, project_id: int) -> dict[str, int]:
        """Ids of a project's categories by name."""
        found = self._calls.get(wire.Categories, f"/projects/{project_id}/categories")
        return {category.name: category.id for category in found.categories}

    def add_category(self, project_id: int, name: str) -> wire.Category:
        """Add a category, or find the one of that name."""
        path = f"/projects/{project_id}/categories"
        return self._calls.post(wire.Category, path, {"name": name}, again=True)

    def images(self, project_id: int) -> list[wire.CountedImage]:
        """The images of a project, by number."""
        return self._calls.get(wire.Images, f"/projects/{project_id}/images").images

    def upload(self, project_id: int, file: Path, name: str = "") -> wire.Upload:
        """Send an image, or a zip of images.

        Args:
            project_id: the project.
            file: what to send.
            name: what to call it there; "" for its own name.

        Raises:
            InputError: nothing in it can be used.
            TooLarge: it is longer than the studio takes.
        """
        params = {"file_name": name or file.name}
        path = f"/projects/{project_id}/images"
        return self._calls.send(wire.Upload, path, file, params)

    def download(self, image_id: int, target: Path) -> None:
        """Bring an image here, upright, as the studio keeps it: JPEG or PNG."""
        self._calls.download(f"/images/{image_id}/file", target)

    def import_file(
        self, project_id: int, file: Path, format_: str = "coco", *, dry_run: bool = False
    ) -> wire.ImportReport:
        """Import a data set: all of it or nothing.

        Args:
            project_id: the project.
            file: a file of the format, or a zip.
            format_: one of `formats`.
            dry_run: write nothing; the report says what would be, problems included.

        Raises:
            BadDataset: with a line for each problem; nothing was changed.
        """
        params: dict[str, str | bool] = {
            "file_name": file.name,
            "format": format_,
            "dry_run": dry_run,
        }
        path = f"/projects/{project_id}/imports"
        # What the project has is not added again, so that asking twice is asking once.
        return self._calls.send(wire.ImportReport, path, file, params)

    def instances(self, image_id: int) -> list[wire.Instance]:
        """The instances of an image with their masks, by number."""
        return self._calls.get(wire.Instances, f"/images/{image_id}/instances").instances

    def instance(self, instance_id: int) -> wire.Instance:
        """One instance at its newest version."""
        return self._calls.get(wire.Instance, f"/instances/{instance_id}")

    def add_boxes(self, image_id: int, boxes: Sequence[tuple[Box, int]]) -> list[wire.Instance]:
        """Add boxes that have no mask yet, all of them or none.

        Args:
            image_id: the image.
            boxes: (x0, y0, x1, y1) in pixels, half-open, each with the id of its category.
        """
        listed = [{"box": [*box], "category_id": category} for box, category in boxes]
        body = {"boxes": listed, "request_id": secrets.token_hex(16)}
        path = f"/images/{image_id}/boxes"
        return self._calls.post(wire.Instances, path, body, again=True).instances

    def propose(self, image_id: int, box: Box, category_id: int) -> wire.Instance:
        """Ask for the mask of a box now.

        Raises:
            Busy: the model is asked too much, also after a while.
        """
        body = {"box": [*box], "category_id": category_id, "request_id": secrets.token_hex(16)}
        return self._calls.post(wire.Instance, f"/images/{image_id}/propose", body, again=True)

    def propose_again(self, instance: wire.Instance) -> wire.Instance:
        """Ask for the mask of an instance's own box.

        Raises:
            Conflict: somebody saved since.
        """
        return self._calls.change(instance, "POST", "/propose", None)

    def propose_all(self, project_id: int) -> wire.Job:
        """Give every box without a mask its proposal, in the background."""
        return self._calls.post(wire.Job, f"/projects/{project_id}/propose", None)

    def save(
        self,
        instance: wire.Instance,
        *,
        mask: RLE | None = None,
        state: State = State.CORRECTED,
        box: Box | None = None,
        category_id: int | None = None,
    ) -> wire.Instance:
        """Make another of an instance.

        Args:
            instance: as you saw it.
            mask: None for the one it has.
            state: what it is then.
            box: None for the one it has.
            category_id: None for the one it has.

        Raises:
            Conflict: somebody saved since; yours is kept in the history.
        """
        body = {
            "state": state,
            "box": [*(box or instance.box)],
            "category_id": category_id or instance.category_id,
            "rle": instance.rle if mask is None else mask.to_coco(),
        }
        return self._calls.change(instance, "PUT", "", body)

    def review(self, instance: wire.Instance, verdict: Verdict, comment: str = "") -> wire.Instance:
        """Accept a mask, reject it, or flag it to be mended.

        Raises:
            Conflict: somebody saved since.
        """
        return self._calls.change(
            instance, "POST", "/review", {"verdict": verdict, "comment": comment}
        )

    def formats(self) -> list[wire.FormatInfo]:
        """Every format of imports and exports."""
        return self._calls.get(wire.Formats, "/formats").formats

    def export(
        self,
        project_id: int,
        target: Path,
        format_: str = "coco",
        *,
        proposals: bool = False,
        images: bool = False,
    ) -> wire.Export:
        """Have a project's masks written, proved, and bring the zip here.

        Args:
            project_id: the project.
            target: the zip to write.
            format_: one of `formats`.
            proposals: also masks that nobody reviewed.
            images: also the images.

        Raises:
            ExportFailed: it did not read back as it must; there is no zip.
        """
        path = f"/projects/{project_id}/exports"
        body = {"format": format_, "include_proposals": proposals, "include_images": images}
        made = self._calls.post(wire.Export, path, body)
        self._calls.download(f"{path}/{made.name}", target)
        return made

    def train(self, project_id: int, *, boxes_do: bool = False) -> wire.Job:
        """Learn from what is labelled now.

        Args:
            project_id: the project.
            boxes_do: whether boxes without a reviewed mask are enough.

        Raises:
            NotAllowed: too little is labelled.
        """
        return self._calls.post(wire.Job, f"/projects/{project_id}/train", {"boxes_do": boxes_do})

    def assignments(self, project_id: int) -> list[wire.Assignment]:
        """Who is to do which images, and who is done."""
        path = f"/projects/{project_id}/assignments"
        return self._calls.get(wire.Assignments, path).assignments

    def assign(self, project_id: int, image_ids: Sequence[int], person: str) -> wire.Dealt:
        """Give images to somebody; those that are another one's already, both annotate blind."""
        body = {"image_ids": [*image_ids], "person": person}
        return self._calls.post(wire.Dealt, f"/projects/{project_id}/assignments", body)

    def withdraw(self, project_id: int, image_ids: Sequence[int], person: str) -> wire.Dealt:
        """Take images from somebody; what they did there stays in the history."""
        body = {"image_ids": [*image_ids], "person": person}
        return self._calls.post(wire.Dealt, f"/projects/{project_id}/withdrawals", body)

    def deal(self, project_id: int, people: Sequence[str], *, share: float = 0.0) -> wire.Dealt:
        """Deal the images that are nobody's out evenly, a share of them to two people."""
        body = {"people": [*people], "share": share}
        return self._calls.post(wire.Dealt, f"/projects/{project_id}/deal", body)

    def done(self, image_id: int, *, is_done: bool = True) -> list[wire.Assignment]:
        """Say that you are done with an image of yours, or not yet."""
        path, body = f"/images/{image_id}/done", {"is_done": is_done}
        return self._calls.post(wire.Assignments, path, body, again=True).assignments

    def agreement(self, project_id: int) -> list[wire.Agreement]:
        """How far every two people agree on what they annotated blind and are done with."""
        return self._calls.get(wire.Agreements, f"/projects/{project_id}/agreement").pairs

    def jobs(self, project_id: int) -> list[wire.Job]:
        """The jobs of a project, the newest first."""
        return self._calls.get(wire.Jobs, f"/projects/{project_id}/jobs").jobs

    def job(self, job_id: int) -> wire.Job:
        """One job as it stands."""
        return self._calls.get(wire.Job, f"/jobs/{job_id}")

    def pause(self, job_id: int) -> wire.Job:
        """Let a job rest; fine-tunes do not."""
        return self._calls.post(wire.Job, f"/jobs/{job_id}/pause", None)

    def go(self, job_id: int) -> wire.Job:
        """Let a paused job go on."""
        return self._calls.post(wire.Job, f"/jobs/{job_id}/go", None)

    def stop(self, job_id: int) -> wire.Job:
        """Stop a job."""
        return self._calls.post(wire.Job, f"/jobs/{job_id}/stop", None)

    def wait(
        self,
        job_id: int,
        progress: Callable[[wire.Job], None] = lambda _: None,
        *,
        every: float = 1.0,
        longest: float | None = None,
    ) -> wire.Job:
        """Wait for the end of a job.

        Args:
            job_id: the job.
            progress: called with the job each time it was asked for.
            every: seconds between two questions.
            longest: seconds after which to give up; None for never.

        Raises:
            JobFailed: it failed, or was stopped.
            Unreachable: it has not ended in time, or the studio is gone.
        """
        begin = time.monotonic()
        while True:
            job = self.job(job_id)
            progress(job)
            if job.state is JobState.DONE:
                return job
            if job.ended_at is not None:
                raise JobFailed(f"job {job_id} {job.state}: {job.error or 'somebody stopped it'}")
            if longest is not None and time.monotonic() - begin > longest:
                raise Unreachable(f"job {job_id} has not ended within {longest:g} seconds")
            self._sleep(every)

    def decide(self, job_id: int, *, use: bool) -> wire.Model:
        """Use new weights that the gate could not judge, or keep the old ones."""
        return self._calls.post(wire.Model, f"/jobs/{job_id}/verdict", {"use": use})

    def models(self, project_id: int) -> wire.Models:
        """The model versions that a project may use, and which one it does."""
        return self._calls.get(wire.Models, f"/projects/{project_id}/models")

    def use_model(self, project_id: int, model_id: int) -> wire.Model:
        """Let another model propose."""
        return self._calls.post(wire.Model, f"/projects/{project_id}/models/{model_id}/use", None)

    def roll_back(self, project_id: int) -> wire.Model:
        """Go back to the model that the one in use was made from."""
        return self._calls.post(wire.Model, f"/projects/{project_id}/roll-back", None)
