"""After another model came into use: untouched proposals are proposed again, in the background.

A mask that a person corrected, accepted, rejected or so much as brushed once is left alone.
"""

from collections.abc import Iterable

from app.records import Sketch, State
from app.rounds import Rounds

KIND = "propose again"


class Again(Rounds):
    """Asks the model in use for the untouched proposals of other models."""

    kind, lock = KIND, "again.lock"

    def find(self, project_id: int) -> Iterable[Sketch]:
        """Proposals with a mask of another model than the one in use; touched ones among them."""
        in_use = self._store.get_project(project_id).model_id
        sketches = self._store.list_sketches(project_id)
        proposals = (s for s in sketches if s.state is State.PROPOSED and s.has_mask)
        return [s for s in proposals if s.model_id != in_use]

    def do(self, instance_id: int) -> bool:
        """Propose one again."""
        return self._workflow.propose_again(instance_id)
