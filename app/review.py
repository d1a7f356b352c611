"""What to look at next, and saying yes to many masks at once.

The queue is ordered by expected time saved. A mask's *need* is the chance that it must be mended:
1 where there is no mask or a reviewer sent it back, else 1 - score with the model's calibrated
score, at least a half where the mask is flagged, a half where no model scored it, and 0 once a
person vouches for it. Whoever finds a fault later pays FIX seconds for it; looking now costs OPEN
seconds an image and LOOK seconds a mask. So images come by

    FIX * (sum of needs) / (OPEN + LOOK * (number of masks))

seconds saved a second spent, and the masks of an image by need. The three constants are rough
sizes of what the studio's own stories take; an image's place depends on their ratios only.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.history import SENT_BACK
from app.records import Comment, Revision, Sketch, State
from app.store import Store

FIX, LOOK, OPEN = 20.0, 2.0, 3.0  # seconds
VOUCHED = frozenset({State.CORRECTED, State.ACCEPTED, State.REJECTED})


@dataclass(frozen=True)
class Filter:
    """Which instances to look at; None lets all through.

    Attributes:
        states: review states.
        category_id: one category.
        low: least score; an instance without a score has none to compare.
        high: greatest score.
        person: who saved it last.
        model_id: the model its mask comes from.
        flagged: only the suspicious, or only the others.
        among: only these, by id, as long as they stand at these versions.
        images: only on these, by id.
    """

    states: frozenset[State] | None = None
    category_id: int | None = None
    low: float | None = None
    high: float | None = None
    person: str | None = None
    model_id: int | None = None
    flagged: bool | None = None
    among: Mapping[int, int] | None = None
    images: frozenset[int] | None = None

    def takes(self, sketch: Sketch) -> bool:
        """Whether an instance passes."""
        score = sketch.score
        return (
            (self.states is None or sketch.state in self.states)
            and (self.category_id is None or sketch.category_id == self.category_id)
            and (self.low is None or (score is not None and score >= self.low))
            and (self.high is None or (score is not None and score <= self.high))
            and (self.person is None or sketch.person == self.person)
            and (self.model_id is None or sketch.model_id == self.model_id)
            and (self.flagged is None or sketch.flagged == self.flagged)
            and (self.images is None or sketch.image_id in self.images)
            and (self.among is None or self.among.get(sketch.id) == sketch.version)
        )


@dataclass(frozen=True)
class Stop:
    """An image of the queue, and the masks to look at on it, the most needy first."""

    image_id: int
    instances: Sequence[int]
    rate: float  # seconds saved a second spent


def need(sketch: Sketch) -> float:
    """The chance that an instance must be mended, 0 to 1."""
    if sketch.state in VOUCHED:
        return 0.0
    if not sketch.has_mask or sketch.reason == SENT_BACK:
        return 1.0
    doubt = 0.5 if sketch.score is None else 1.0 - sketch.score
    return max(doubt, 0.5) if sketch.flagged else doubt


def order(sketches: Iterable[Sketch]) -> list[Stop]:
    """The queue: images by expected seconds saved a second spent, masks by need.

    Where two are alike the older comes first, so that the order is the same each time.
    """
    groups: dict[int, list[Sketch]] = {}
    for sketch in sketches:
        groups.setdefault(sketch.image_id, []).append(sketch)
    stops = [_stop(image_id, group) for image_id, group in groups.items()]
    return sorted(stops, key=lambda stop: (-stop.rate, stop.image_id))


def _stop(image_id: int, group: Sequence[Sketch]) -> Stop:
    rate = FIX * sum(map(need, group)) / (OPEN + LOOK * len(group))
    needy = sorted(group, key=lambda sketch: (-need(sketch), sketch.number))
    return Stop(image_id, [sketch.id for sketch in needy], rate)


class Review:
    """The use cases of review; `now` tells the time."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def queue(self, project_id: int, wanted: Filter, viewer: str | None = None) -> list[Stop]:
        """What a person should look at, in order.

        Raises:
            NotFound: there is no such project.
        """
        return order(filter(wanted.takes, self._store.list_sketches(project_id, viewer)))

    def acceptable(self, project_id: int, wanted: Filter) -> list[Sketch]:
        """The proposals that pass, have a mask and were not sent back; the lowest score first.

        Raises:
            NotFound: there is no such project.
        """
        proposals = replace(wanted, states=frozenset({State.PROPOSED}))
        sketches = self._store.list_sketches(project_id)
        found = [s for s in sketches if proposals.takes(s) and s.has_mask]
        kept = [sketch for sketch in found if sketch.reason != SENT_BACK]
        return sorted(kept, key=lambda sketch: (sketch.score or 0.0, sketch.number))

    def accept_all(self, project_id: int, wanted: Filter, person: str) -> tuple[str, int]:
        """Accept every proposal that `acceptable` lists, all or none.

        Returns:
            The name of the act, by which it can be undone, and how many were accepted.

        Raises:
            NotFound: there is no such project.
        """
        reason = f"accept-all {secrets.token_hex(6)}"
        with self._store.transaction():
            found = self.acceptable(project_id, wanted)
            for sketch in found:
                head = self._store.get_instance(sketch.id)
                draft = replace(head.draft, state=State.ACCEPTED)
                self._store.save_instance(head.id, draft, head.version, person, reason, self._now())
        return reason, len(found)

    def undo_accept_all(self, project_id: int, reason: str, person: str) -> int:
        """Bring back what an act accepted, but for what somebody changed since.

        Returns:
            How many.

        Raises:
            NotFound: there is no such project.
        """
        with self._store.transaction():
            accepted = self._store.list_project_instances(project_id, {State.ACCEPTED})
            heads = [instance for _, instance in accepted if instance.reason == reason]
            for head in heads:
                before = _before(self._store.list_revisions(head.id), head.version)
                self._store.save_instance(
                    head.id, before.draft, head.version, person, "undo", self._now()
                )
        return len(heads)

    def comment(self, image_id: int, instance_id: int | None, person: str, text: str) -> Comment:
        """Write a comment on an image, or on an instance of it.

        Raises:
            InputError: the text is empty or too long.
            NotFound: there is no such image or instance.
            NotAllowed: the instance is another image's.
        """
        return self._store.add_comment(image_id, instance_id, person, text, self._now())


def _before(revisions: Sequence[Revision], version: int) -> Revision:
    """The revision that was the head before a version."""
    return next(r for r in revisions if r.version == version - 1 and not r.is_conflict)
