"""Where the studio keeps its data and what it allows, as one frozen object built at start.

Every field can be set by a variable, MAL_ and the field's name in capitals (MAL_DATA_DIR), or by
a flag of the same name, which wins.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import skimage.data

from app.errors import StudioError
from mal_core.config import BACKENDS

_PREFIX = "MAL_"
PHOTOS = Path(skimage.data.__file__).parent  # freely licensed; scikit-image brings them along
# On these a fine-tune stays with its parent. None of them is the probe's, nor another view of one.
REMINDERS = ("brick.png", "clock_motion.png", "color.png", "grass.png", "gravel.png", "horse.png",
             "hubble_deep_field.jpg", "microaneurysms.png", "moon.png", "page.png", "retina.jpg",
             "text.png")  # fmt: skip
_BUNDLED = Path(__file__).resolve().parent.parent / "weights" / "mal-small-256.safetensors"
_DEVICES = ("auto", "cpu", "cuda", "mps")
_LOG_FORMATS = ("text", "json")
_IMAGES_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^@?#\s]+")


def _cpu_count() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """The studio's settings, checked when built.

    Attributes:
        data_dir: folder that holds everything the studio writes.
        database_url: of a PostgreSQL database that a team shares, in place of a SQLite file.
        images_url: where images are kept in place of the data folder, as fsspec knows it, such as
            s3://bucket/images; credentials come from its client's own variables.
        cache_bytes: the most that copies of such images may take in the data folder, in bytes.
        host: address to listen on; one that others can reach only where there are users.
        port: TCP port, 1 to 65535; 0 takes any free one.
        weights: the bundled checkpoint.
        max_pixels: largest image taken, in pixels.
        max_upload_bytes: largest single file taken, in bytes.
        daily_upload_bytes: the most that one user may send in a day, in bytes.
        project_bytes: the most that the images of a project may take, in bytes.
        allowed_hosts: names it may be called by, with commas between; a reverse proxy's.
        threads: CPU threads of the model.
        device: "auto", "cpu", "cuda" or "mps".
        backend: what runs the model on a CPU: "auto" (ONNX Runtime where it is faster), "torch"
            or "onnx".
        log_format: "text" for people, or "json" for programs, with a line for each request.
        disk_floor_bytes: with less room on the data disk the studio is not ready.

    Raises:
        StudioError: a value cannot be used; the text says which and what must hold.
    """

    data_dir: Path = Path("studio-data")
    database_url: str = field(default="", repr=False)  # may hold a password
    images_url: str = ""
    cache_bytes: int = 8 * 2**30
    host: str = "127.0.0.1"
    port: int = 7860
    weights: Path = _BUNDLED
    max_pixels: int = 120_000_000
    max_upload_bytes: int = 2 * 1024**3
    daily_upload_bytes: int = 64 * 1024**3
    project_bytes: int = 2**40
    allowed_hosts: str = ""
    threads: int = field(default_factory=_cpu_count)
    device: str = "auto"
    backend: str = "auto"
    log_format: str = "text"
    disk_floor_bytes: int = 500 * 2**20

    def __post_init__(self) -> None:
        _check_host(self.host)
        _check_images_url(self.images_url)
        _check_range("cache_bytes", self.cache_bytes, 0, 2**50)
        _check_range("port", self.port, 0, 65535)
        _check_range("max_pixels", self.max_pixels, 1, 2**28)
        _check_range("max_upload_bytes", self.max_upload_bytes, 1, 2**40)
        _check_range("daily_upload_bytes", self.daily_upload_bytes, 1, 2**50)
        _check_range("project_bytes", self.project_bytes, 1, 2**60)
        _check_range("threads", self.threads, 1, 1024)
        _check_range("disk_floor_bytes", self.disk_floor_bytes, 0, 2**50)
        _check_choice("device", self.device, _DEVICES)
        _check_choice("backend", self.backend, BACKENDS)
        _check_choice("log_format", self.log_format, _LOG_FORMATS)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **overrides: object) -> "Settings":
        """Build from MAL_* variables; overrides that are not None win.

        Raises:
            StudioError: a variable is not a setting, or its value cannot be used.
        """
        kinds: dict[str, Any] = {f.name: f.type for f in fields(cls)}
        values: dict[str, Any] = {}
        for variable, text in environ.items():
            if variable.startswith(_PREFIX):
                name = variable.removeprefix(_PREFIX).lower()
                values[name] = _parse(variable, text, kinds.get(name))
        values |= {name: value for name, value in overrides.items() if value is not None}
        return cls(**values)

    @property
    def names(self) -> frozenset[str]:
        """The names it may be called by, besides loopback ones."""
        names = (name.strip().lower().rstrip(".") for name in self.allowed_hosts.split(","))
        return frozenset(name for name in names if name)

    @property
    def probe(self) -> Path:
        """COCO masks on PHOTOS that tell whether new weights forget; beside the bundled ones."""
        return self.weights.parent / "probe.json"

    @property
    def database(self) -> Path | str:
        """The SQLite file, or the URL of another database."""
        return self.database_url or self.data_dir / "studio.db"

    @property
    def images(self) -> Path:
        """Folder of the stored rasters, by content hash."""
        return self.data_dir / "images"

    @property
    def cache(self) -> Path:
        """Folder of what was lately used of a store at images_url; may be deleted while stopped."""
        return self.data_dir / "cache"

    @property
    def pyramids(self) -> Path:
        """Folder of large images unpacked, made from the rasters; may be deleted while stopped."""
        return self.data_dir / "pyramids"

    @property
    def jobs(self) -> Path:
        """Folder of the jobs' working files."""
        return self.data_dir / "jobs"

    @property
    def models(self) -> Path:
        """Folder of the published weights, by content hash."""
        return self.data_dir / "models"

    @property
    def exported(self) -> Path:
        """Folder of the weights as ONNX, made from the published ones; may be deleted."""
        return self.data_dir / "onnx"

    @property
    def uploads(self) -> Path:
        """Folder of what the browser sends, until it is taken in; deleted within the hour."""
        return self.data_dir / "uploads"

    @property
    def exports(self) -> Path:
        """Folder of the finished exports."""
        return self.data_dir / "exports"


def _parse(variable: str, text: str, kind: type | None) -> Path | str | int:
    """Turn a variable's text into its field's type."""
    if kind is None:
        known = ", ".join(_PREFIX + f.name.upper() for f in fields(Settings))
        raise StudioError(f"{variable} is not a setting; the settings are {known}")
    if not text:
        raise StudioError(f"{variable} is empty; give it a value or unset it")
    if kind is not int:
        return Path(text) if kind is Path else text
    try:
        return int(text)
    except ValueError as error:
        raise StudioError(f"{variable} must be a whole number, got {text!r:.60}") from error


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise StudioError(f"{name} must be {low} to {high}, got {value}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host == "localhost" or ip_address(host).is_loopback


def _check_images_url(url: str) -> None:
    """Refuse what is no plain URL, without repeating it: it may hold a password."""
    if url and not _IMAGES_URL.fullmatch(url):
        raise StudioError(
            "images_url must be such as s3://bucket/images, without a user, a password or a"
            " question mark: credentials go into the variables of its client, such as AWS_PROFILE"
        )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise StudioError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _check_host(host: str) -> None:
    try:
        is_loopback(host)
    except ValueError as error:
        raise StudioError(
            f"host must be an address to listen on, such as 127.0.0.1, got {host!r:.60}; names that"
            " it may be called by go into MAL_ALLOWED_HOSTS"
        ) from error
