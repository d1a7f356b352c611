"""Who is to do which images: dealt out evenly, or one by one; done when they say so.

An assignment asks, it does not lock: others only look at an image that is somebody's until they are
done, but a save that comes nevertheless is taken. Two people of one image annotate it blind.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.errors import NotAllowed
from app.records import Assignment, ImageSummary, State
from app.session import MASK_STATES
from app.store import Store, no_such

_JUDGED = MASK_STATES | {State.REJECTED}


@dataclass(frozen=True)
class Tally:
    """How far one person is.

    Attributes:
        images: how many are theirs.
        done: of how many they said that they were done.
        shared: how many they have together with others.
    """

    person: str
    images: int
    done: int
    shared: int

    @property
    def left(self) -> int:
        """How many are still to be done."""
        return self.images - self.done


@dataclass(frozen=True)
class Dealt:
    """What came of giving images to people.

    Attributes:
        given: assignments that are new.
        refused: a line for each image that could not be given.
    """

    given: int
    refused: Sequence[str]


def deal(
    images: Sequence[int],
    people: Sequence[str],
    share: float,
    loads: Mapping[str, int],
    unseen: frozenset[int] | None = None,
) -> list[tuple[int, str]]:
    """Deal images out so that everybody has as many as the others, as far as that goes.

    Args:
        images: ids, in the order in which they are dealt.
        people: names; without two of them nothing goes to two.
        share: of the images, 0 to 1, that two people are to do; they are spread evenly.
        loads: how many images each has already.
        unseen: images that two can begin unseen; None for all.

    Returns:
        Image and person; always the same for the same input. Whoever has least comes next, by the
        order of `people` where several have.
    """
    have = {person: loads.get(person, 0) for person in people}
    able = [image for image in images if unseen is None or image in unseen]
    count = min(round(share * len(images)), len(able)) if len(people) > 1 else 0
    doubled = {able[(2 * n + 1) * len(able) // (2 * count)] for n in range(count)}
    dealt = []
    for image in images:
        for person in sorted(have, key=lambda name: have[name])[: 1 + (image in doubled)]:
            have[person] += 1
            dealt.append((image, person))
    return dealt


def tallies(assignments: Sequence[Assignment]) -> list[Tally]:
    """How far each person is, by name."""
    sizes = Counter(one.image_id for one in assignments)
    people: dict[str, list[Assignment]] = {}
    for one in assignments:
        people.setdefault(one.person, []).append(one)
    return [
        Tally(
            person,
            len(mine),
            sum(one.done_at is not None for one in mine),
            sum(sizes[one.image_id] > 1 for one in mine),
        )
        for person, mine in sorted(people.items())
    ]


def by_image(assignments: Sequence[Assignment]) -> dict[int, list[dict[str, Any]]]:
    """Whose each image is, and who is done with it, as the canvas reads it."""
    found: dict[int, list[dict[str, Any]]] = {}
    for one in assignments:
        told = {"person": one.person, "is_done": one.done_at is not None}
        found.setdefault(one.image_id, []).append(told)
    return found


def is_unseen(summary: ImageSummary) -> bool:
    """Whether nobody judged a mask of an image yet, so that two can begin unseen by each other."""
    return not any(summary.counts.get(state, 0) for state in _JUDGED)


class Assignments:
    """The use cases; `now` tells the time."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    def people(self, project_id: int) -> list[str]:
        """Who can be given images: those with a role in the project who may log in, by name."""
        members = self._store.list_members(project_id)
        return sorted(one.user.name for one in members if not one.user.is_disabled)

    def distribute(self, project_id: int, people: Sequence[str], share: float, by: str) -> Dealt:
        """Deal out the images that are nobody's yet.

        Args:
            project_id: the project.
            people: who gets some.
            share: of them, 0 to 1, that two people are to annotate blind.
            by: who deals.

        Raises:
            NotAllowed: nobody is named, or somebody without a role, or the share is none.
        """
        if not 0 <= share <= 1:
            raise NotAllowed(f"the share that two people do must be 0 to 1, got {share:g}")
        if not people:
            raise NotAllowed("choose who is to get images")
        with self._store.transaction():
            known = self._store.list_assignments(project_id)
            taken = {one.image_id for one in known}
            free = [s for s in self._store.list_images(project_id) if s.image.id not in taken]
            unseen = frozenset(s.image.id for s in free if is_unseen(s))
            loads = Counter(one.person for one in known)
            dealt = deal([s.image.id for s in free], people, share, loads, unseen)
            return self._give(project_id, dealt, by)

    def assign(self, project_id: int, images: Sequence[int], person: str, by: str) -> Dealt:
        """Give images to somebody; those that are another one's already, both annotate blind.

        Raises:
            NotFound: an image is not one of the project.
            NotAllowed: they have no role in the project.
        """
        with self._store.transaction():
            return self._give(project_id, [(image, person) for image in images], by)

    def withdraw(self, project_id: int, images: Sequence[int], person: str, by: str) -> Dealt:
        """Take images from somebody; what they did there stays in the history.

        Raises:
            NotFound: an image is not one of the project.
        """
        with self._store.transaction():
            self._check_images(project_id, images)
            return self._each(
                project_id,
                [(image, person) for image in images],
                lambda image, name: self._store.withdraw(image, name, by, self._now()),
                ("withdraw", by),
            )

    def set_done(self, image_id: int, person: str, *, is_done: bool) -> list[Assignment]:
        """Somebody says that they are done with an image of theirs, or not yet.

        Returns:
            The assignments of the image.

        Raises:
            NotAllowed: it is not theirs, or is closed, since all who annotate it blind are done.
        """
        self._store.set_done(image_id, person, self._now() if is_done else None)
        return self._store.list_assigned(image_id)

    def _give(self, project_id: int, pairs: Sequence[tuple[int, str]], by: str) -> Dealt:
        self._check_images(project_id, [image for image, _ in pairs])
        known = set(self.people(project_id))
        for person in dict.fromkeys(person for _, person in pairs):
            if person not in known:
                raise NotAllowed(f"{person} has no role in this project: give them one first")
        return self._each(
            project_id,
            pairs,
            lambda image, name: self._store.assign(image, name, by, self._now()),
            ("assign", by),
        )

    def _each(
        self,
        project_id: int,
        pairs: Sequence[tuple[int, str]],
        act: Callable[[int, str], bool],
        told: tuple[str, str],
    ) -> Dealt:
        """Do it with each, and write what was done into the audit log: a line a person."""
        counts: Counter[str] = Counter()
        refused: list[str] = []
        for image, person in pairs:
            try:
                counts[person] += act(image, person)
            except NotAllowed as error:
                refused.append(str(error))
        word, by = told
        for person, count in sorted(counts.items()):
            if count:
                images = [image for image, name in pairs if name == person]
                detail = {"count": count, "images": images[:1000]}
                self._store.add_audit(
                    by, word, self._now(), project_id=project_id, subject=person, detail=detail
                )
        return Dealt(counts.total(), refused)

    def _check_images(self, project_id: int, images: Sequence[int]) -> None:
        """Check that all are images of the project."""
        mine = {summary.image.id for summary in self._store.list_images(project_id)}
        for image in images:
            if image not in mine:
                raise no_such("image", image)
