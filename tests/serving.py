"""`python app.py` as a child process: started, killed, watched."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 400.0


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
