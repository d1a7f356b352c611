"""Routes around the canvas: the queue, accepting many, comments, and what a person likes."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import Query, Request
from pydantic import BaseModel, Field

from app.access import Right
from app.api import Api
from app.errors import NotAllowed
from app.health import TITLES, Health, Kind
from app.records import Comment, State
from app.review import Filter, Review
from app.store import Store

PREFERENCE_BYTES = 32 * 1024


class FilterQuery(BaseModel):
    """Which instances to look at, as the address spells it; what is left out lets all through."""

    state: list[State] = Field(default=[], max_length=len(State))
    category_id: int | None = None
    low: float | None = Field(default=None, ge=0, le=1)
    high: float | None = Field(default=None, ge=0, le=1)
    person: str | None = Field(default=None, max_length=200)
    model_id: int | None = None
    flagged: bool | None = None
    finding: Kind | None = None
    mine: bool | None = None  # only images that are the person's, and that they are not done with


class AcceptBody(FilterQuery):
    """Accept all proposals that pass."""

    project_id: int


class CommentBody(BaseModel):
    """A comment on an image, or on one of its instances."""

    image_id: int
    instance_id: int | None = None
    text: str = Field(max_length=8000)


class Desk:
    """Adds its routes to those of the canvas, behind the same guard."""

    def __init__(self, api: Api, store: Store, review: Review, health: Health) -> None:
        self._store = store
        self._review = review
        self._health = health
        self._guard = api.guard
        for method, path, endpoint, right in (
            ("GET", "/queue/{project_id}", self.queue, Right.VIEW),
            ("GET", "/accept/{project_id}", self.acceptable, Right.REVIEW),
            ("POST", "/accept", self.accept, Right.REVIEW),
            ("DELETE", "/accept/{project_id}/{act}", self.undo_accept, Right.REVIEW),
            ("GET", "/comments/{image_id}", self.comments, Right.VIEW),
            ("POST", "/comments", self.comment, Right.ANNOTATE),
            ("GET", "/preferences", self.preferences, None),
            ("PUT", "/preferences", self.set_preferences, None),
        ):
            api.add(method, path, endpoint, right)

    def queue(
        self, project_id: int, wanted: Annotated[FilterQuery, Query()], request: Request
    ) -> dict[str, Any]:
        """The images to look at, in order, each with its masks; and whom one can filter by."""
        person = request.state.person
        sketches = self._store.list_sketches(project_id, person)
        stops = self._review.queue(project_id, self._filter(project_id, wanted, person), person)
        models = {sketch.model_id for sketch in sketches if sketch.model_id is not None}
        return {
            "images": [{"id": stop.image_id, "instances": stop.instances} for stop in stops],
            "people": sorted({sketch.person for sketch in sketches}),
            "models": [
                {"id": model.id, "name": model.name}
                for model in self._store.list_models(project_id)
                if model.id in models
            ],
            "finding": "" if wanted.finding is None else TITLES[wanted.finding],
        }

    def acceptable(
        self, project_id: int, wanted: Annotated[FilterQuery, Query()], request: Request
    ) -> dict[str, Any]:
        """What `accept` would accept with this filter, the lowest score first."""
        person = request.state.person
        found = self._review.acceptable(project_id, self._filter(project_id, wanted, person))
        fields = ("id", "image_id", "number", "score", "box")
        return {"masks": [{name: getattr(s, name) for name in fields} for s in found]}

    def accept(self, body: AcceptBody, request: Request) -> dict[str, Any]:
        """Accept all proposals that pass; the answer names the act, for its undo."""
        person = request.state.person
        wanted = self._filter(body.project_id, body, person)
        reason, count = self._review.accept_all(body.project_id, wanted, person)
        return {"act": reason.removeprefix("accept-all "), "count": count}

    def undo_accept(self, project_id: int, act: str, request: Request) -> dict[str, int]:
        """Take an act of accepting back, but for what somebody changed since."""
        person = request.state.person
        return {"count": self._review.undo_accept_all(project_id, f"accept-all {act}", person)}

    def comments(self, image_id: int, request: Request) -> dict[str, Any]:
        """The comments on an image and its instances, oldest first."""
        viewer = self._guard.viewer(request, self._store.get_image(image_id).project_id)
        found = self._store.list_comments(image_id, viewer)
        return {"comments": [_to_json(one) for one in found]}

    def comment(self, body: CommentBody, request: Request) -> dict[str, Any]:
        """Write a comment; it stays for ever."""
        about = (body.image_id, body.instance_id)
        return _to_json(self._review.comment(*about, request.state.person, body.text))

    def preferences(self, request: Request) -> Mapping[str, Any]:
        """What the person of this page likes."""
        return self._store.get_preferences(request.state.person)

    def set_preferences(self, body: dict[str, Any], request: Request) -> Mapping[str, Any]:
        """Keep what the person of this page likes."""
        if len(orjson.dumps(body)) > PREFERENCE_BYTES:
            raise NotAllowed(f"preferences may hold {PREFERENCE_BYTES} bytes")
        self._store.set_preferences(request.state.person, body)
        return body

    def _filter(self, project_id: int, wanted: FilterQuery, person: str) -> Filter:
        """What the address spells, for the queue."""
        kind = wanted.finding
        assigned = self._store.list_assignments(project_id) if wanted.mine else []
        mine = {one.image_id for one in assigned if one.person == person and not one.done_at}
        return Filter(
            states=frozenset(wanted.state) if wanted.state else None,
            category_id=wanted.category_id,
            low=wanted.low,
            high=wanted.high,
            person=wanted.person,
            model_id=wanted.model_id,
            flagged=wanted.flagged,
            among=None if kind is None else self._health.found(project_id, kind),
            images=frozenset(mine) if wanted.mine else None,
        )


def _to_json(comment: Comment) -> dict[str, Any]:
    return {
        "id": comment.id,
        "image_id": comment.image_id,
        "instance_id": comment.instance_id,
        "person": comment.person,
        "text": comment.text,
        "written_at": comment.written_at.isoformat(),
    }
