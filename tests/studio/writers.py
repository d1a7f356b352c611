"""Processes that save without end, to be killed: `python -m tests.studio.writers STORE FOLDER`.

A line "processes threads" on stdin makes that many; their ids come back on a line. Each thread
saves an instance of its own, and notes in FOLDER/<instance> each version the store acknowledged.
They are forked, since a kill costs a start, and an import takes longer than everything else.
"""

import itertools
import os
import random
import sys
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

from app.errors import Busy
from app.records import Revision
from app.store import Store

PAYLOAD = 2000  # characters at most


def main() -> None:
    place, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for line in sys.stdin:
        processes, threads = map(int, line.split())
        keys = iter(range(1, processes * threads + 1))
        pids = [
            fork(place, folder, list(itertools.islice(keys, threads))) for _ in range(processes)
        ]
        sys.stdout.write(" ".join(map(str, pids)) + "\n")
        sys.stdout.flush()
        for pid in pids:
            os.waitpid(pid, 0)


def fork(place: Path, folder: Path, keys: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        os.close(0)
        os.close(1)  # whoever waits for the parent's end must not wait for ours
        store = Store(place, as_it_is=True)
        threads = [Thread(target=save_without_end, args=(store, key, folder)) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(1)
    return pid


def save_without_end(store: Store, key: int, folder: Path) -> None:
    chance = random.Random(os.getpid() + key)
    acknowledged = os.open(folder / str(key), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    instance = store.get_instance(key)
    while True:
        payload = chance.randbytes(chance.randrange(PAYLOAD // 2)).hex()
        person = str(zlib.crc32(payload.encode()))
        draft = replace(instance.draft, score=chance.random())
        now = datetime.now(UTC)
        try:
            instance = store.save_instance(key, draft, instance.version, person, payload, now)
        except Busy:  # of processes that never pause, one may starve; nothing was promised
            continue
        os.write(acknowledged, f"{instance.version}\n".encode())


def is_torn(revision: Revision) -> bool:
    """Whether a revision is not what its writer wrote."""
    return revision.person != "Ada" and revision.person != str(zlib.crc32(revision.reason.encode()))


if __name__ == "__main__":
    main()
