"""Routes by which a browser saves the history and the audit log as CSV; by a link."""

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from app.access import Right
from app.api import Api
from app.chronicle import Chronicle, to_csv
from app.merging import AGREEMENT_HEAD, Merging, agreement_rows
from app.records import Sieve, State


class SieveQuery(BaseModel):
    """Which lines of a history, as the address spells it; what is left out lets all through."""

    person: str | None = Field(default=None, max_length=200)
    reason: str | None = Field(default=None, max_length=64)
    state: State | None = None
    text: str = Field(default="", max_length=200)
    number: int | None = Field(default=None, ge=0, lt=2**53)
    conflicts: bool = False


class Logbook:
    """Adds its routes to those of the canvas."""

    def __init__(self, api: Api, chronicle: Chronicle, merging: Merging) -> None:
        self._chronicle, self._merging, self._guard = chronicle, merging, api.guard
        api.add("GET", "/history/{project_id}", self.history, Right.VIEW, by_page=False)
        api.add("GET", "/agreement/{project_id}", self.agreement, Right.REVIEW, by_page=False)
        api.add("GET", "/audit/{project_id}", self.audit, Right.MANAGE, by_page=False)

    def history(
        self, project_id: int, wanted: Annotated[SieveQuery, Query()], request: Request
    ) -> StreamingResponse:
        """The history of a project."""
        sieve, viewer = Sieve(**wanted.model_dump()), self._guard.viewer(request, project_id)
        lines = self._chronicle.history_csv(project_id, sieve, viewer)
        return _file(lines, f"history-{project_id}.csv")

    def agreement(self, project_id: int, request: Request) -> StreamingResponse:
        """How far every two people agree on what they annotated unseen by each other."""
        viewer = self._guard.viewer(request, project_id)
        found = list(self._merging.each(project_id, viewer))
        names = self._merging.names(project_id)
        lines = to_csv(AGREEMENT_HEAD, agreement_rows(found, names))
        return _file(lines, f"agreement-{project_id}.csv")

    def audit(self, project_id: int, request: Request) -> StreamingResponse:
        """The audit log of a project; for an admin of the studio, of everything."""
        only = None if request.state.caller.is_admin else project_id
        return _file(self._chronicle.audit_csv(only), f"audit-{project_id}.csv")


def history_address(project_id: int, sieve: Sieve) -> str:
    """Where a browser finds the lines of a history that pass a sieve."""
    said = {name: value for name, value in vars(sieve).items() if value not in (None, "", False)}
    return f"/mal/history/{project_id}" + (f"?{urlencode(said)}" if said else "")


def agreement_address(project_id: int) -> str:
    """Where a browser finds how far people agree."""
    return f"/mal/agreement/{project_id}"


def audit_address(project_id: int) -> str:
    """Where a browser finds the audit log."""
    return f"/mal/audit/{project_id}"


def _file(lines: Iterable[str], name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
