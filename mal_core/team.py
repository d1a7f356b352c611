"""Worker processes that label shards: started, fed, and followed by others when they die.

A worker is `python -m mal_core.worker`; it reads its job, then a shard a line, and answers lines of
JSON. Whatever kills it, its shard is done again by the next one. An image on which workers keep
dying gets errors instead of masks, so that it is not tried for ever and the rest is done.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import orjson

from mal_core.errors import MALError
from mal_core.shards import Shard

STRIKES = 3  # workers that one image may cost
DEATHS_IN_A_ROW = 12  # of one worker's place, without a shard done between them
PROGRAM = (sys.executable, "-m", "mal_core.worker")
POISON = f"{STRIKES} processes died while they worked on it"
_ROOT = Path(__file__).resolve().parent.parent
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What a process must know to label shards, wherever it runs.

    Attributes:
        weights: path of the checkpoint.
        device: for `Predictor.load`.
        backend: that runs the network, for `Predictor.load`.
        refine: method by which edges follow the image.
        threads: of the CPU for one process; None: torch's choice.
        config: fields of LabelConfig.
        images: the place of the images, for `mal_core.sources`.
        shelf: the place of the shards, for `mal_core.shards`.
        form: of their files.
    """

    weights: str
    device: str
    backend: str
    refine: str
    threads: int | None
    config: Mapping[str, Any]
    images: str
    shelf: str
    form: str

    def to_json(self) -> bytes:
        """The job for another process."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes | str) -> "Job":
        """The job that another process sent."""
        return cls(**orjson.loads(text))


class Worker:
    """The place of one worker process: whoever dies in it is followed by another.

    Args:
        job: what its processes do.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def label(self, shard: Shard) -> Report:
        """Have a shard done.

        Returns:
            The report of `mal_core.labeller.label_shard`.

        Raises:
            MALError: the worker says why it cannot; or its processes keep dying.
        """
        deaths: Counter[int | None] = Counter()
        while deaths.total() < DEATHS_IN_A_ROW and not self._is_closed:
            deadly = {key: POISON for key, n in deaths.items() if n >= STRIKES and key is not None}
            image, report = self._ask(shard, deadly)
            if report is not None:
                return report
            self._end()
            deaths[image] += 1
        raise MALError(
            f"processes that label keep dying, the last {deaths.total()} on shard {shard.name}: see"
            " what they printed; what is done stays, the same command goes on"
        )

    def stop(self) -> None:
        """Kill the process, from any thread; `label`, where it waits, raises MALError."""
        self._is_closed = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Kill the process and take leave of it, when no `label` waits."""
        self.stop()
        self._end()

    def _ask(self, shard: Shard, deadly: Mapping[int, str]) -> tuple[int | None, Report | None]:
        """The image in hand and the report; None: the process died."""
        process = self._process = self._process or self._start()
        if self._is_closed:  # between the look at it and the start
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        image: int | None = None
        with suppress(BrokenPipeError):
            line = {"shard": shard.to_json().decode(), "deadly": list(deadly.items())}
            process.stdin.write(orjson.dumps(line) + b"\n")
            process.stdin.flush()
            for answer in process.stdout:
                if not answer.endswith(b"\n"):
                    break
                told = orjson.loads(answer)
                if "fault" in told:
                    raise MALError(told["fault"])
                if "report" in told:
                    return image, told["report"]
                image = told["begin"]
        return image, None

    def _start(self) -> subprocess.Popen[bytes]:
        threads = str(self._job.threads or "")
        few = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if threads}
        process = subprocess.Popen(  # noqa: S603 - our own module
            PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env=os.environ | few,
            process_group=0,  # Ctrl-C is for the parent, which stops it
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(self._job.to_json() + b"\n")
        return process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError):
                self._process.communicate()
        self._process = None


def label_together(job: Job, count: int, shards: Sequence[Shard]) -> Iterator[Report]:
    """The crew of several processes on this machine.

    Args:
        job: what they do.
        count: of processes.
        shards: to be done.

    Yields:
        The report of each shard, as they are done.

    Raises:
        MALError: a worker says why it cannot go on; the others are stopped.
    """
    workers = [Worker(job) for _ in range(min(count, len(shards)))]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def label(shard: Shard) -> Report:
        worker = free.get()
        try:
            return worker.label(shard)
        finally:
            free.put(worker)

    with ExitStack() as ends:
        for worker in workers:
            ends.enter_context(closing(worker))
        threads = ends.enter_context(ThreadPoolExecutor(max(1, len(workers))))
        running: set[Future[Report]] = set()
        try:
            for shard in shards:
                running.add(threads.submit(label, shard))
                if len(running) > len(workers):  # one waits, so that nobody is idle
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()
            for worker in workers:
                worker.stop()
