"""What every page is given, and how its errors reach the person."""

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import gradio as gr
from gradio.context import LocalContext

from app.access import LOCAL, Access, Caller, Right
from app.accounts import Accounts
from app.again import Again
from app.auth import Sessions
from app.batch import Batch
from app.chronicle import Chronicle
from app.errors import LoginNeeded, NotAllowed
from app.guard import caller_of
from app.health import Health
from app.jobs import Jobs
from app.library import Library
from app.logs import reference
from app.registry import Registry
from app.store import Store
from app.workflow import Workflow
from mal_core.errors import MALError

# Runs in the browser before an act that reads what the canvas saved: wait for its last stroke.
SEND_FIRST = """async (...inputs) => {
  const canvas = window.malCanvas;
  if (canvas) {
    await Promise.race([canvas.drained(), new Promise((done) => setTimeout(done, 5000))]);
    const {pending} = canvas.state();
    if (pending) alert(`${pending} changes are not saved yet and will be missing.`);
  }
  return inputs;
}"""
# Only acts that show progress go through Gradio's queue. Its browser side loses an act that begins
# in the moment in which the one before it ends: the act is done, and the page waits for ever.
QUIET: Mapping[str, Any] = {"queue": False, "show_progress": "hidden"}
NEEDS = "needs"  # the attribute of a handler that says what it was guarded with; a test reads it
P = ParamSpec("P")
Q = TypeVar("Q", bound="Page")
R = TypeVar("R")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class House:
    """The parts a page may call."""

    store: Store
    workflow: Workflow
    library: Library
    jobs: Jobs
    again: Again
    batch: Batch
    registry: Registry
    health: Health
    sessions: Sessions
    access: Access
    accounts: Accounts
    chronicle: Chronicle

    def note(self, act: str, project_id: int, subject: str = "", **detail: object) -> None:
        """Write a line of the audit log in the name of who caused the event at hand."""
        self.chronicle.note(self.caller().person, act, project_id, subject, detail)

    def caller(self) -> Caller:
        """Who caused the event that is handled in this thread.

        Raises:
            LoginNeeded: it is no event of a browser that is logged in, and there are users.
        """
        request = LocalContext.request.get(None)
        if request is not None and request.request is not None:
            return caller_of(request.request.scope)
        if self.store.has_users():
            raise LoginNeeded("log in first")
        return LOCAL

    def check(self, right: Right, kinds: Sequence[str], keys: Sequence[Any]) -> None:
        """Let through who may do this with the things of these ids; see `shown`.

        Raises:
            NotFound, Forbidden, LoginNeeded: they may not.
        """
        caller = self.caller()
        if not kinds:
            self.access.check_studio(caller)
        for place, (kind, key) in enumerate(zip(kinds, keys, strict=False)):
            if key is None and kind == "project" and right is not Right.VIEW:
                raise NotAllowed("choose a project first")
            if key is not None:
                self.access.check(caller, Right.VIEW if place else right, kind, int(key))


class Page(Protocol):
    """What has handlers."""

    _house: House


def project_choices(house: House, chosen: int | None = None) -> gr.Dropdown:
    """The list of a person's projects with one chosen, the first unless said otherwise."""
    projects = house.access.projects(house.caller())
    ids = [project.id for project in projects]
    value = chosen if chosen in ids else next(iter(ids), None)
    return gr.Dropdown(choices=[(p.name, p.id) for p in projects], value=value)


def new_stamp() -> float:
    """A number no other change has: the canvas reads the project again when it sees a new one."""
    return time.time()


def shown(
    right: Right | None, *kinds: str
) -> Callable[[Callable[Concatenate[Q, P], R]], Callable[Concatenate[Q, P], R]]:
    """Let a handler be called by those who may, and show what a person can mend as a message.

    What is no such error is logged under a reference number.

    Args:
        right: what the person must have a right to; None where nothing of a project is touched.
        kinds: of the things whose ids come first among the arguments. The right must hold for the
            first; the others must be theirs to see. An id that is None, since nothing is chosen,
            is the handler's to deal with. Without kinds, the right is one to the whole studio.
    """

    def guarded(act: Callable[Concatenate[Q, P], R]) -> Callable[Concatenate[Q, P], R]:
        @functools.wraps(act)
        def safe(page: Q, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                if right is not None:
                    page._house.check(right, kinds, args)
                return act(page, *args, **kwargs)
            except Exception as error:
                raise to_message(error) from error

        safe.__dict__[NEEDS] = (right, kinds)
        return safe

    return guarded


def harmless(act: Callable[P, R]) -> Callable[P, R]:
    """Mark a handler that reads and changes nothing of anybody's, only the page."""
    act.__dict__[NEEDS] = (None, ())
    return act


def to_message(error: Exception) -> gr.Error:
    """The one place where an error becomes words on a page, escaped: Gradio shows them as HTML."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, MALError):
        return gr.Error(escape(str(error)), title="That did not work")
    name = reference()
    log.error("reference %s", name, exc_info=error)
    return gr.Error(f"Something went wrong here; reference {name}", title="Error")
