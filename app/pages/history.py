"""The History page: who saved which mask, when and why; any of it brought back; the audit log."""

from collections.abc import Sequence
from html import escape
from itertools import islice
from typing import Any

import gradio as gr

from app.access import Right
from app.chronicle import ENTRY_HEAD, PAGE, entry_to_cells, line_to_cells
from app.errors import NotAllowed
from app.logbook import audit_address, history_address
from app.pages.house import QUIET, House, new_stamp, shown
from app.pages.rights import needs
from app.pages.tables import link, note, table
from app.records import Line, Sieve, State

INTRODUCTION = (
    "## History\n"
    "Every save of every mask, the newest first. Nothing here is ever changed or removed: a"
    " revision that is restored becomes a new one."
)
EMPTY = "Nothing was saved yet: draw a box on the Annotate page."
NOTHING = "No save passes this filter."
_HEAD = ("Revision", "Time (UTC)", "Person", "Why", "State", "Category", "Image", "Mask",
         "Version", "Model", "Seconds", "Strokes")  # fmt: skip
_STATES = [("Any", ""), *((state.capitalize(), str(state)) for state in State)]


class HistoryPage:
    """Layout, and the handlers: what passes the filter, older lines, restoring, the audit log."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay the page out and wire it; it is read anew whenever it is opened."""
        self._house = house
        gr.Markdown(INTRODUCTION)
        with gr.Row(elem_classes="mal-line"):
            person = gr.Dropdown(label="Person", choices=[("Any", "*")], value="*", min_width=150)
            reason = gr.Dropdown(label="Why", choices=[("Any", "*")], value="*", min_width=150)
            state = gr.Dropdown(label="State", choices=_STATES, value="", min_width=150)
            text = gr.Textbox(label="Image", placeholder="Part of its name", min_width=150)
            number = gr.Textbox(label="Mask", placeholder="Its number", min_width=100)
            conflicts = gr.Checkbox(label="Only what came too late", min_width=150)
        lines = gr.HTML()
        before = gr.Number(0, visible="hidden", label="Before")
        download = gr.HTML()
        with gr.Row(elem_classes="mal-line"):
            newest = gr.Button("Newest", scale=0, min_width=120)
            older = gr.Button("Older", scale=0, min_width=120)
        with gr.Row(elem_classes=["mal-line", needs(Right.REVIEW)]):
            revision = gr.Textbox(
                label="Revision to restore", placeholder="Its number", scale=0, min_width=180
            )
            restore = gr.Button("Restore", scale=0, min_width=120)
        with gr.Accordion("Audit log", open=False, elem_classes=needs(Right.MANAGE)):
            audit = gr.HTML()
            look = gr.Button("Show the newest", scale=0, min_width=180)
        sieve: list[Any] = [person, reason, state, text, number, conflicts]
        first, view = [project, *sieve], [lines, before, download]
        for change in (project.change, tab.select):
            change(self.choices, project, [person, reason], **QUIET).then(
                self.show, first, view, **QUIET
            )
        for event in (newest.click, *(one.input for one in sieve)):
            event(self.show, first, view, **QUIET)
        older.click(self.older, [project, before, *sieve], view, **QUIET)
        restore.click(self.restore, [project, revision], [stamp, revision], queue=False).then(
            self.show, first, view, **QUIET
        )
        look.click(self.audit, project, audit, **QUIET)

    @shown(Right.VIEW, "project")
    def choices(self, project_id: int | None) -> tuple[gr.Dropdown, gr.Dropdown]:
        """Whom and what one can filter by."""
        if project_id is None:
            return gr.Dropdown(), gr.Dropdown()
        people, reasons = self._house.store.list_savers(project_id)
        return (
            gr.Dropdown(choices=[("Any", "*"), *((p or "nobody", p) for p in people)], value="*"),
            gr.Dropdown(choices=[("Any", "*"), *((r, r) for r in reasons)], value="*"),
        )

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None, *sieve: Any) -> Sequence[Any]:  # noqa: ANN401
        """The newest lines that pass."""
        if project_id is None:
            return [gr.skip()] * 3
        return self._lines(project_id, None, to_sieve(*sieve))

    @shown(Right.VIEW, "project")
    def older(
        self,
        project_id: int | None,
        before: float,
        *sieve: Any,  # noqa: ANN401
    ) -> Sequence[Any]:
        """The lines after those that are shown; none where these are the last."""
        if project_id is None or before < 1:
            return [gr.skip()] * 3
        return self._lines(project_id, int(before), to_sieve(*sieve))

    def _lines(self, project_id: int, before: int | None, sieve: Sieve) -> Sequence[Any]:
        house = self._house
        viewer = house.access.viewer(house.caller(), project_id)
        listed = house.store.list_lines(
            project_id, sieve, before=before, limit=PAGE + 1, viewer=viewer
        )
        found = list(islice(listed, PAGE + 1))
        more = found[PAGE - 1].id if len(found) > PAGE else 0
        html = lines_table(found[:PAGE], NOTHING if sieve != Sieve() else EMPTY)
        return html, more, link("Download as CSV", history_address(project_id, sieve))

    @shown(Right.REVIEW, "project")
    def restore(self, project_id: int, revision: str | None) -> tuple[float, str]:
        """Bring a revision of this project back."""
        store, key = self._house.store, to_number(revision)
        if key is None:
            raise NotAllowed("type the number of the revision that shall come back")
        instance_id = store.get_revision(key).instance_id
        self._house.access.check(self._house.caller(), Right.REVIEW, "instance", instance_id)
        if store.project_of("instance", instance_id) != project_id:
            raise NotAllowed(f"revision {key} is not one of this project")
        self._house.chronicle.restore(key, self._house.caller().person)
        return new_stamp(), ""

    @shown(Right.MANAGE, "project")
    def audit(self, project_id: int) -> str:
        """The newest lines of the audit log; an admin of the studio sees those of everything."""
        only = None if self._house.caller().is_admin else project_id
        found = self._house.store.list_audit(project_id=only, limit=PAGE)
        head = [name.capitalize() for name in ENTRY_HEAD]
        rows = [entry_to_cells(entry) for entry in found]
        return table("Audit log", head, rows, "Nothing was done yet that is written down here.") + (
            link("Download all as CSV", audit_address(project_id)) if rows else ""
        )


