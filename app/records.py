"""What the store returns: frozen records, never database rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from mal_core.masks import RLE

Box = tuple[float, float, float, float]


class State(StrEnum):
    """Where an instance stands in review; see app.session for who may go where."""

    PROPOSED = "proposed"  # a model's mask no person has looked at
    CORRECTED = "corrected"  # a person changed the mask
    ACCEPTED = "accepted"  # a person said the mask is right
    REJECTED = "rejected"  # a person said there is no such object, or not this mask
    DELETED = "deleted"  # taken away; its history stays


class Split(StrEnum):
    """What an image may be used for in training; once set it never changes."""

    TRAIN = "train"
    HELD_OUT = "held_out"


class JobState(StrEnum):
    """A job's life: queued -> running -> done | failed | stopped."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


OPEN = (JobState.QUEUED, JobState.RUNNING)


class Wish(StrEnum):
    """What a person wants of a job that has not ended."""

    GO = "go"
    PAUSE = "pause"
    STOP = "stop"


class ModelState(StrEnum):
    """What became of a model version."""

    BUNDLED = "bundled"  # came with the studio
    PROMOTED = "promoted"  # passed the gate when it was made, or a person chose it
    REJECTED = "rejected"  # did not pass; kept with its figures
    UNDECIDED = "undecided"  # the gate had too little to go by; a person decides


@dataclass(frozen=True)
class Project:
    """A set of images and categories labelled together; `model_id` proposes its masks."""

    id: int
    name: str
    model_id: int
    created_at: datetime


@dataclass(frozen=True)
class Category:
    """A class of objects; `number` is its stable 1-based COCO id within the project."""

    id: int
    project_id: int
    number: int
    name: str
    color: str  # "#rrggbb"


@dataclass(frozen=True)
class Image:
    """One image of a project, upright, stored under the SHA-256 of its bytes."""

    id: int
    project_id: int
    number: int  # stable 1-based COCO id within the project
    file_name: str  # the name it came with; shown and exported, never used as a path
    sha256: str  # of the stored raster
    source_sha256: str  # of the uploaded bytes: the same upload is taken once a project
    extension: str  # "jpg" or "png"
    width: int
    height: int
    split: Split | None
    notice: str  # what intake changed, for the person to know; "" if nothing
    created_at: datetime


@dataclass(frozen=True)
class TakenImage:
    """An upload after intake: decoded, upright and on disk, but in no project yet."""

    sha256: str  # of the stored raster
    source_sha256: str  # of the uploaded bytes
    extension: str  # "jpg" or "png"
    width: int
    height: int
    file_name: str
    notice: str
    n_bytes: int = 0  # of the raster and the thumbnail


@dataclass(frozen=True)
class ImageSummary:
    """An image with the number of its instances in each state (deleted ones not counted)."""

    image: Image
    counts: Mapping[State, int]


@dataclass(frozen=True)
class Draft:
    """What a person or model wants an instance to be; the store adds who, when and version."""

    state: State
    category_id: int
    box: Box  # half-open pixels of the upright image
    rle: RLE | None  # None: a box still without a mask
    score: float | None = None  # expected IoU by the model, 0..1
    flagged: bool = False  # the proposal looks suspicious
    model_id: int | None = None  # the model version whose proposal this mask descends from


@dataclass(frozen=True)
class Instance:
    """An instance at its head revision."""

    id: int
    image_id: int
    number: int  # stable 1-based COCO annotation id within the project
    version: int  # 1 for the first revision; sent as If-Match
    draft: Draft
    person: str
    reason: str
    saved_at: datetime


@dataclass(frozen=True)
class Sketch:
    """What a list needs of an instance at its head: all but its mask."""

    id: int
    image_id: int
    number: int
    version: int
    state: State
    category_id: int
    has_mask: bool
    score: float | None
    flagged: bool
    model_id: int | None
    person: str
    reason: str
    box: Box


@dataclass(frozen=True)
class NewInstance:
    """An instance to be added, and where."""

    image_id: int
    draft: Draft


@dataclass(frozen=True)
class Change:
    """What an instance that stands at a version is to be next."""

    instance_id: int
    version: int
    draft: Draft


