"""Processes to be killed, forked from one that has imported all: `python -m tests.studio.nursery`.

A kill costs a start, and of a start the imports take longer than everything else. A line of JSON
on stdin, {"module", "name", "arguments", "output"}, has a function called in a process of its own,
which prints to the file `output`; its id comes back on a line.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 240.0  # seconds after which what does not come is given up
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # no pool, so that it may fork


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever is killed is gone at once
    for line in sys.stdin:
        order = json.loads(line)
        act = getattr(importlib.import_module(order["module"]), order["name"])
        pid = os.fork()
        if pid == 0:
            carry_out(act, order["arguments"], order["output"])
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def carry_out(act: Callable[..., object], arguments: list[str], output: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (0, 1, 2):  # whoever waits for the parent's end must not wait for ours
        os.dup2(file, number)
    code = 1
    try:
        act(*arguments)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


class Nursery:
    """The parent, and a way to ask it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._pids: list[int] = []

    def begin(self, act: str, *arguments: object, output: Path) -> int:
        """Have "module:function" called with texts; the id of the process that does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        module, _, name = act.partition(":")
        order = {"module": module, "name": name, "output": str(output)}
        self._process.stdin.write(json.dumps(order | {"arguments": [*map(str, arguments)]}) + "\n")
        self._process.stdin.flush()
        self._pids.append(int(self._process.stdout.readline()))
        return self._pids[-1]

    def end_all(self) -> None:
        """Kill whoever is left."""
        for pid in self._pids:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def opened_nursery() -> Iterator[Nursery]:
    command = [sys.executable, "-m", "tests.studio.nursery"]
    env, pipe = os.environ | THREADS, subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True
    ) as process:
        nursery = Nursery(process)
        try:
            yield nursery
        finally:
            nursery.end_all()
            process.kill()


def kill(pid: int) -> None:
    """kill -9, and wait until it has an effect."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid))


def wait_until(is_so: Callable[[], bool], seconds: float = DEADLINE) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if is_so():
            return
        time.sleep(0.002)
    raise AssertionError("it never became so")


def is_gone(pid: int) -> bool:
    """Whether a process has ended and was reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


if __name__ == "__main__":
    main()
