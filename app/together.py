"""The route by which open pages keep their images, and learn who else is there.

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
from app.errors import NotAllowed
from app.leases import is_held_against, is_live
from app.presence import Presence, Visit
from app.records import Lease
from app.store import Store


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
        self.presence = Presence()
        api.add("POST", "/here", self.here, Right.VIEW)

    def here(self, body: HereBody, request: Request) -> dict[str, Any]:
        """Note a page's sign of life and tell it who else is there."""
        person, now = request.state.person, self._now()
        for image_id in (body.image_id, body.left):
            self._check(body.project_id, image_id)
        self._leave(body, person, now)
        if body.wish != "leave":
            self.presence.note(Visit(body.project_id, person, body.image_id), now)
        may_take = self._may_take(request.state.caller, body.project_id)
        lease = self._lease(body, person, now, may_take=may_take)
        newest = 0 if body.image_id is None else self._store.newest_comment(body.image_id)
        return {
            "lease": None if lease is None else _to_json(lease, person, now),
            "may_take": may_take,
            "here": self._others(body.project_id, person, now),
            "newest_comment": newest,
        }

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


def _to_json(lease: Lease, person: str, now: datetime) -> dict[str, Any]:
    return {
        "person": lease.person,
        "token": lease.token,
        "is_mine": lease.person == person and is_live(lease, now),
        "is_held": is_held_against(lease, person, now),
    }
