"""How long somebody must wait before they may try a password again; pure, no clock of its own.

A few tries are free. Then each further one has to wait, twice as long every time, up to a few
minutes; a success under a name, or an hour of quiet, forgives. A try counts as failed from its
beginning, so that many at once are no way around.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

FORGET = 3600.0  # seconds of quiet that forgive
ROOM = 10_000  # names or addresses remembered; the longest quiet goes first


@dataclass
class _Tries:
    count: int
    last: float


class Lockout:
    """Tries by name, or by address; thread-safe.

    Args:
        free: tries before the first wait.
        first: seconds of the first wait.
        longest: seconds of the longest.
    """

    def __init__(self, free: int, first: float = 2.0, longest: float = 300.0) -> None:
        self._free, self._first, self._longest = free, first, longest
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self._lock = Lock()

    def begin(self, key: str, now: float) -> float:
        """Begin a try.

        Args:
            key: the name or address.
            now: seconds of a clock that never steps back.

        Returns:
            0 where it may go on; else the seconds to wait first, and the try does not count.
        """
        with self._lock:
            tries = self._tries.get(key)
            if tries is None or now - tries.last >= FORGET:
                tries = _Tries(0, now)
            if (left := tries.last + self._wait_after(tries.count) - now) > 0:
                return left
            self._count(key, tries, now)
            return 0.0

    def recall(self, key: str, at: float) -> None:
        """Count a try of before this began, when it was made; tries are told in their order."""
        with self._lock:
            tries = self._tries.get(key)
            if tries is None or at - tries.last >= FORGET:
                tries = _Tries(0, at)
            self._count(key, tries, at)

    def succeed(self, key: str) -> None:
        """Forgive: the password was right."""
        with self._lock:
            self._tries.pop(key, None)

    def take_back(self, key: str) -> None:
        """Count the last try as none: it was right, and says nothing of those before it."""
        with self._lock:
            if (tries := self._tries.get(key)) is not None:
                tries.count = max(0, tries.count - 1)

    def _count(self, key: str, tries: _Tries, now: float) -> None:
        self._tries[key] = _Tries(tries.count + 1, now)
        self._tries.move_to_end(key)
        if len(self._tries) > ROOM:
            self._tries.popitem(last=False)

    def _wait_after(self, count: int) -> float:
        if count < self._free:
            return 0.0
        return min(self._longest, self._first * 2.0 ** min(count - self._free, 60))
