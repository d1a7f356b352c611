"""Who is to do which images, and how far people agree, for programs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Request

from app import wire
from app.access import Right
from app.assignments import Assignments
from app.guard import Guard
from app.merging import Merging, pairwise
from app.rest.door import Door
from app.store import Store


class Team:
    """The routes; each is one call of a use case."""

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store, self._guard = store, guard
        self._acts = Assignments(store, lambda: datetime.now(UTC))
        self._merging = Merging(store, lambda: datetime.now(UTC))

    def add_to(self, door: Door) -> None:
        """Add the routes."""
        one, review = "/projects/{project_id}", Right.REVIEW
        door.add(f"GET {one}/assignments", self.assignments, Right.VIEW, wire.Assignments)
        door.add(f"POST {one}/assignments", self.assign, review, wire.Dealt)
        door.add(f"POST {one}/withdrawals", self.withdraw, review, wire.Dealt)
        door.add(f"POST {one}/deal", self.deal, review, wire.Dealt)
        door.add("POST /images/{image_id}/done", self.done, Right.ANNOTATE, wire.Assignments)
        door.add(f"GET {one}/agreement", self.agreement, review, wire.Agreements)

    def assignments(self, project_id: int) -> Mapping[str, Any]:
        """Who is to do which images, and who is done."""
        return {"assignments": self._store.list_assignments(project_id)}

    def assign(self, project_id: int, body: wire.SomeImages, request: Request) -> object:
        """Give images to somebody; those that are another one's already, both annotate blind."""
        by = request.state.person
        return self._acts.assign(project_id, body.image_ids, body.person, by)

    def withdraw(self, project_id: int, body: wire.SomeImages, request: Request) -> object:
        """Take images from somebody; what they did there stays in the history."""
        by = request.state.person
        return self._acts.withdraw(project_id, body.image_ids, body.person, by)

    def deal(self, project_id: int, body: wire.NewDeal, request: Request) -> object:
        """Deal the images that are nobody's out evenly, a share of them to two people."""
        by = request.state.person
        return self._acts.distribute(project_id, body.people, body.share, by)

    def done(self, image_id: int, body: wire.DoneWord, request: Request) -> Mapping[str, Any]:
        """Say that you are done with an image of yours, or not yet."""
        person = request.state.person
        return {"assignments": self._acts.set_done(image_id, person, is_done=body.is_done)}

    def agreement(self, project_id: int, request: Request) -> Mapping[str, Any]:
        """How far every two people agree on what they annotated blind and are done with."""
        viewer = self._guard.viewer(request, project_id)
        pairs = pairwise(list(self._merging.each(project_id, viewer)))
        return {
            "pairs": [
                {"first": first, "second": second, **vars(one)}
                for (first, second), one in pairs.items()
            ]
        }
