"""What every page is given, and how its errors reach the person."""

import functools
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from app.again import Again
from app.auth import Sessions
from app.batch import Batch
from app.health import Health
from app.jobs import Jobs
from app.library import Library
from app.registry import Registry
from app.store import Store
from app.workflow import Workflow
from mal_core.errors import MALError

LOCAL_PERSON = "local"
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
P = ParamSpec("P")
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


def project_choices(house: House, chosen: int | None = None) -> gr.Dropdown:
    """The list of projects with one chosen, the first unless said otherwise."""
    projects = house.store.list_projects()
    ids = [project.id for project in projects]
    value = chosen if chosen in ids else ids[0]
    return gr.Dropdown(choices=[(p.name, p.id) for p in projects], value=value)


def new_stamp() -> float:
    """A number no other change has: the canvas reads the project again when it sees a new one."""
    return time.time()


def shown(act: Callable[P, R]) -> Callable[P, R]:
    """Show what a person can mend as a message; log the rest under a reference number."""

    @functools.wraps(act)
    def safe(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return act(*args, **kwargs)
        except Exception as error:
            raise to_message(error) from error

    return safe


def to_message(error: Exception) -> gr.Error:
    """The one place where an error becomes words on a page, escaped: Gradio shows them as HTML."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, MALError):
        return gr.Error(escape(str(error)), title="That did not work")
    reference = secrets.token_hex(4)
    log.error("reference %s", reference, exc_info=error)
    return gr.Error(f"Something went wrong here; reference {reference}", title="Error")
