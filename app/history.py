"""What a history says: which masks are the model's, and which a person has touched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from app.records import Box, Draft, Instance, Revision, State
from mal_core.masks import RLE

PROPOSED, PROPOSED_AGAIN, PROPOSED_AHEAD = "proposed", "proposed again", "proposed ahead"
UNASKED = frozenset({PROPOSED_AGAIN, PROPOSED_AHEAD})
"""Reasons of the revisions that took nobody's time."""
MODEL_REASONS = UNASKED | {PROPOSED}
"""Reasons of the revisions whose mask a model made."""
STEERED, REPAINTED = "smart stroke", "assist"
SENT_BACK = "send back"
"""Reason of the revision in which a reviewer asks for a mask to be mended."""
ASIDE = frozenset({"category", "box"})
"""Reasons of the revisions that leave the mask as it is."""
ASSISTING = frozenset({STEERED, REPAINTED})
"""Reasons of the revisions in which the model carried a person's stroke on: no stroke more."""


def is_untouched(revisions: Iterable[Revision]) -> bool:
    """Whether no person ever had a hand in an instance's mask or a word on it.

    Args:
        revisions: all of one instance, oldest first, lost races included: theirs count, too.

    Returns:
        True if it always was a proposal and each of its masks was first a model's. A box that
        was moved and proposed anew, an undo back to a model's mask, or another category leave
        it untouched.
    """
    made: set[str] = set()
    for revision in revisions:
        draft = revision.draft
        if draft.state is not State.PROPOSED:
            return False
        if draft.rle is None:
            continue
        if revision.reason in MODEL_REASONS:
            made.add(draft.rle.counts)
        elif draft.rle.counts not in made:
            return False
    return True


def newest_proposals(revisions: Iterable[Revision]) -> Mapping[int, Draft]:
    """The newest draft each instance got from a model.

    Args:
        revisions: of any number of instances, oldest first.

    Returns:
        Drafts with a mask, by instance id; none for an instance that no model made a mask of.
    """
    return {
        revision.instance_id: revision.draft
        for revision in revisions
        if revision.reason in MODEL_REASONS and revision.draft.rle and not revision.is_conflict
    }


def descended(draft: Draft, origin: Draft) -> Draft:
    """A person's draft with what is known of the proposal it comes from."""
    return replace(draft, score=origin.score, flagged=origin.flagged, model_id=origin.model_id)


def mark_kept(head: Instance, wanted: Draft, reason: str) -> str:
    """The reason of a save; a mask sent back stays marked while only box or category change."""
    is_same_mask = wanted.state is State.PROPOSED and wanted.rle == head.draft.rle
    is_marked = head.reason == SENT_BACK and is_same_mask
    return SENT_BACK if is_marked and reason in ASIDE else reason


def origin(head: Draft, revisions: Sequence[Revision], rle: RLE | None) -> Draft:
    """The draft a mask comes from: undo may bring back one of another model.

    Args:
        head: what the instance is.
        revisions: its history, oldest first.
        rle: the mask a person wants; None for a box without one.
    """
    if rle is None or rle == head.rle:
        return head
    return next((r.draft for r in reversed(revisions) if r.draft.rle == rle), head)


def made_before(revisions: Sequence[Revision], model_id: int, box: Box) -> Draft | None:
    """The newest draft with a mask that a model made of a box before; None where it made none."""
    drafts = (revision.draft for revision in reversed(revisions))
    return next((d for d in drafts if d.model_id == model_id and d.box == box and d.rle), None)
