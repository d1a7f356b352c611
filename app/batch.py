"""Boxes to masks in batch: every box of a project that has no mask gets a proposal."""

from collections.abc import Iterable

from app.errors import NotAllowed
from app.records import OPEN, Sketch, State
from app.rounds import Rounds

KIND = "propose all"


class Batch(Rounds):
    """Asks the model in use for all boxes without a mask; the proposals stand in the queue."""

    kind, lock = KIND, "batch.lock"

    def check(self, project_id: int) -> None:
        """One round at a time.

        Raises:
            NotAllowed: one goes on, or is paused.
        """
        newest = next(iter(self._store.list_jobs(project_id, KIND)), None)
        if newest is not None and newest.state in OPEN:
            raise NotAllowed("masks are being proposed for this project already")

    def find(self, project_id: int) -> Iterable[Sketch]:
        """Proposals without a mask; a box that somebody rejected is none.

        Also those that people have of their own, while they annotate an image blind.
        """
        blind = self._store.list_blind(project_id)
        people = {person for one in blind for person in one.people}
        closed = {one.image_id for one in blind if one.is_complete}
        seen = [self._store.list_sketches(project_id, who) for who in (None, *sorted(people))]
        sketches = {s.id: s for found in seen for s in found if s.image_id not in closed}
        return [s for s in sketches.values() if s.state is State.PROPOSED and not s.has_mask]

    def do(self, instance_id: int) -> bool:
        """Give one its mask."""
        return self._workflow.propose_bare(instance_id)
