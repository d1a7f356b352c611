"""The canvas's hot path: REST routes under /mal/, the only place that speaks JSON with the browser.

Every route needs a page token; every body is size-capped and typed; every answer to an error has
the form {"error": {"code", "message", ...}}.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from app.access import Access, Right
from app.answers import refusal, status_of
from app.assignments import by_image
from app.auth import Sessions
from app.bodies import CategoryBody, CreateBody, ProposeBody, SaveBody
from app.errors import Busy, Conflict, NotAllowed, from_disk, is_refusal
from app.guard import Guard, to_version
from app.history import newest_proposals
from app.images import path_of, thumbnail_path
from app.logs import reference as new_reference
from app.records import Instance, Work
from app.workflow import Proposal, Workflow
from mal_core.errors import BadDataset, InputError, MALError
from mal_core.prompts import Stroke

RETRY = {429: {"Retry-After": "1"}, 503: {"Retry-After": "5"}}
WAITING_LIMIT = 16  # proposals that may wait for the model
log = logging.getLogger(__name__)


class Api:
    """The routes, bound to one workflow."""

    def __init__(self, workflow: Workflow, sessions: Sessions) -> None:
        self._workflow = workflow
        self._sessions = sessions
        self._access = Access(workflow.store)
        self.guard = Guard(sessions, self._access)
        self._model = anyio.CapacityLimiter(1)  # the model itself uses all cores
        self.door = APIRouter(prefix="/mal")  # the one route for those whose token is too old
        self.door.add_api_route("/session", self.renew, methods=["POST"], response_model=None)
        self.router = APIRouter(prefix="/mal")
        for method, path, endpoint, right in (
            ("GET", "/projects/{project_id}", self.project, Right.VIEW),
            ("GET", "/image/{image_id}", self.image, Right.VIEW),
            ("GET", "/image/{image_id}/{level}/{column}/{row}", self.tile, Right.VIEW),
            ("GET", "/annotations/{image_id}", self.annotations, Right.VIEW),
            ("GET", "/proposals/{image_id}", self.proposals, Right.VIEW),
            ("POST", "/propose", self.propose, Right.ANNOTATE),
            ("POST", "/annotations", self.create, Right.ANNOTATE),
            ("PUT", "/annotations/{instance_id}", self.save, Right.ANNOTATE),
            ("DELETE", "/annotations/{instance_id}", self.delete, Right.ANNOTATE),
            ("POST", "/categories", self.add_category, Right.MANAGE),
        ):
            self.add(method, path, endpoint, right)

    def add(
        self,
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        right: Right | None,
        *,
        by_page: bool = True,
    ) -> None:
        """Add a route for those who have a right in the project of all that a request names.

        Args:
            method: of HTTP.
            path: after /mal; its ids are named as in app.guard.KINDS.
            endpoint: what answers; it finds the person in `request.state.person`.
            right: None for a route about the person alone, which takes no ids.
            by_page: whether a browser must send its page's token; false for links.
        """
        self.router.add_api_route(
            path, endpoint, methods=[method], response_model=None, tags=[right or "own"],
            dependencies=[self.guard.needing(right, by_page=by_page)],
        )  # fmt: skip

    @property
    def waiting(self) -> int:
        """How many boxes wait for the model."""
        return self._model.statistics().tasks_waiting

    def renew(
        self, request: Request, x_mal_session: Annotated[str, Header()] = ""
    ) -> dict[str, str]:
        """A fresh token for a page that was open for long, so that its unsent work gets through."""
        return {"token": self.guard.renew(request, x_mal_session)}

    def project(self, project_id: int, request: Request) -> dict[str, Any]:
        """The project with its model, categories and images; whose page it is, and their rights."""
        store = self._workflow.store
        project = store.get_project(project_id)
        model = self._workflow.model_in_use(project_id)
        assigned = by_image(store.list_assignments(project_id))
        return {
            "id": project.id,
            "name": project.name,
            "studio": self._sessions.studio,
            "person": request.state.person,
            "rights": self._access.rights(request.state.caller, project_id),
            "model": {"id": model.id, "name": model.name},
            "categories": [
                {"id": c.id, "number": c.number, "name": c.name, "color": c.color}
                for c in store.list_categories(project_id)
            ],
            "images": [
                {
                    "id": s.image.id,
                    "number": s.image.number,
                    "file_name": s.image.file_name,
                    "width": s.image.width,
                    "height": s.image.height,
                    "notice": s.image.notice,
                    "counts": dict(s.counts),
                    "assigned": assigned.get(s.image.id, []),
                }
                for s in store.list_images(project_id, request.state.person)
            ],
        }

    def image(
        self,
        image_id: int,
        size: Literal["full", "thumb"] = "full",
        if_none_match: Annotated[str, Header()] = "",
    ) -> Response:
        """An image's upright raster, or its thumbnail with ?size=thumb."""
        image = self._workflow.store.get_image(image_id)
        of = thumbnail_path if size == "thumb" else path_of
        headers = _cached(f"{image.sha256}-{size}")
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return FileResponse(of(self._workflow.settings, image), headers=headers)

    def tile(
        self,
        image_id: int,
        level: int,
        column: int,
        row: int,
        if_none_match: Annotated[str, Header()] = "",
    ) -> Response:
        """A square of an image, at full size (level 0) or halved `level` times."""
        image = self._workflow.store.get_image(image_id)
        headers = _cached(f"{image.sha256}-{level}-{column}-{row}")
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        tile = self._workflow.tile(image, level, column, row)
        return Response(tile.data, media_type=tile.media_type, headers=headers)

    def annotations(self, image_id: int, request: Request, deleted: bool = False) -> dict[str, Any]:
        """An image's instances; decodes the image ahead of the first box.

        With ?deleted=true also those that were deleted, for an undo that brings one back.
        """
        instances = self._workflow.open_image(
            image_id, include_deleted=deleted, viewer=request.state.person
        )
        return {"image_id": image_id, "annotations": [self._to_json(i) for i in instances]}

    def proposals(self, image_id: int, request: Request) -> dict[str, Any]:
        """The model's newest mask of each instance of an image, to show what changed since."""
        revisions = self._workflow.store.list_image_revisions(image_id, request.state.person)
        newest = newest_proposals(revisions)
        masks = {key: draft.rle.to_coco() for key, draft in newest.items() if draft.rle}
        return {"proposals": [{"id": key, "rle": rle} for key, rle in masks.items()]}

    async def propose(self, body: ProposeBody, request: Request) -> Response:
        """The mask of a box, stored as a proposal; work for a browser that left is skipped.

        Ahead: an instance's box gets its mask before anyone waits for it; where somebody does wait
        for the model, it is refused as busy.

        With strokes: the mask of an instance, steered by them and stored as a correction; box and
        category are then those the instance has.

        A request_id that was answered before gets the instance made then: the answer was lost.
        """
        if self.waiting >= WAITING_LIMIT or (body.ahead and self._model.borrowed_tokens):
            raise Busy("many boxes are waiting for the model: try again in a moment")
        request.state.instance_id = body.instance_id
        known = _known(body)
        begin = anyio.current_time()
        async with self._model:
            if await request.is_disconnected():
                return Response(status_code=204)
            waited = anyio.current_time() - begin
            act = self._to_act(body, known, request.state.person, request.state.work)
            proposal = await anyio.to_thread.run_sync(act)
        stages = {"wait": waited, **proposal.seconds}
        timing = ", ".join(f"{name};dur={1000 * s:.1f}" for name, s in stages.items())
        return JSONResponse(self._to_json(proposal.instance), headers={"Server-Timing": timing})

    def _to_act(
        self, body: ProposeBody, known: tuple[int, int] | None, person: str, work: Work
    ) -> Callable[[], Proposal]:
        """What a request to propose asks for."""
        if body.ahead and known is not None and not body.strokes:
            return partial(self._workflow.propose_ahead, known, person)
        if not body.strokes:
            return partial(
                self._workflow.propose,
                body.image_id, body.box, body.category_id, person, known, body.request_id, work,
            )  # fmt: skip
        if known is None:
            raise NotAllowed("strokes need the instance they correct: instance_id and version")
        strokes = [Stroke(s.points, s.radius, adds=s.adds) for s in body.strokes]
        return partial(self._workflow.steer, body.image_id, known, strokes, person, work)

    def create(self, body: CreateBody, request: Request) -> dict[str, Any]:
        """A new instance with a mask that exists already; asked again, the same one."""
        made = self._workflow.create(
            body.image_id, body.draft(), request.state.person, body.reason, body.request_id,
            from_id=body.from_id, work=request.state.work,
        )  # fmt: skip
        return self._to_json(made)

    def save(
        self, instance_id: int, body: SaveBody, request: Request, if_match: Annotated[str, Header()]
    ) -> dict[str, Any]:
        """A person's version of an instance, if nobody saved since If-Match."""
        by = (request.state.person, body.reason, request.state.work)
        return self._to_json(
            self._workflow.save(instance_id, to_version(if_match), body.draft(), *by)
        )

    def delete(
        self, instance_id: int, request: Request, if_match: Annotated[str, Header()]
    ) -> dict[str, Any]:
        """Take an instance away, if nobody saved since If-Match."""
        by = (request.state.person, request.state.work)
        return self._to_json(self._workflow.delete(instance_id, to_version(if_match), *by))

    def add_category(self, body: CategoryBody) -> dict[str, Any]:
        """Add a category, or find the one of that name."""
        category = self._workflow.store.add_category(body.project_id, body.name.strip())
        fields = ("id", "number", "name", "color")
        return {name: getattr(category, name) for name in fields}

    def to_error(self, request: Request, error: Exception) -> Response:
        """Put what a person can mend in words; log the rest under a reference."""
        if isinstance(error, OSError) and is_refusal(error):
            error = from_disk(error, "this could not be done")
        if isinstance(error, Conflict):
            key = request.path_params.get("instance_id") or request.state.instance_id
            head = self._workflow.store.get_instance(int(key))
            current = self._to_json(head)
            return refusal(409, error.code, str(error), current=current, kept=error.kept)
        if isinstance(error, MALError):
            status = status_of(error)
            headers = RETRY.get(status)
            code = getattr(
                error, "code", "bad_input" if isinstance(error, InputError) else "failed"
            )
            told = {"problems": error.problems} if isinstance(error, BadDataset) else {}
            return refusal(status, code, str(error), headers=headers, **told)
        if isinstance(error, RequestValidationError):
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return refusal(422, "bad_request", f"{where}: {first['msg']}")
        if isinstance(error, HTTPException):
            return refusal(error.status_code, "bad_request", error.detail, headers=error.headers)
        reference = getattr(request.state, "request_id", "") or new_reference()
        log.error("reference %s", reference, exc_info=error)
        return refusal(500, "internal", f"something went wrong here; reference {reference}")

    def _to_json(self, instance: Instance) -> dict[str, Any]:
        draft = instance.draft
        model = None if draft.model_id is None else self._workflow.store.get_model(draft.model_id)
        return {
            "id": instance.id,
            "image_id": instance.image_id,
            "number": instance.number,
            "version": instance.version,
            "state": draft.state,
            "category_id": draft.category_id,
            "box": draft.box,
            "rle": None if draft.rle is None else draft.rle.to_coco(),
            "score": draft.score,
            "flagged": draft.flagged,
            "model_id": draft.model_id,
            "model": None if model is None else model.name,
            "person": instance.person,
            "reason": instance.reason,
            "saved_at": instance.saved_at.isoformat(),
        }


def _cached(name: str) -> dict[str, str]:
    """Headers of bytes that never change under their name."""
    headers = {"ETag": f'"{name}"', "Cache-Control": "private, max-age=31536000, immutable"}
    return headers | {"Vary": "Cookie"}  # another person in the same browser must ask anew


def install(app: FastAPI, api: Api) -> None:
    """Add the routes and their error answers."""
    app.include_router(api.door)
    app.include_router(api.router)
    for kind in (MALError, OSError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, api.to_error)


def _known(body: ProposeBody) -> tuple[int, int] | None:
    """Id and version of the instance to propose anew; None to make one."""
    if (body.instance_id is None) != (body.version is None):
        raise NotAllowed("instance_id and version must come together, or neither")
    if body.instance_id is None or body.version is None:
        return None
    return body.instance_id, body.version
