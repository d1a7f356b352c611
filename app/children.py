"""A child process that tells how far it is, and does not outlive the studio.

The child runs at low priority in a process group of its own. A shell beside it in the group waits
on a pipe that only the studio holds open: however the studio ends, kill -9 included, the pipe
closes and the shell kills the group. Nothing has to be looked for at the next start.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from mal_core.errors import TrainingError

LOW_PRIORITY = 10
STOP_SECONDS = 5.0
BEAT_SECONDS = 5.0
SILENCE_SECONDS = 900.0
_ROOT = Path(__file__).resolve().parent.parent
_GUARD = f"""
exec 3<&0
(cat <&3; kill -KILL 0) >/dev/null 2>&1 &
exec 3<&-
exec nice -n {LOW_PRIORITY} "$@" </dev/null
"""


class Child:
    """One run of a command that prints a JSON object with an "event" a line.

    Args:
        command: program and arguments.
        log: file that takes what it prints on stderr.

    Raises:
        OSError: the system refuses.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and checked paths
                ["sh", "-c", _GUARD, "guard", *command],  # noqa: S607
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        """Whether it ran to its end, whatever the end."""
        return self._process.poll() is not None

    def events(self, beat: Callable[[], None]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Follow what it says until it says no more.

        Args:
            beat: called every few seconds in which it is silent, but lives.

        Yields:
            The kind of an event, and its fields.

        Raises:
            TrainingError: it printed anything else, or was silent for too long.
        """
        lines: Queue[str | None] = Queue()
        Thread(target=self._read, args=(lines,), daemon=True).start()
        heard = time.monotonic()
        while True:
            try:
                line = lines.get(timeout=BEAT_SECONDS)
            except Empty:
                if time.monotonic() - heard > SILENCE_SECONDS:
                    text = f"the training process gave no sign for {SILENCE_SECONDS:.0f} seconds"
                    raise TrainingError(text) from None
                beat()
                continue
            if line is None or not line.endswith("\n"):  # the half of a line: it was killed
                return
            heard = time.monotonic()
            yield _read_event(line)

    def wait(self) -> int:
        """Wait for its end; the exit status, or minus the signal that killed it."""
        return self._process.wait()

    def end(self) -> None:
        """End it and what it started, politely first."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if not self.has_ended:
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(self._process.pid, sign)
                    self._process.wait(STOP_SECONDS)
        assert self._process.stdin is not None
        self._process.stdin.close()  # lets the shell beside it end

    def last_words(self, code: int) -> str:
        """Why it ended with this status: its last line on stderr, or the signal that killed it."""
        if code < 0:
            return (
                f"the training process was killed by signal {-code}, perhaps for lack of memory:"
                " close other programs, or learn from fewer masks at a time"
            )
        text = self._log.read_text("utf-8", errors="replace").strip()
        words = text.splitlines()[-1] if text else "no message"
        return f"the training process ended with status {code}: {words[:500]}"

    def _read(self, lines: "Queue[str | None]") -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                lines.put(line)
        lines.put(None)


def _read_event(line: str) -> tuple[str, dict[str, Any]]:
    try:
        event = json.loads(line)
        return event.pop("event"), event
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise TrainingError(f"the training process wrote no event but {line!r:.100}") from error
