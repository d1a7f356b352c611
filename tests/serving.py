"""`python app.py` as a child process: started, killed, watched."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 400.0
SAMPLE_SECONDS = 0.03


class Studio:
    """`python app.py` as a child process that can be killed and started again."""

    def __init__(self, folder: Path, *flags: str, **variables: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.url = f"http://127.0.0.1:{self.port}"
        self._flags, self._variables = flags, variables
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that serves; it must be running."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "app.py", "--data-dir", str(self.data)),
                    *("--port", str(self.port), "--backend", "torch", *self._flags),
                ],
                cwd=ROOT,
                env=os.environ | self._variables,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self._process.poll() is None, self.log.read_text()
            try:
                httpx.get(self.url, timeout=5)
            except httpx.TransportError:
                time.sleep(0.2)
            else:
                return
        raise TimeoutError(self.log.read_text())

    def kill(self) -> None:
        """kill -9, as a power switch would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        assert self._process is not None
        self._process.terminate()

    def wait(self, seconds: float) -> None:
        assert self._process is not None
        self._process.wait(seconds)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.terminate()
            self.wait(60)


class Meter:
    """Reads, many times a second while its block runs, what memory a process tree has."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.samples: list[int] = []  # bytes
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    @property
    def growth(self) -> int:
        """Bytes from the first sample to the highest."""
        return max(self.samples) - self.samples[0]

    def __enter__(self) -> "Meter":
        self.samples.append(memory_of(self._pid))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.samples.append(memory_of(self._pid))

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.samples.append(memory_of(self._pid))


def memory_of(pid: int) -> int:
    """Bytes that a process and all it started hold in memory."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        with suppress(OSError):  # it ended meanwhile
            pages = int(Path(f"/proc/{one}/statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())
    return total
