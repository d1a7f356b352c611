"""What saves without end, to be killed: each thread an instance of its own."""

import os
import random
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

from app.errors import Busy
from app.records import Revision
from app.store import Store

PAYLOAD = 2000  # characters at most


def save_many(place: str, folder: str, *keys: str) -> None:
    """Save these instances, a thread each.

    Each notes in FOLDER/<instance> every version that the store acknowledged.
    """
    store = Store(Path(place), as_it_is=True)
    threads = [Thread(target=save_without_end, args=(store, int(k), Path(folder))) for k in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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
