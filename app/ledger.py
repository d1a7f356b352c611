"""The ledger: what a mask costs in a person's time, by the model that proposed it; pure.

Everything follows from the revisions. The time between two acts of a person belongs to the
instance of the later one, but for what is longer than a pause for thought; so the times of all
instances add up to the time worked. A page that measured it tells it with the save.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.history import ASSISTING, MODEL_REASONS, UNASKED
from app.records import Draft, Revision, State
from mal_core.masks import RLE, iou

IDLE_SECONDS = 60.0
PACE_MASKS = 50  # the newest masks tell the pace
FINISHED = frozenset({State.ACCEPTED, State.CORRECTED})


@dataclass(frozen=True)
class Entry:
    """What one finished mask took.

    Attributes:
        model_id: of the last proposal it was made from; None for one made without a model.
        seconds: of a person's time, drawing its box included.
        strokes: saves by a person that changed the mask.
        iou: of that proposal and the mask as it is; None without a proposal.
        is_untouched: accepted just as it was proposed.
    """

    instance_id: int
    model_id: int | None
    finished_at: datetime
    seconds: float
    strokes: int
    iou: float | None
    is_untouched: bool


@dataclass(frozen=True)
class Pace:
    """Means over finished masks; `iou` over those that were proposed."""

    masks: int
    seconds: float
    strokes: float
    iou: float | None
    untouched: float  # share


@dataclass
class _Account:
    """One instance so far."""

    head: Draft | None = None
    proposal: Draft | None = None
    seconds: float = 0.0
    strokes: int = 0
    at: datetime | None = None

    def take(self, revision: Revision) -> None:
        """Follow the instance to its next head."""
        draft, is_models = revision.draft, revision.reason in MODEL_REASONS
        before = None if self.head is None else self.head.rle
        if is_models and draft.rle is not None:
            self.proposal = draft
        elif self.head is not None and draft.rle != before:
            merged = revision.strokes or 1  # where the network was slow, a save holds several
            self.strokes += 0 if revision.reason in ASSISTING else merged
        self.head, self.at = draft, revision.saved_at


def finished_masks(revisions: Iterable[Revision]) -> list[Entry]:
    """The accepted and corrected masks of a project, with what each took.

    Args:
        revisions: all of the project, oldest first.

    Returns:
        In the order in which they were finished.
    """
    accounts: dict[int, _Account] = {}
    last_act: dict[str, datetime] = {}
    for revision in revisions:
        account = accounts.setdefault(revision.instance_id, _Account())
        if revision.reason not in UNASKED:
            before = last_act.get(revision.person, revision.saved_at)
            gap = min(max((revision.saved_at - before).total_seconds(), 0.0), IDLE_SECONDS)
            account.seconds += gap if revision.seconds is None else revision.seconds
            last_act[revision.person] = revision.saved_at
        if not revision.is_conflict:
            account.take(revision)
    entries = [e for key, a in accounts.items() if (e := _to_entry(key, a)) is not None]
    return sorted(entries, key=lambda entry: (entry.finished_at, entry.instance_id))


def by_model(entries: Sequence[Entry]) -> Mapping[int | None, Pace]:
    """The pace with each model, by its id."""
    groups: dict[int | None, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.model_id, []).append(entry)
    return {key: pace(group) for key, group in groups.items()}


def pace(entries: Sequence[Entry]) -> Pace:
    """Means over one or more finished masks.

    Raises:
        ValueError: if there are none.
    """
    if not entries:
        raise ValueError("there is no finished mask to take a mean of")
    count = len(entries)
    ious = [entry.iou for entry in entries if entry.iou is not None]
    return Pace(
        masks=count,
        seconds=sum(entry.seconds for entry in entries) / count,
        strokes=sum(entry.strokes for entry in entries) / count,
        iou=sum(ious) / len(ious) if ious else None,
        untouched=sum(entry.is_untouched for entry in entries) / count,
    )


def hours_left(entries: Sequence[Entry], waiting: int) -> float | None:
    """Hours that the instances nobody has reviewed take at the pace of the newest masks.

    Args:
        entries: finished masks in the order of their end.
        waiting: number of instances that wait.

    Returns:
        None while there is no pace to go by.
    """
    newest = entries[-PACE_MASKS:]
    return waiting * pace(newest).seconds / 3600 if newest else None


def _to_entry(instance_id: int, account: _Account) -> Entry | None:
    head, proposal = account.head, account.proposal
    if head is None or account.at is None or head.state not in FINISHED or head.rle is None:
        return None
    proposed = None if proposal is None else proposal.rle
    return Entry(
        instance_id=instance_id,
        model_id=None if proposal is None else proposal.model_id,
        finished_at=account.at,
        seconds=account.seconds,
        strokes=account.strokes,
        iou=None if proposed is None else iou(proposed, head.rle),
        is_untouched=_is_untouched(head, proposed),
    )


def _is_untouched(head: Draft, proposed: RLE | None) -> bool:
    return head.state is State.ACCEPTED and head.rle == proposed
