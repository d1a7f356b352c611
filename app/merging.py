"""What several people annotated blind: how far they agree, and one set of masks made of it.

The people's own instances stay as they are for ever, so that agreement is always that of what was
drawn unseen, and a merge can be taken back.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.agreement import Agreement, Comparison, Shape, compare, summed
from app.consensus import Thing, agree, consensus, things_of
from app.errors import NotAllowed
from app.records import Assignment, Blind, Draft, Instance, State, Viewer
from app.session import MASK_STATES
from app.store import Store

CONSENSUS, LEAVE = "=", "-"  # choices beside the name of the person whose mask is taken
REASON = "consensus"
AGREEMENT_HEAD = (
    *("first", "second", "image", "images", "matched", "first_only", "second_only"),
    *("f1", "iou", "boundary_iou", "quality", "kappa"),
)
LEAST = 0.9  # IoU from which on two outlines are taken to agree, unless somebody says otherwise


@dataclass(frozen=True)
class Compared:
    """An image as several people annotated it.

    Attributes:
        people: by name.
        is_complete: whether all are done.
        act: that merged it; "" if it was not yet.
        things: what is on it.
        undecided: how many proposals each has left as they were.
    """

    image_id: int
    people: tuple[str, ...]
    is_complete: bool
    act: str
    things: Sequence[Thing]
    undecided: Mapping[str, int]

    def key_of(self, thing: Thing) -> str:
        """A name of a thing that no other has, also after somebody saved anew."""
        return "+".join(f"{s.instance_id}-{hash_of(s)}" for _, s in sorted(thing.shapes.items()))

    def agrees(self, thing: Thing, least: float) -> bool:
        """Whether all saw it, as one kind, with outlines at least this alike."""
        return agree(thing, len(self.people), least)


@dataclass(frozen=True)
class Preview:
    """What merging all that agree would do.

    Attributes:
        ready: images on which all agree on all, with the number of things on each.
        open: images of which a person must decide something.
    """

    ready: Mapping[int, int]
    open: Sequence[int]


class Merging:
    """The use cases; `now` tells the time."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    def compared(self, image_id: int, viewer: Viewer | None = None) -> Compared:
        """One image as several people annotated it, done or not.

        Raises:
            NotFound: there is no such image.
            NotAllowed: it was never given to several, or is sealed to who looks.
        """
        image = self._store.get_image(image_id)
        people = self._store.list_assigned(image_id)
        acts = self._store.list_merged(image.project_id)
        found = self._compared(image_id, people, acts.get(image_id, ""), viewer)
        if found is None:
            raise NotAllowed(f"{image.file_name} is not there to be compared: two people must do it"
                             " first, and you must not be one of them who is not done")  # fmt: skip
        return found

    def each(self, project_id: int, viewer: Viewer | None = None) -> Iterator[Compared]:
        """All images that several people are done with, merged or not, by number."""
        acts = self._store.list_merged(project_id)
        groups: dict[int, list[Assignment]] = {}
        for one in self._store.list_assignments(project_id):
            groups.setdefault(one.image_id, []).append(one)
        for image_id, people in groups.items():
            found = self._compared(image_id, people, acts.get(image_id, ""), viewer)
            if found is not None and found.is_complete:
                yield found

    def names(self, project_id: int) -> dict[int, str]:
        """The file names of a project's images, by id."""
        return {s.image.id: s.image.file_name for s in self._store.list_images(project_id)}

    def merge(self, image_id: int, choices: Mapping[str, str], by: str) -> str:
        """Make one set of masks of several people's, as a reviewer chose.

        Args:
            image_id: an image that all are done with.
            choices: for every thing by its key: whose mask, CONSENSUS or LEAVE.
            by: the reviewer.

        Returns:
            The act, for the undo.

        Raises:
            NotAllowed: a thing is not decided, or cannot be decided so; or somebody saved anew.
        """
        with self._store.transaction():
            found = self.compared(image_id)
            keys = [found.key_of(thing) for thing in found.things]
            if set(choices) != set(keys):
                raise NotAllowed("what is compared has changed: compare again, then merge")
            chosen = [(thing, choices[key]) for thing, key in zip(found.things, keys, strict=True)]
            return self._merge(found, chosen, by, secrets.token_hex(6))

    def preview(self, project_id: int, least: float) -> Preview:
        """What `merge_all` would do.

        Args:
            project_id: the project.
            least: IoU that any two outlines of a thing must have.
        """
        found = [one for one in self.each(project_id) if not one.act]
        ready = {one.image_id: len(one.things) for one in found if _agrees(one, least)}
        return Preview(ready, [one.image_id for one in found if one.image_id not in ready])

    def merge_all(self, project_id: int, least: float, by: str) -> tuple[str, int]:
        """Merge every image on which all agree on all; the others stay as they are.

        One by one: nobody's save waits for more than one image.

        Returns:
            The act, by which all of it is undone, and how many images were merged.
        """
        act, count = secrets.token_hex(6), 0
        for image_id in self.preview(project_id, least).ready:
            with self._store.transaction():
                one = self.compared(image_id)  # anew: it may have been opened again meanwhile
                if one.is_complete and not one.act and _agrees(one, least):
                    self._merge(one, [(thing, CONSENSUS) for thing in one.things], by, act)
                    count += 1
        return act, count

    def undo(self, project_id: int, act: str, by: str) -> int:
        """Take an act of merging back, but for images on which somebody went on since.

        Returns:
            How many images are to be merged again.
        """
        now = self._now()
        with self._store.transaction():
            images = self._store.undo_merge(project_id, act, by, reason_of(act), now)
            if images:
                detail = {"act": act, "images": images[:1000]}
                self._store.add_audit(by, "merge.undo", now, project_id=project_id, detail=detail)
        return len(images)

    def reopen(self, image_id: int, by: str) -> None:
        """Let all who are done with an image go on, as long as it is not merged.

        Raises:
            NotAllowed: `by` is one of them, and by now may see what the others drew.
        """
        if any(one.person == by for one in self._store.list_assigned(image_id)):
            raise NotAllowed(
                "you annotate this image yourself, and now see what the others drew: let another"
                " reviewer open it again"
            )
        with self._store.transaction():
            self._store.reopen(image_id)
            image = self._store.get_image(image_id)
            self._store.add_audit(
                by, "reopen", self._now(), project_id=image.project_id, subject=image.file_name
            )

    def _merge(
        self, found: Compared, chosen: Sequence[tuple[Thing, str]], by: str, act: str
    ) -> str:
        known = {
            one.id: one.draft for own in self._store.list_layers(found.image_id).values()
            for one in own
        }  # fmt: skip
        drafts = [
            _draft(thing, choice, known, len(found.people))
            for thing, choice in chosen
            if choice != LEAVE
        ]
        now = self._now()
        self._store.merge(found.image_id, drafts, by, reason_of(act), act, now)
        image = self._store.get_image(found.image_id)
        detail = {"masks": len(drafts), "of": [*found.people], "act": act}
        self._store.add_audit(
            by, "merge", now, project_id=image.project_id, subject=image.file_name, detail=detail
        )
        return act

    def _compared(
        self, image_id: int, people: Sequence[Assignment], act: str, viewer: Viewer | None
    ) -> Compared | None:
        """One image; None where it is one person's only, or sealed."""
        names = tuple(sorted(one.person for one in people))
        done = frozenset(one.person for one in people if one.done_at is not None)
        blind = Blind(image_id, names, done)
        if len(names) < 2 or (not act and viewer is not None and blind.is_sealed_to(viewer)):
            return None
        layers = self._store.list_layers(image_id)
        return Compared(
            image_id,
            names,
            blind.is_complete,
            act,
            things_of({name: shapes_of(layers[name]) for name in names}),
            {name: sum(_is_undecided(one) for one in layers[name]) for name in names},
        )


