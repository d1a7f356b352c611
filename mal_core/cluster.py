"""The crew that is a Ray cluster: Ray Data deals out shards, workers label them.

Each Ray actor feeds one worker process (mal_core.team), the same as on one machine: what kills a
worker is dealt with there, what kills an actor or a machine by Ray, which deals the shard out
again. Loaded by name only (mal_core.extras), as Ray need not be installed.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import ray
import ray.data

from mal_core.errors import MALError
from mal_core.shards import Shard
from mal_core.team import Job, Report, Worker

STORE_BYTES = 96 * 2**20  # of a Ray started here: shards and reports are small
RETRIES = 8  # actors that one shard may cost
_ROOT = Path(__file__).resolve().parent.parent


class Hand:
    """A Ray actor with the place of one worker."""

    def __init__(self, job: bytes) -> None:
        self._worker = Worker(Job.from_json(job))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One shard to its report, or to the reason why there is none."""
        try:
            return {"report": orjson.dumps(self._worker.label(Shard.from_json(row["shard"])))}
        except MALError as error:
            return {"report": orjson.dumps({"fault": str(error)})}


def label_on_ray(
    job: Job, count: int | None, address: str, shards: Sequence[Shard]
) -> Iterator[Report]:
    """The crew of a Ray cluster.

    Args:
        job: what its actors do; its places must be the same on every machine.
        count: of actors; None: as many as the cluster's GPUs, or without any, its CPUs hold.
        address: of the cluster; "local" starts one on this machine.
        shards: to be done.

    Yields:
        The report of each shard, as they are done.

    Raises:
        MALError: Ray cannot be reached, gives up, or a worker says why it cannot go on.
    """
    if not shards:
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing leaves the machine
    here: dict[str, Any] = {
        "num_cpus": count and count * (job.threads or 1),  # room for all that are asked for
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
    }
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": {"PYTHONPATH": _path()}},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(here if address == "local" else {}),
        )
        yield from _deal(job, count, shards)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise MALError(f"Ray at {address}: {str(error).strip()[-500:]}") from error
    finally:
        ray.shutdown()


def _deal(job: Job, count: int | None, shards: Sequence[Shard]) -> Iterator[Report]:
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if job.device != "cpu" else 0
    needs: dict[str, Any] = {"num_gpus": 1} if gpus else {"num_cpus": job.threads or 1}
    needs["max_task_retries"] = RETRIES  # Ray's own number is endless
    most = gpus or max(1, int(resources["CPU"]) // (job.threads or 1))
    hand: Any = Hand  # Ray's types know functions only
    items = [{"shard": shard.to_json()} for shard in shards]
    size = min(count or most, most, len(shards))
    with warnings.catch_warnings():  # max_task_retries has no other name yet
        warnings.simplefilter("ignore", DeprecationWarning)
        rows = ray.data.from_items(items, override_num_blocks=len(shards)).map(
            hand,
            fn_constructor_args=(job.to_json(),),
            compute=ray.data.ActorPoolStrategy(size=size),
            **needs,
        )
    for row in rows.iter_rows():
        told = orjson.loads(row["report"])
        if "fault" in told:
            raise MALError(told["fault"])
        yield told


def _path() -> str:
    """Where this package is found; on other machines it must be installed at the same place."""
    return os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
