"""What a person can cause in the studio, as one tree under MALError.

MALError
└── StudioError          every one has a `code` for programs and a text for people
    ├── NotFound         no such project, image, instance, job or model version
    ├── Forbidden        no valid session, a foreign origin, or not this person's to do
    ├── LoginNeeded      nobody is logged in, or not any more
    ├── WrongPassword    name and password do not belong together
    ├── LockedOut        too many tries; wait
    ├── TooLarge         the body of a request is too large, or does not say how large it is
    ├── Conflict         somebody saved first; both versions are kept
    │   └── LeaseLost    somebody else works on the image by now; the late version is kept
    ├── NotAllowed       the act does not fit the present state
    ├── Busy             the queue is full; try again
    ├── DiskFull         there is no room; nothing was saved
    ├── OverQuota        the project holds as much as it may
    ├── Unavailable      database, image store or disk cannot be reached, read or written
    ├── ExportFailed     the export did not prove equal to the store; nothing is handed out
    ├── Unreachable      a program got no answer from the studio, or none it understands
    └── JobFailed        a job that a program waited for failed or was stopped
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mal_core.errors import MALError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where the disk is full."""


class StudioError(MALError):
    """The root of the studio's own errors."""

    code = "studio"


class NotFound(StudioError):  # noqa: N818
    """No such project, image, instance, job or model version."""

    code = "not_found"


class Forbidden(StudioError):  # noqa: N818
    """No valid session, a request from a foreign origin, or not this person's to do."""

    code = "forbidden"


class LoginNeeded(StudioError):  # noqa: N818
    """Nobody is logged in, or not any more."""

    code = "login"


class WrongPassword(StudioError):  # noqa: N818
    """Name and password do not belong together."""

    code = "wrong_password"


class LockedOut(StudioError):  # noqa: N818
    """Too many tries under a name or from an address.

    Attributes:
        seconds: how long to wait.
    """

    code = "locked_out"

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        words = f"{seconds} seconds" if seconds < 120 else f"{seconds // 60} minutes"
        super().__init__(f"too many tries: wait {words}, then try again")


class TooLarge(StudioError):  # noqa: N818
    """The body of a request is too large, or does not say how large it is."""

    code = "too_large"


class NotAllowed(StudioError):  # noqa: N818
    """The act does not fit the present state."""

    code = "not_allowed"


class Busy(StudioError):  # noqa: N818
    """Too many requests are waiting; nothing was done."""

    code = "busy"


class DiskFull(StudioError):  # noqa: N818
    """The disk is full; nothing was saved."""

    code = "disk_full"


class OverQuota(StudioError):  # noqa: N818
    """The project holds as much as it may; nothing more was taken."""

    code = "over_quota"


class Unavailable(StudioError):  # noqa: N818
    """Database, image store or disk cannot be reached, read or written; nothing was saved."""

    code = "unavailable"


class ExportFailed(StudioError):  # noqa: N818
    """The export did not prove equal to what the store holds."""

    code = "export_failed"


class Unreachable(StudioError):  # noqa: N818
    """A program got no answer from the studio, or none it understands."""

    code = "unreachable"


class JobFailed(StudioError):  # noqa: N818
    """A job that a program waited for failed or was stopped."""

    code = "job_failed"


class Conflict(StudioError):  # noqa: N818
    """Somebody saved first; the late version is kept as a revision of its own.

    Attributes:
        kept: id of the revision that holds the late version.
    """

    code = "conflict"

    def __init__(self, message: str, kept: int) -> None:
        self.kept = kept
        super().__init__(message)


class LeaseLost(Conflict):
    """Somebody else works on the image by now; the late version is kept as a revision."""

    code = "lease_lost"


def is_refusal(error: OSError) -> bool:
    """Whether it is the disk that refuses: it is full, broken or read-only."""
    return error.errno in (*NO_ROOM, errno.EIO, errno.EROFS)


def from_disk(error: OSError, what: str) -> StudioError:
    """What to say when the disk refuses.

    Args:
        error: the refusal.
        what: came to nothing, such as "the backup could not be written".
    """
    text = f"{what}: {error.strerror or error}"
    is_full = error.errno in NO_ROOM
    return DiskFull(f"{text}; make room and try again") if is_full else Unavailable(text)


@contextmanager
def on_disk(what: str) -> Iterator[None]:
    """Say in a person's words what the disk refused in the block.

    Args:
        what: comes to nothing then, such as "the backup could not be written".

    Raises:
        DiskFull: there is no room.
        Unavailable: the disk is broken, read-only, or not ours to write on.
    """
    try:
        yield
    except OSError as error:
        raise from_disk(error, what) from error
