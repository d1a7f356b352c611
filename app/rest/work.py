"""Boxes, masks, reviews, jobs and models, for programs."""

from collections.abc import Mapping
from typing import Annotated, Any

import anyio
from fastapi import Header, Request, Response
from fastapi.responses import FileResponse

from app import wire
from app.access import Access, Right
from app.api import Api
from app.bodies import ProposeBody, SaveBody
from app.guard import to_version
from app.programs import Programs
from app.records import Instance, Job, Wish
from app.rest.door import Door
from app.store import Store

IfMatch = Annotated[str, Header(description="the version that the change was made from")]


class Work:
    """The routes; each is one call of a use case, or of the canvas's own route."""

    def __init__(
        self,
        store: Store,
        access: Access,
        api: Api,
        programs: Programs,
    ) -> None:
        self._store, self._access = store, access
        self._api, self._programs = api, programs

    def add_to(self, door: Door) -> None:
        """Add the routes."""
        self._add_instances(door)
        self._add_jobs(door)

    def _add_instances(self, door: Door) -> None:
        image, one, saves = "/images/{image_id}", "/instances/{instance_id}", (409, 507)
        annotate, shape = Right.ANNOTATE, wire.Instance
        door.add(
            f"GET {image}/file", self._api.image, Right.VIEW, None, response_class=FileResponse
        )
        door.add(f"GET {image}/instances", self.instances, Right.VIEW, wire.Instances)
        door.add(
            f"POST {image}/boxes", self.add_boxes, annotate, wire.Instances, (507,),
            status_code=201,
        )  # fmt: skip
        door.add(f"POST {image}/propose", self.propose, annotate, shape, (429, 507))
        door.add(f"GET {one}", self.instance, Right.VIEW, shape)
        door.add(f"PUT {one}", self.save, annotate, shape, saves)
        door.add(f"POST {one}/propose", self.propose_again, annotate, shape, (409, 429, 507))
        door.add(f"POST {one}/review", self.review, annotate, shape, saves)

    def _add_jobs(self, door: Door) -> None:
        project, job = "/projects/{project_id}", "/jobs/{job_id}"
        train = Right.TRAIN
        door.add(f"POST {project}/train", self.train, train, wire.Job, (507,), status_code=202)
        door.add(f"POST {project}/propose", self.propose_all, train, wire.Job, status_code=202)
        door.add(f"GET {project}/jobs", self.jobs, Right.VIEW, wire.Jobs)
        door.add(f"GET {job}", self.job, Right.VIEW, wire.Job)
        door.add(f"POST {job}/pause", self.pause, train, wire.Job)
        door.add(f"POST {job}/go", self.go, train, wire.Job)
        door.add(f"POST {job}/stop", self.stop, train, wire.Job)
        door.add(f"POST {job}/verdict", self.decide, train, wire.Model)
        door.add(f"GET {project}/models", self.models, Right.VIEW, wire.Models)
        door.add(f"POST {project}/models/{{number}}/use", self.use, train, wire.Model)
        door.add(f"POST {project}/roll-back", self.roll_back, train, wire.Model)

    def instances(self, image_id: int, request: Request) -> Mapping[str, Any]:
        """The instances of an image with their masks; deleted ones are left out.

        Of an image that is annotated blind they are your own.
        """
        found = self._store.list_instances(image_id, viewer=request.state.person)
        return {"instances": [_flat(one) for one in found]}

    def add_boxes(self, image_id: int, body: wire.NewBoxes, request: Request) -> Mapping[str, Any]:
        """Add boxes as proposals that have no mask yet, all of them or none."""
        boxes = [(one.box, one.category_id) for one in body.boxes]
        caller, person = request.state.caller, request.state.person
        for category_id in {category for _, category in boxes}:
            self._access.check(caller, Right.ANNOTATE, "category", category_id)
        added = self._programs.add_boxes(image_id, boxes, person, body.request_id)
        return {"instances": [_flat(one) for one in added]}

    async def propose(self, image_id: int, body: wire.NewProposal, request: Request) -> Response:
        """Ask the model for the mask of a box now, and keep it as a proposal.

        Few wait for the model at the same time; for many boxes add them and let the job "propose
        all" give them their masks.
        """
        wanted = ProposeBody(
            image_id=image_id,
            box=body.box,
            category_id=body.category_id,
            request_id=body.request_id,
        )
        return await self._api.propose(wanted, request)

    def instance(self, instance_id: int) -> Mapping[str, Any]:
        """One instance at its newest version."""
        return _flat(self._store.get_instance(instance_id))

    def save(
        self, instance_id: int, body: wire.Save, request: Request, if_match: IfMatch
    ) -> Mapping[str, Any]:
        """Make of an instance what you say, if nobody saved since the version in If-Match."""
        wanted = SaveBody(**body.model_dump())
        return self._api.save(instance_id, wanted, request, if_match)

    async def propose_again(
        self, instance_id: int, request: Request, if_match: IfMatch
    ) -> Response:
        """Ask the model anew for the mask of an instance's own box, as for a box without one."""
        instance = await anyio.to_thread.run_sync(self._store.get_instance, instance_id)
        wanted = ProposeBody(
            image_id=instance.image_id,
            box=instance.draft.box,
            category_id=instance.draft.category_id,
            instance_id=instance_id,
            version=to_version(if_match),
        )
        return await self._api.propose(wanted, request)

    def review(
        self, instance_id: int, body: wire.Judgement, request: Request, if_match: IfMatch
    ) -> Mapping[str, Any]:
        """Accept a mask, reject it, or flag it: back to the proposals, first in the queue."""
        known, state = (instance_id, to_version(if_match)), request.state
        return _flat(
            self._programs.judge(known, body.verdict, body.comment, state.person, state.work)
        )

    def train(self, project_id: int, body: wire.NewTraining, request: Request) -> Mapping[str, Any]:
        """Learn from what is labelled now; the job waits for the one before it."""
        person = request.state.person
        return _job(self._programs.train(project_id, person, boxes_do=body.boxes_do))

    def propose_all(self, project_id: int, request: Request) -> Mapping[str, Any]:
        """Give every box without a mask its proposal, in the background."""
        return _job(self._programs.propose_all(project_id, request.state.person))

    def jobs(self, project_id: int) -> Mapping[str, Any]:
        """The jobs of a project."""
        return {"jobs": [_job(job) for job in self._programs.list_jobs(project_id)]}

    def job(self, job_id: int) -> Mapping[str, Any]:
        """One job, with where it is and what came of it."""
        return _job(self._store.get_job(job_id))

    def pause(self, job_id: int, request: Request) -> Mapping[str, Any]:
        """Let a job rest after the box in hand; fine-tunes do not pause."""
        return _job(self._programs.wish(job_id, Wish.PAUSE, request.state.person))

    def go(self, job_id: int, request: Request) -> Mapping[str, Any]:
        """Let a paused job go on."""
        return _job(self._programs.wish(job_id, Wish.GO, request.state.person))

    def stop(self, job_id: int, request: Request) -> Mapping[str, Any]:
        """Stop a job: a fine-tune comes to nothing, masks already proposed stay."""
        return _job(self._programs.wish(job_id, Wish.STOP, request.state.person))

    def decide(self, job_id: int, body: wire.Verdict, request: Request) -> object:
        """Use new weights that the gate could not judge, or keep the old ones."""
        return self._programs.decide(job_id, request.state.person, use=body.use)

    def models(self, project_id: int) -> Mapping[str, Any]:
        """The model versions that a project may use."""
        in_use = self._store.get_project(project_id).model_id
        return {"in_use": in_use, "models": self._store.list_models(project_id)}

    def use(self, project_id: int, number: int, request: Request) -> object:
        """Let another model propose from now on; untouched proposals follow in the background."""
        return self._programs.use_model(project_id, number, request.state.person)

    def roll_back(self, project_id: int, request: Request) -> object:
        """Go back to the model that the one in use was made from."""
        return self._programs.roll_back(project_id, request.state.person)


def _flat(instance: Instance) -> dict[str, Any]:
    """An instance as wire.Instance has it."""
    draft = vars(instance.draft)
    rle = instance.draft.rle
    return draft | vars(instance) | {"rle": None if rle is None else rle.to_coco()}


def _job(job: Job) -> dict[str, Any]:
    return vars(job) | {"wish": str(job.wish)}
