"""Goes through a project and says what is likely to be wrong with its images and instances.

What is measured of an image stands as long as none of its instances is saved anew, so that a
second look costs only what changed. Nothing of it is stored: it follows from masks and images.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from app.errors import NotFound
from app.health.likeness import alike, hash_of
from app.health.limits import Kind, Limits
from app.health.pairs import find_pairs
from app.health.shapes import find_shapes
from app.images import open_thumbnail
from app.records import Image, Instance, State
from app.session import COUNTABLE
from app.settings import Settings
from app.store import Store
from mal_core.errors import BadImage
from mal_core.masks import RLE

EXAMINED = COUNTABLE - {State.REJECTED}
"""States of the instances that are looked at: what was rejected is out already."""

Found = Mapping[int, int]
"""Instances by id, each with the version that was looked at."""


@dataclass(frozen=True)
class Report:
    """What a check found in a project.

    Attributes:
        checked_at: when it was over.
        images: all of the project, by number.
        newest: the newest revision on each image that was looked at, by the image's id; 0 for none.
        found: the instances of each kind that there are any of.
        places: the number of images on which those are.
        categories: instances examined by category and state.
        lengths: (M,) side of a square as large as each mask, pixels.
        crowds: (I,) instances examined on each of `images`.
        alike: groups of images that look alike.
        unseen: images whose file is missing or damaged.
    """

    checked_at: datetime
    images: Sequence[Image]
    newest: Mapping[int, int]
    found: Mapping[Kind, Found]
    places: Mapping[Kind, int]
    categories: Mapping[tuple[int, State], int]
    lengths: NDArray[np.float32]
    crowds: NDArray[np.int64]
    alike: Sequence[Sequence[Image]]
    unseen: Sequence[Image]


@dataclass(frozen=True)
class Facts:
    """What was measured of one image, and the newest revision it rests on."""

    newest: int
    found: Mapping[Kind, Found]
    categories: Mapping[tuple[int, State], int]
    lengths: NDArray[np.float32]
    count: int


class Health:
    """The findings of each project, as long as the studio runs; thread-safe.

    Args:
        settings: where the images are.
        store: the projects.
        now: tells the time.
        limits: where a finding begins.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        now: Callable[[], datetime],
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.limits = limits
        self._settings = settings
        self._store = store
        self._now = now
        self._facts: dict[int, Facts] = {}
        self._hashes: dict[str, int | None] = {}  # by the raster's own hash; None: not yet read
        self._reports: dict[int, Report] = {}

    def check(self, project_id: int) -> Iterator[Image]:
        """Look through a project; its report is there when the iterator is at its end.

        Yields:
            Each image once it was looked at.

        Raises:
            NotFound: there is no such project.
        """
        newest = self._store.list_newest_revisions(project_id)
        images = [summary.image for summary in self._store.list_images(project_id)]
        for image in images:
            self._look(image, newest.get(image.id, 0))
            yield image
        self._reports[project_id] = self._sum_up(images)

    def report(self, project_id: int) -> Report | None:
        """What the last check found; None before the first one."""
        return self._reports.get(project_id)

    def changed(self, project_id: int) -> int:
        """The number of images that are new, or whose instances changed, since the last check.

        Raises:
            NotFound: there is no such project.
        """
        newest = self._store.list_newest_revisions(project_id)
        images = [summary.image.id for summary in self._store.list_images(project_id)]
        seen = report.newest if (report := self.report(project_id)) else {}
        return sum(seen.get(key) != newest.get(key, 0) for key in images)

    def found(self, project_id: int, kind: Kind) -> Found:
        """The instances of a kind that the last check found.

        Raises:
            NotFound: the project was not checked since the studio started.
        """
        report = self.report(project_id)
        if report is None:
            raise NotFound("this project was not checked yet; do so on the Health page")
        return report.found.get(kind, {})

    def _look(self, image: Image, newest: int) -> None:
        if self._hashes.get(image.sha256) is None:
            self._hashes[image.sha256] = self._hash(image)
        facts = self._facts.get(image.id)
        if facts is None or facts.newest != newest:
            instances = self._store.list_instances(image.id)
            self._facts[image.id] = examine(instances, newest, self.limits)

    def _hash(self, image: Image) -> int | None:
        try:
            with open_thumbnail(self._settings, image) as picture:
                return hash_of(picture)
        except BadImage:
            return None

    def _sum_up(self, images: Sequence[Image]) -> Report:
        facts = [self._facts[image.id] for image in images]
        found: dict[Kind, dict[int, int]] = {}
        categories: dict[tuple[int, State], int] = {}
        for one in facts:
            for kind, instances in one.found.items():
                found.setdefault(kind, {}).update(instances)
            for key, count in one.categories.items():
                categories[key] = categories.get(key, 0) + count
        seen = [(i, h) for i in images if (h := self._hashes[i.sha256]) is not None]
        groups = alike([value for _, value in seen], self.limits.alike_bits)
        return Report(
            checked_at=self._now(),
            images=images,
            newest={image.id: one.newest for image, one in zip(images, facts, strict=True)},
            found=found,
            places={kind: sum(kind in one.found for one in facts) for kind in found},
            categories=categories,
            lengths=np.concatenate([np.zeros(0, np.float32), *(one.lengths for one in facts)]),
            crowds=np.array([one.count for one in facts], np.int64),
            alike=[[seen[index][0] for index in group] for group in groups],
            unseen=[image for image in images if self._hashes[image.sha256] is None],
        )


def examine(instances: Sequence[Instance], newest: int, limits: Limits) -> Facts:
    """Measure the instances of one image."""
    live = [one for one in instances if one.draft.state in EXAMINED]
    masked = [one for one in live if one.draft.rle is not None]
    flags, areas = find_shapes([one.draft for one in masked], limits)
    kinds: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    kinds[Kind.NO_MASK] = {one.id for one in live if one.draft.rle is None}
    for kind, flag in flags.items():
        kinds[kind] = {masked[index].id for index in np.flatnonzero(flag)}
    solid = np.flatnonzero(areas)
    some = [masked[index] for index in solid]
    masks = [one.draft.rle for one in some if isinstance(one.draft.rle, RLE)]
    categories = [one.draft.category_id for one in some]
    for kind, pair in find_pairs(masks, areas[solid], categories, limits):
        kinds[kind] |= {some[index].id for index in pair}
    versions = {one.id: one.version for one in live}
    counts: dict[tuple[int, State], int] = {}
    for one in live:
        key = (one.draft.category_id, one.draft.state)
        counts[key] = counts.get(key, 0) + 1
    return Facts(
        newest,
        {kind: {key: versions[key] for key in sorted(ids)} for kind, ids in kinds.items() if ids},
        counts,
        np.sqrt(areas[solid]).astype(np.float32),
        len(live),
    )