@dataclass(frozen=True)
class Revision:
    """One entry of an instance's append-only history."""

    id: int
    instance_id: int
    version: int
    is_conflict: bool  # lost a race: kept, but never was the head
    draft: Draft
    person: str
    reason: str
    saved_at: datetime
    seconds: float | None = None  # of the person's time, as their page measured it
    strokes: int | None = None


@dataclass(frozen=True)
class Line:
    """A revision as the history of a project lists it: all but its mask."""

    id: int
    at: datetime
    person: str
    reason: str
    state: State
    category: str
    image_id: int
    file_name: str
    instance_id: int
    number: int  # of the instance
    version: int
    is_conflict: bool
    model: str  # whose proposal the mask descends from; "" for none
    seconds: float | None
    strokes: int | None


@dataclass(frozen=True)
class Sieve:
    """Which lines of a history to list; what is left out lets all through.

    Attributes:
        person: who saved.
        reason: the first word of why, such as "brush".
        state: what the instance became.
        text: stands in the image's file name, whatever the case.
        number: of the instance.
        conflicts: only what lost a race or came too late.
    """

    person: str | None = None
    reason: str | None = None
    state: State | None = None
    text: str = ""
    number: int | None = None
    conflicts: bool = False


@dataclass(frozen=True)
class Work:
    """How a save came to be; None where that is not known, or nobody's hand was in it.

    Attributes:
        token: fencing token of the lease it was made under; 0 for none at all. None: no lease is
            asked for, since it is no work at the canvas.
        seconds: of a person's time since their last save.
        strokes: of brush and eraser in it.
    """

    token: int | None = None
    seconds: float | None = None
    strokes: int | None = None


@dataclass(frozen=True)
class Lease:
    """Who works on an image, or did last; see app.leases for who gets it when."""

    image_id: int
    person: str
    token: int  # grows whenever the image goes to somebody else
    expires_at: datetime


@dataclass(frozen=True)
class Assignment:
    """An image that somebody is to do."""

    image_id: int
    person: str
    assigned_by: str
    assigned_at: datetime
    done_at: datetime | None  # when they said that they were done


@dataclass(frozen=True)
class Viewer:
    """Somebody who looks, for whom what others annotate blind may be sealed."""

    person: str
    reviews: bool  # sees both sides, unless they are of one that is not done


@dataclass(frozen=True)
class Blind:
    """An image that several people annotate unseen by each other, and how far they are.

    Attributes:
        people: who is to do it, two or more, by name.
        done: who of them has said that they are done.
    """

    image_id: int
    people: tuple[str, ...]
    done: frozenset[str]

    @property
    def is_complete(self) -> bool:
        """Whether all have said that they are done: it can be compared and merged."""
        return self.done == set(self.people)

    def is_sealed_to(self, viewer: Viewer) -> bool:
        """Whether somebody may not see what others made of it."""
        is_blind = viewer.person in self.people and not self.is_complete
        return is_blind or not viewer.reviews


@dataclass(frozen=True)
class Comment:
    """What somebody wrote about an image, or about one of its instances."""

    id: int
    image_id: int
    instance_id: int | None
    person: str
    text: str
    written_at: datetime


@dataclass(frozen=True)
class Job:
    """A piece of long work; it outlives the server that began it."""

    id: int
    project_id: int
    kind: str
    state: JobState
    params: Mapping[str, Any]
    progress: Mapping[str, Any]
    result: Mapping[str, Any]
    error: str
    launches: int  # how often it was begun since it last got on: above 1, something was killed
    created_at: datetime
    alive_at: datetime | None  # its last sign of life
    ended_at: datetime | None

    @property
    def wish(self) -> Wish:
        """What a person last said."""
        return Wish(self.params.get("wish", Wish.GO))


@dataclass(frozen=True)
class ModelVersion:
    """A checkpoint the studio knows, by its content hash."""

    id: int
    project_id: int | None  # None: bundled, usable by every project
    parent_id: int | None
    job_id: int | None
    name: str
    sha256: str
    state: ModelState
    figures: Mapping[str, Any]
    notes: str  # a person's own words
    created_at: datetime


@dataclass(frozen=True)
class NewModel:
    """A checkpoint to be made known; the store adds id, state and time."""

    name: str
    sha256: str
    figures: Mapping[str, Any]
    project_id: int | None = None  # None: bundled
    parent_id: int | None = None
    job_id: int | None = None
