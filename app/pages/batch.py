"""Masks for the boxes that have none: a button, how far it is, pause and stop."""

from typing import Any

import gradio as gr

from app.access import Right
from app.batch import KIND
from app.errors import NotAllowed
from app.pages.house import QUIET, House, new_stamp, shown
from app.pages.rights import lacking, needs
from app.pages.tables import report
from app.pages.verdicts import batch_line
from app.records import OPEN, Job, Wish

SECONDS_BETWEEN_LOOKS = 1.0
PARTS = 7
View = tuple[Any, ...]


class BatchSection:
    """A part of the Library page."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay it out and wire it; the arguments are the page's."""
        self._house = house
        gr.Markdown("## Masks for boxes")
        start = gr.Button("Propose masks for boxes without one", elem_classes=needs(Right.TRAIN))
        lacking(Right.TRAIN, "Admins of this project have masks proposed in the background.")
        with gr.Row(elem_classes=["mal-line", needs(Right.TRAIN)]):
            pause = gr.Button("Pause", visible=False, min_width=100)
            go_on = gr.Button("Go on", visible=False, min_width=100)
            stop = gr.Button("Stop", variant="stop", visible=False, min_width=100)
        line = gr.HTML()
        watch = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)  # only while a job runs
        seen = gr.State("")
        view = [line, start, pause, go_on, stop, watch, seen]
        for change in (project.change, stamp.change, tab.select):
            change(self.show, project, view, **QUIET)
        start.click(self.start, project, view, queue=False)
        pause.click(self.pause, project, view, queue=False)
        go_on.click(self.go_on, project, view, queue=False)
        stop.click(self.stop, project, view, queue=False)
        watch.tick(self.look, [project, seen], [stamp, *view], **QUIET)

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None) -> View:
        """The newest round, from the database; nothing while the page is opening."""
        if project_id is None:
            return (gr.skip(),) * PARTS
        job = self._newest(project_id)
        wish = job.wish if job is not None and job.state in OPEN else None
        return (
            batch_line(job),
            gr.Button(interactive=wish is None),
            gr.Button(visible=wish is Wish.GO),
            gr.Button(visible=wish is Wish.PAUSE),
            gr.Button(visible=wish in (Wish.GO, Wish.PAUSE)),
            gr.Timer(active=wish is not None),
            _trace(job),
        )

    @shown(Right.TRAIN, "project")
    def start(self, project_id: int) -> View:
        """Begin; a page that knew nothing of the round that goes on is told, and shows it."""
        try:
            job = self._house.batch.start(project_id)
            self._house.note("job.start", project_id, f"masks for boxes {job.id}")
        except NotAllowed as error:
            line, *rest = self.show(project_id)
            return report(str(error), [], good=False) + line, *rest
        return self.show(project_id)

    @shown(Right.TRAIN, "project")
    def pause(self, project_id: int) -> View:
        """Rest after the box in hand, also over the end of the studio."""
        return self._wish(project_id, Wish.PAUSE)

    @shown(Right.TRAIN, "project")
    def go_on(self, project_id: int) -> View:
        """Go on where it rests."""
        return self._wish(project_id, Wish.GO)

    @shown(Right.TRAIN, "project")
    def stop(self, project_id: int) -> View:
        """End after the box in hand."""
        return self._wish(project_id, Wish.STOP)

    @shown(Right.VIEW, "project")
    def look(self, project_id: int, seen: str) -> View:
        """Follow the newest round; nothing is sent while nothing changed."""
        job = self._newest(project_id)
        if _trace(job) == seen:
            return (gr.skip(),) * (PARTS + 1)
        at_rest = job is None or job.state not in OPEN
        return new_stamp() if at_rest else gr.skip(), *self.show(project_id)

    def _wish(self, project_id: int, wish: Wish) -> View:
        job = self._newest(project_id)
        if job is not None:
            self._house.batch.wish(job.id, wish)
        return self.show(project_id)

    def _newest(self, project_id: int) -> Job | None:
        return next(iter(self._house.store.list_jobs(project_id, KIND)), None)


def _trace(job: Job | None) -> str:
    """What the page shows of the job, to tell whether that changed."""
    return "" if job is None else f"{job.id} {job.state} {job.progress} {job.wish}"