def to_sieve(
    person: str | None,
    reason: str | None,
    state: str | None,
    text: str | None,
    number: str | None,
    conflicts: bool | None,
) -> Sieve:
    """What the fields of the filter say; one that the browser has not shown yet is None."""
    return Sieve(
        person=None if person == "*" else person,
        reason=None if reason == "*" else reason,
        state=State(state) if state else None,
        text=(text or "").strip(),
        number=to_number(number),
        conflicts=bool(conflicts),
    )


def to_number(text: str | None) -> int | None:
    """The number typed into a field; None where it is empty.

    Raises:
        NotAllowed: it is no number.
    """
    digits = (text or "").strip()
    if digits and (not digits.isascii() or not digits.isdigit() or len(digits) > 15):
        raise NotAllowed(f"a number must be digits only, got {digits!r:.40}")
    return int(digits) if digits else None


def lines_table(lines: Sequence[Line], empty: str) -> str:
    """A row a revision; what lost a race says so."""
    if not lines:
        return note(empty)
    body = "".join(f"<tr>{_cells(line)}</tr>" for line in lines)
    head = "".join(f"<th scope='col'>{name}</th>" for name in _HEAD)
    return (
        "<div class='mal-table' tabindex='0' role='region' aria-label='History'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(line: Line) -> str:
    cells = line_to_cells(line)
    lost = cells.pop(9)
    cells[8] += " (too late, kept beside)" if lost else ""
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)