def reason_of(act: str) -> str:
    """Under which the instances that an act of merging makes stand in the history."""
    return f"{REASON} {act}"


def shapes_of(instances: Sequence[Instance]) -> list[Shape]:
    """The masks of one's own that one vouches for."""
    return [
        Shape(one.id, one.draft.category_id, one.draft.rle)
        for one in instances
        if one.draft.state in MASK_STATES and one.draft.rle is not None and one.draft.rle.area
    ]


def pairwise(found: Sequence[Compared]) -> dict[tuple[str, str], Agreement]:
    """How far every two people agree on the images that both did."""
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for one in found:
        for place, first in enumerate(one.people):
            for second in one.people[place + 1 :]:
                own = [[t.shapes[p] for t in one.things if p in t.shapes] for p in (first, second)]
                pairs.setdefault((first, second), []).append(compare(*own))
    return {who: summed(comparisons) for who, comparisons in sorted(pairs.items())}


def agreement_rows(found: Sequence[Compared], names: Mapping[int, str]) -> Iterator[list[str]]:
    """How far every two people agree, on all and then on each image, as AGREEMENT_HEAD says."""
    for who, one in pairwise(found).items():
        yield _to_cells(who, "", one)
    for image in found:
        for who, one in pairwise([image]).items():
            yield _to_cells(who, names[image.image_id], one)


def _to_cells(who: tuple[str, str], image: str, one: Agreement) -> list[str]:
    counts = (one.images, one.matched, one.first_only, one.second_only)
    shares = (one.f1, one.iou, one.boundary_iou, one.quality, one.kappa)
    return [*who, image, *map(str, counts), *("" if s is None else f"{s:.4f}" for s in shares)]


def hash_of(shape: Shape) -> str:
    """A few letters that change with a mask or its category."""
    text = f"{shape.category_id} {shape.rle.counts}"
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:8]


def _agrees(found: Compared, least: float) -> bool:
    left = sum(found.undecided.values())
    return not left and all(found.agrees(thing, least) for thing in found.things)


def _is_undecided(one: Instance) -> bool:
    return one.draft.state is State.PROPOSED


def _draft(thing: Thing, choice: str, known: Mapping[int, Draft], voters: int) -> Draft:
    """What becomes of a thing.

    Raises:
        NotAllowed: nobody of that name saw it, or there is no consensus of it.
    """
    if choice == CONSENSUS:
        first = thing.shapes[min(thing.shapes)]
        rle = consensus(thing, voters) if thing.is_one_category else None
        if rle is None or rle.box is None:
            raise NotAllowed("there is no consensus of a thing that not enough saw as one kind")
        x0, y0, x1, y1 = map(float, rle.box)
        return replace(known[first.instance_id], state=State.ACCEPTED, rle=rle,
                       box=(x0, y0, x1, y1))  # fmt: skip
    if choice not in thing.shapes:
        raise NotAllowed(f"{choice!r:.60} is nobody who has a mask of it: choose again")
    return replace(known[thing.shapes[choice].instance_id], state=State.ACCEPTED)
