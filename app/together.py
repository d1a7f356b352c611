"""The routes by which open pages keep their images, learn who else is there, and end their part.

One request does all: it renews or takes the lease of the open image, gives the one before back,
and answers who is here, who works on what, and how new the newest comment is.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel

from app.access import Caller, Right
from app.api import Api
from app.assignments import Assignments, by_image
from app.errors import NotAllowed
from app.leases import is_held_against, is_live
from app.presence import Presence, Visit
from app.records import Lease
from app.store import Store

_MERGE = "A reviewer compares and merges on the Insight page."


class HereBody(BaseModel):
    """A sign of life of a page.

    Attributes:
        project_id: the open project.
        image_id: the open image; None for none.
        wish: to work on it if it is free, only to look, to take it from whoever has it, or to
            leave, since the page goes away.
        left: the image that was open before, to be given back.
    """

    project_id: int
    image_id: int | None = None
    wish: Literal["work", "look", "take", "leave"] = "work"
    left: int | None = None


class DoneBody(BaseModel):
    """A word on an image of one's own."""

    image_id: int
    is_done: bool


class Together:
    """Adds its routes to those of the canvas, behind the same guard.

    Args:
        api: whose router they join.
        store: where leases are.
        now: tells the time.
        may_take: whether a person may take a project's images from others at work.
    """

    def __init__(
        self,
        api: Api,
        store: Store,
        now: Callable[[], datetime],
        may_take: Callable[[Caller, int], bool] = lambda _caller, _project_id: True,
    ) -> None:
        self._store = store
        self._now = now
        self._may_take = may_take
        self._guard = api.guard
        self._assignments = Assignments(store, now)
        self.presence = Presence()
        api.add("POST", "/here", self.here, Right.VIEW)
        api.add("POST", "/done", self.done, Right.ANNOTATE)

    def here(self, body: HereBody, request: Request) -> dict[str, Any]:
        """Note a page's sign of life and tell it who else is there."""
        person, now = request.state.person, self._now()
        for image_id in (body.image_id, body.left):
            self._check(body.project_id, image_id)
        self._leave(body, person, now)
        if body.wish != "leave":
            self.presence.note(Visit(body.project_id, person, body.image_id), now)
        may_take = self._may_take(request.state.caller, body.project_id)
        return {
            **self._turn(body, person, now, may_take=may_take),
            "here": self._others(body.project_id, person, now),
            "newest_comment": self._newest_comment(body, request),
        }

    def done(self, body: DoneBody, request: Request) -> dict[str, Any]:
        """Say that one is done with an image that is assigned to one, or not yet."""
        person = request.state.person
        found = self._assignments.set_done(body.image_id, person, is_done=body.is_done)
        return {"assigned": by_image(found).get(body.image_id, [])}

    def _newest_comment(self, body: HereBody, request: Request) -> int:
        if body.image_id is None:
            return 0
        viewer = self._guard.viewer(request, body.project_id)
        return self._store.newest_comment(body.image_id, viewer)

    def _turn(
        self, body: HereBody, person: str, now: datetime, *, may_take: bool
    ) -> dict[str, Any]:
        """Whose turn it is on the open image, and in words why it is not the person's."""
        if body.image_id is not None and (own := self._own_turn(body.image_id, person)):
            return own
        if body.image_id is not None and not may_take:
            holder = self._assigned_to_others(body.image_id, person, now)
            if holder:
                text = f"This image is for {holder}. You can look and comment."
                return _looking(holder, text)
        lease = self._lease(body, person, now, may_take=may_take)
        told = None if lease is None else _to_json(lease, person, now)
        return {"lease": told, "may_take": may_take, "notice": ""}

    def _own_turn(self, image_id: int, person: str) -> dict[str, Any]:
        """The turn on an image that is annotated blind: all of them work in layers of their own."""
        blind = self._store.find_blind(image_id)
        if blind is None:
            return {}
        names = " and ".join(blind.people)
        if blind.is_complete:
            return _looking(names, f"{names} are done here, unseen by each other. {_MERGE}")
        if person not in blind.people:
            return _looking(names, f"{names} annotate this image unseen by each other. {_MERGE}")
        lease = {"person": person, "token": 0, "is_mine": True, "is_held": False}
        return {"lease": lease, "may_take": False, "notice": ""}

    def _assigned_to_others(self, image_id: int, person: str, now: datetime) -> str:
        """For whom an image is that is not the person's; "" where they may work on it."""
        assigned = self._store.list_assigned(image_id)
        if not assigned or any(one.person == person or one.done_at for one in assigned):
            return ""
        lease = self._store.get_lease(image_id)
        if lease is not None and lease.person == person and is_live(lease, now):
            return ""  # they were at work when it was given to somebody else
        return " and ".join(one.person for one in assigned)

    def _leave(self, body: HereBody, person: str, now: datetime) -> None:
        left = body.image_id if body.wish == "leave" else body.left
        if left is not None:
            self._store.release_lease(left, person, now)
            self.presence.leave(Visit(body.project_id, person, left))

    def _check(self, project_id: int, image_id: int | None) -> None:
        if image_id is not None and self._store.get_image(image_id).project_id != project_id:
            raise NotAllowed(f"image {image_id} is not one of project {project_id}")

    def _lease(self, body: HereBody, person: str, now: datetime, *, may_take: bool) -> Lease | None:
        if body.image_id is None:
            return None
        if body.wish in ("look", "leave"):
            return self._store.get_lease(body.image_id)
        force = body.wish == "take" and may_take
        return self._store.take_lease(body.image_id, person, now, force=force)

    def _others(self, project_id: int, person: str, now: datetime) -> list[dict[str, Any]]:
        """The others in the project, and on which image each works or looks."""
        leases = self._store.list_leases(project_id, now)
        working = {(lease.person, lease.image_id) for lease in leases}
        seen = {(v.person, v.image_id) for v in self.presence.here(project_id, now)} | working
        return [
            {"person": who, "image_id": image_id, "works": (who, image_id) in working}
            for who, image_id in sorted(seen, key=lambda one: (one[0], one[1] or 0))
            if who != person
        ]


def _looking(holder: str, text: str) -> dict[str, Any]:
    """Somebody else's turn, which nobody takes over."""
    lease = {"person": holder, "token": 0, "is_mine": False, "is_held": True}
    return {"lease": lease, "may_take": False, "notice": text}


def _to_json(lease: Lease, person: str, now: datetime) -> dict[str, Any]:
    return {
        "person": lease.person,
        "token": lease.token,
        "is_mine": lease.person == person and is_live(lease, now),
        "is_held": is_held_against(lease, person, now),
    }
