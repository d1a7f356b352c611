"""A file that one process at a time may hold; the system lets go of it however that ends."""

import fcntl
import os
from pathlib import Path

from app.errors import NotAllowed, on_disk


def hold(lock: Path, refusal: str) -> int:
    """Hold a file until `os.close` of what is returned, or the end of this process.

    Args:
        lock: the file; it and its folder are made.
        refusal: what to say where another process holds it.

    Raises:
        NotAllowed: another process holds it.
        DiskFull, Unavailable: the disk does not take it.
    """
    with on_disk("the work could not begin, as its lock could not be made"):
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        raise NotAllowed(refusal) from error
    return held
