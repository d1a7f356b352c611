"""The client's way to a studio: what is asked again, what is raised, and in which shape it comes.

A request is made again when the studio said that nothing was done (429, 503) or was never reached;
one that may have been done is made again only where asking twice is asking once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from app import errors, wire
from app.errors import Conflict, LeaseLost, LockedOut, StudioError, Unreachable
from mal_core.errors import BadDataset, InputError, MALError
from mal_core.files import move_whole

TRIES = 4
PAUSE_SECONDS = 0.5  # before the second try; doubled before each more
LONGEST_PAUSE = 10.0
NOT_DONE = (429, 503)
Shape = TypeVar("Shape", bound=wire.Wire)


class Calls:
    """Requests to one studio; see app.client.Client for the arguments."""

    def __init__(
        self,
        url: str,
        token: str,
        timeout: float,
        sleep: Callable[[float], None],
        transport: httpx.BaseTransport | None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/mal/v1", headers=headers, timeout=timeout,
            transport=transport,
        )  # fmt: skip
        self._sleep = sleep

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def get(self, shape: type[Shape], path: str) -> Shape:
        """Read something."""
        return _read(shape, self._ask("GET", path, again=True))

    def post(self, shape: type[Shape], path: str, body: object, *, again: bool = False) -> Shape:
        """Do something.

        Args:
            shape: of the answer.
            path: after /mal/v1.
            body: to be sent as JSON.
            again: whether asking twice is asking once.
        """
        return _read(shape, self._ask("POST", path, again=again, json=body))

    def change(self, instance: wire.Instance, method: str, act: str, body: object) -> wire.Instance:
        """Change an instance, if nobody saved since it was seen."""
        headers = {"If-Match": str(instance.version)}
        answer = self._ask(method, f"/instances/{instance.id}{act}", headers=headers, json=body)
        return _read(wire.Instance, answer)

    def send(
        self, shape: type[Shape], path: str, file: Path, params: Mapping[str, str | bool]
    ) -> Shape:
        """Send a file that the studio knows again when it has it already."""
        return _read(shape, self._ask("POST", path, again=True, params=params, file=file))

    def download(self, path: str, target: Path) -> None:
        """Bring a file here, whole or not at all."""
        partial = target.with_name(f".{target.name}.part")
        try:
            with _reached(), self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    raise _to_error(answer)
                with partial.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
            move_whole(partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        again: bool = False,
        file: Path | None = None,
        **more: Any,  # noqa: ANN401 - what httpx takes
    ) -> httpx.Response:
        attempt = 1
        while True:
            is_last = attempt == TRIES
            try:
                answer = self._once(method, path, file, more)
            except Unreachable as error:
                if is_last or not (again or _was_never_sent(error)):
                    raise
                wanted = ""
            else:
                if is_last or answer.status_code not in NOT_DONE:
                    break
                wanted = answer.headers.get("retry-after", "")
            self._pause(attempt, wanted)
            attempt += 1
        if answer.is_error:
            raise _to_error(answer)
        return answer

    def _once(
        self, method: str, path: str, file: Path | None, more: Mapping[str, Any]
    ) -> httpx.Response:
        with _reached():
            if file is None:
                return self._http.request(method, path, **more)
            with file.open("rb") as content:
                return self._http.request(method, path, content=content, **more)

    def _pause(self, attempt: int, wanted: str) -> None:
        """Wait as long as the studio asks for, else longer each time."""
        own = PAUSE_SECONDS * 2 ** (attempt - 1)
        self._sleep(min(float(wanted) if wanted.isdecimal() else own, LONGEST_PAUSE))


@contextmanager
def _reached() -> Iterator[None]:
    """Turn what the network can cause into an error of ours."""
    try:
        yield
    except httpx.TransportError as error:
        raise Unreachable(f"the studio gave no answer: {error or type(error).__name__}") from error


def _was_never_sent(error: Unreachable) -> bool:
    """Whether no byte of the request reached the studio."""
    return isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def _read(shape: type[Shape], answer: httpx.Response) -> Shape:
    try:
        return shape.model_validate_json(answer.content)
    except ValidationError as error:
        text = f"not the answer of a studio of this version: {error.error_count()} fields differ"
        raise Unreachable(text) from error


def _to_error(answer: httpx.Response) -> MALError:
    """The error that the studio raised; one without a kind of its own where we know none."""
    try:
        told = wire.Failure.model_validate_json(answer.content).error
    except ValidationError:
        return Unreachable(f"no answer of a studio: HTTP {answer.status_code}")
    more = told.model_extra or {}
    if told.code in _RACES:
        return _RACES[told.code](told.message, int(more.get("kept", 0)))
    if told.code == LockedOut.code:
        return LockedOut(int(more.get("seconds", 60)))
    if "problems" in more:
        return BadDataset([str(line) for line in more["problems"]])
    if told.code in ("bad_input", "bad_request"):
        return InputError(told.message)
    return _KINDS.get(told.code, StudioError)(told.message)


_RACES: Mapping[str, type[Conflict]] = {kind.code: kind for kind in (Conflict, LeaseLost)}
_KINDS: Mapping[str, type[StudioError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, StudioError)
    and not issubclass(kind, Conflict | LockedOut)
}
