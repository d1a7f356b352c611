"""Log lines for people or, as JSON, for programs; without secrets, and without foreign paths.

Every line of a request carries its id, which is also the reference that an internal error shows
the person. What may not stand in a log is not put there; that patterns of it are blotted out
here, too, is the second line of defence.
"""

import logging
import re
import secrets
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import orjson

REQUESTS = "app.requests"  # the logger of one line a request
_SECRETS = re.compile(
    r"\bmal_[\w-]{16,}"  # a token of a program
    r"|(?i:\b(?:bearer|basic)\s+[\w.~+/=-]+)"
    r"|\b[\w-]{4,}\.[\w-]{6}\.[\w-]{27}(?![\w-])"  # signed: a page's token
    r"|(?i:(?<=password=)[^\s&;,]+|(?<=token=)[^\s&;,]+|(?<=cookie: )[^\r\n]+)"
    r"|(?<=://)[^\s/@]+:[^\s/@]+(?=@)"  # a database's user and password
)
# But for our own addresses, which look like paths.
_PATH = re.compile(r"(?<![\w.:/-])/(?!mal/|gradio_api/)(?:[\w.+@=-]+/)+[\w.+@=-]+")


@dataclass
class Ongoing:
    """A request at work; tasks that it leaves behind are not it any more once it is over."""

    name: str
    is_over: bool = False


_ongoing: ContextVar[Ongoing | None] = ContextVar("ongoing", default=None)


def begin_request() -> Ongoing:
    """Give what happens from here on, in this task and its threads, an id."""
    begun = Ongoing(secrets.token_hex(8))
    _ongoing.set(begun)
    return begun


def reference() -> str:
    """What a person may quote: the id of the request at work, or a new one."""
    return _at_work() or secrets.token_hex(8)


def _at_work() -> str:
    ongoing = _ongoing.get()
    return "" if ongoing is None or ongoing.is_over else ongoing.name


class Blotter:
    """Blots out what may not stand in a log.

    Args:
        data_dir: the folder whose paths may be told, as they are below it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._own = f"{data_dir.resolve()}/"

    def clean(self, text: str) -> str:
        """A text without secrets, and with the last part only of any foreign path."""
        return _PATH.sub(self._shorten, _SECRETS.sub("[secret]", text))

    def _shorten(self, match: re.Match[str]) -> str:
        path = match[0]
        return path.removeprefix(self._own) if path.startswith(self._own) else Path(path).name


class TextLines(logging.Formatter):
    """For people."""

    def __init__(self, blotter: Blotter) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._blotter = blotter

    def format(self, record: logging.LogRecord) -> str:
        """One record; an error with its traceback."""
        return self._blotter.clean(super().format(record))


class JsonLines(logging.Formatter):
    """For programs: one object a line."""

    def __init__(self, blotter: Blotter) -> None:
        super().__init__()
        self._blotter = blotter

    def format(self, record: logging.LogRecord) -> str:
        """One record; an error as its kind, its text, and where it came from."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower()}
        line |= {"logger": record.name, "message": self._blotter.clean(record.getMessage())}
        if name := _at_work():
            line["request_id"] = name
        line |= self._cleaned(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = self._error(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()

    def _cleaned(self, fields: Mapping[str, object]) -> dict[str, object]:
        clean = self._blotter.clean
        return {k: clean(v) if isinstance(v, str) else v for k, v in fields.items()}

    def _error(self, error: BaseException) -> dict[str, object]:
        frames = traceback.extract_tb(error.__traceback__)
        return {
            "kind": type(error).__name__,
            "text": self._blotter.clean(str(error)),
            "where": [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames[-12:]],
        }


def configure(log_format: str, data_dir: Path, stream: TextIO = sys.stderr) -> None:
    """Send the log of this process to a stream; as JSON with a line for each request."""
    blotter = Blotter(data_dir)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(blotter) if log_format == "json" else TextLines(blotter))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(REQUESTS).setLevel(logging.INFO if log_format == "json" else logging.WARNING)
