"""The program of one worker: `python -m mal_core.worker`, spoken to by `mal_core.team.Worker`.

It reads its job, then a shard a line. It answers {"begin": image} before each image and
{"report": ...} when the shard's file is there, or {"fault": text} if it cannot. When whoever feeds
it is gone it ends at once, in the middle of its work.
"""

import os
import sys
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread
from typing import BinaryIO

import orjson
import torch

from mal_core.coco import ImageRecord
from mal_core.errors import BadImage, MALError
from mal_core.geometry import Image
from mal_core.labeller import Loader, label_shard, make_labeller
from mal_core.shards import Shard, Shelf
from mal_core.team import Job


def main(requests: BinaryIO, replies: BinaryIO) -> None:
    """Serve shards until the feeding pipe closes."""
    lines = _follow(requests)
    job = Job.from_json(next(lines))
    if job.threads:
        torch.set_num_threads(job.threads)

    def tell(kind: str, value: object) -> None:
        replies.write(orjson.dumps({kind: value}) + b"\n")
        replies.flush()

    try:
        labeller, shelf = make_labeller(job), Shelf(job.shelf, job.form)
        with Loader(job.images) as loader:
            for line in lines:
                request = orjson.loads(line)
                deadly = dict(request["deadly"])

                def load(record: ImageRecord, deadly: dict[int, str] = deadly) -> Image:
                    if record.id in deadly:
                        raise BadImage(deadly[record.id])
                    return loader.load(record)

                shard = Shard.from_json(request["shard"])
                done = label_shard(shard, labeller, load, shelf, lambda key: tell("begin", key))
                tell("report", {**done, "worker": os.getpid()})
    except (MALError, OSError) as error:
        tell("fault", str(error))


def _follow(requests: BinaryIO) -> Iterator[bytes]:
    """Each line as it comes; a thread reads, so that the end is seen in the midst of work."""
    lines: SimpleQueue[bytes] = SimpleQueue()

    def read() -> None:
        for line in requests:
            lines.put(line)
        os._exit(0)

    Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
