"""Who may work on an image: leases with an expiry and a token that only grows; pure.

One person at a time works on an image. Whoever opens a free one gets a lease; the page renews it
by a sign of life every BEAT seconds, and without one it is free after LEASE. The token grows each
time the image goes to another person, so that a save made under an older lease is known for what
it is, however late it comes. Two pages of one person share a lease: somebody alone meets nobody.

Source: Kleppmann, Designing Data-Intensive Applications, 2017, chapter 8 (fencing tokens).
"""

from dataclasses import replace
from datetime import datetime, timedelta

from app.records import Lease

BEAT = timedelta(seconds=20)
LEASE = timedelta(seconds=60)


def is_live(lease: Lease, now: datetime) -> bool:
    """Whether its holder gave a sign of life lately and did not leave."""
    return now < lease.expires_at


def is_held_against(lease: Lease | None, person: str, now: datetime) -> bool:
    """Whether somebody else works on the image."""
    return lease is not None and lease.person != person and is_live(lease, now)


def taken(
    lease: Lease | None, image_id: int, person: str, now: datetime, *, force: bool = False
) -> Lease:
    """The lease after a person asked to work on an image, or gave a sign of life.

    Args:
        lease: as it stands; None where nobody ever worked there.
        image_id: the image.
        person: who asks.
        now: the time.
        force: take it from whoever works there, as a reviewer may.

    Returns:
        Theirs if the image was free or theirs, else the other one's as it was.
    """
    if lease is None:
        return Lease(image_id, person, 1, now + LEASE)
    if lease.person == person:
        return replace(lease, expires_at=max(lease.expires_at, now + LEASE))
    if is_live(lease, now) and not force:
        return lease
    return replace(lease, person=person, token=lease.token + 1, expires_at=now + LEASE)


def released(lease: Lease, person: str, now: datetime) -> Lease:
    """The lease after a person left the image: it is free at once, unless it is another one's."""
    if lease.person != person or not is_live(lease, now):
        return lease
    return replace(lease, expires_at=now)


def refuses(lease: Lease | None, person: str, token: int, now: datetime) -> bool:
    """Whether a save comes too late: somebody else took the image over, and is at work on it.

    Args:
        lease: of the image, as it stands.
        person: who saves.
        token: of the lease under which the work was done; 0 for none.
        now: the time.
    """
    return lease is not None and token < lease.token and is_held_against(lease, person, now)
