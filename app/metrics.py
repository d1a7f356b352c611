"""Figures for Prometheus, in a registry of their own; no label holds a name of anyone or anything.

Counters say what this process did since it began; gauges are read when somebody asks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.images import files_below

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
_SAVES = frozenset(
    {
        ("POST", "/mal/annotations"),
        ("PUT", "/mal/annotations/{instance_id}"),
        ("DELETE", "/mal/annotations/{instance_id}"),
        ("PUT", "/mal/v1/instances/{instance_id}"),
        ("POST", "/mal/v1/instances/{instance_id}/review"),
    }
)


@dataclass(frozen=True)
class Gauges:
    """What is read when somebody asks.

    Attributes:
        waiting: requests that wait for the model.
        jobs: number of jobs by state.
        bytes_of: bytes by folder of the data folder.
        free: bytes left on its disk.
    """

    waiting: Callable[[], int]
    jobs: Callable[[], Mapping[str, int]]
    bytes_of: Callable[[], Mapping[str, int]]
    free: Callable[[], int]


@dataclass(frozen=True)
class Answered:
    """A request that was answered.

    Attributes:
        method: of HTTP.
        route: the template of its address, never the address.
        status: of the answer.
        seconds: until the last byte of the answer.
    """

    method: str
    route: str
    status: int
    seconds: float


class Metrics:
    """What is counted; thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"namespace": "mal", "registry": self.registry}
        labels = ("method", "route")
        self._requests = Counter("requests", "Requests answered", (*labels, "status"), **own)
        self._seconds = Histogram(
            "request_seconds", "Time to answer", labels, buckets=_SECONDS, **own
        )
        self._model_seconds = Histogram(
            "model_seconds", "Time in the network", buckets=_SECONDS, **own
        )
        self._boxes = Counter("boxes_proposed", "Boxes that got a mask", **own)
        self._saves = Counter("saves", "Instances saved by people and programs", **own)
        self._conflicts = Counter("conflicts", "Saves that lost a race", **own)

    def watch(self, gauges: Gauges) -> None:
        """Read these, too, whenever somebody asks."""
        self.registry.register(_Gauges(gauges))

    def answered(self, request: Answered) -> None:
        """Count a request."""
        method = request.method if request.method in _METHODS else "other"
        self._requests.labels(method, request.route, str(request.status)).inc()
        self._seconds.labels(method, request.route).observe(request.seconds)
        if request.status == 409:
            self._conflicts.inc()
        elif request.status < 300 and (request.method, request.route) in _SAVES:
            self._saves.inc()

    def labelled(self, seconds: Mapping[str, float]) -> None:
        """Count a box that got its mask, and the time in the network."""
        self._boxes.inc()
        self._model_seconds.observe(seconds.get("model", 0.0))

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing is read when it is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read all."""
        read = self._gauges
        yield GaugeMetricFamily("mal_queue_length", "Waiting for the model", value=read.waiting())
        yield GaugeMetricFamily("mal_disk_free_bytes", "Room on the data disk", value=read.free())
        yield _family("mal_jobs", "Jobs by state", "state", read.jobs())
        yield _family("mal_disk_bytes", "Bytes kept, by folder", "folder", read.bytes_of())


def _family(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def folder_bytes(folder: Path) -> int:
    """Bytes of the files under a folder; what vanishes meanwhile does not count."""
    return sum(facts.st_size for _, facts in files_below(folder))
