"""The Train page: one button, live progress, a verdict with pictures, and the models it made."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from app.access import Right
from app.again import KIND as AGAIN
from app.jobs import KIND
from app.learning import MIN_BOXES, MIN_IMAGES, MIN_MASKS, REVIEWED
from app.pages.house import QUIET, SEND_FIRST, House, new_stamp, shown
from app.pages.models import ModelsSection
from app.pages.rights import lacking, needs
from app.pages.tables import note
from app.pages.verdicts import again_line, gallery, is_asking, outcome, progress_bar
from app.pictures import draw_job
from app.records import OPEN, Job, JobState, State, Wish

SECONDS_BETWEEN_LOOKS = 1.0
INTRODUCTION = (
    "## Fine-tune on your corrections\n"
    "Learns from accepted and corrected masks, and from boxes nobody has reviewed. A quarter of "
    "the images is held out and never trained on; the new weights are used only if they are "
    "better there and forget nothing. *Adapt from boxes* needs no mask at all."
)
GREY, GRID = "#7c8799", "rgba(124,135,153,0.25)"  # seen on light and on dark
CURVES = (
    ("held_out_iou", "Held-out IoU", "y", {"color": "#2563eb", "width": 3}),
    ("loss", "Loss", "y2", {"color": "#d97706", "width": 2, "dash": "dot"}),
)
PARTS = 12
View = tuple[Any, ...]


class TrainPage:
    """Layout, and the handlers: what a button does, and what the page shows then."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay the page out and wire it.

        Args:
            house: what the page may call.
            project: the chosen project, shared by all pages.
            stamp: changes with the project; the canvas follows it.
            tab: the page is read anew whenever it is opened.
        """
        self._house = house
        self._draw = lru_cache(maxsize=8)(self._pictures)  # a finished job's never change
        gr.Markdown(INTRODUCTION)
        ready = gr.HTML()
        lacking(Right.TRAIN, "Admins of this project fine-tune, and choose the model in use.")
        with gr.Row(elem_classes=needs(Right.TRAIN)):
            start = gr.Button("Fine-tune", variant="primary", scale=0, min_width=160)
            adapt = gr.Button("Adapt from boxes", scale=0, min_width=220)
            stop = gr.Button("Stop", variant="stop", scale=0, min_width=100)
        bar, result = gr.HTML(), gr.HTML()
        with gr.Row(visible=False, elem_classes=needs(Right.TRAIN)) as question:
            take = gr.Button("Use the new weights", variant="primary", scale=0, min_width=260)
            keep = gr.Button("Keep the old", scale=0, min_width=160)
        again = gr.HTML()
        curve = gr.Plot(label="Loss and held-out IoU", visible=False)
        pictures = gr.HTML()
        watch = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)  # only while a job runs
        view = [
            *(ready, bar, result, question, again, curve, pictures, start, adapt, stop, watch),
        ]
        seen = gr.State("")
        view.append(seen)
        for change in (project.change, stamp.change, tab.select):
            change(self.show, project, view, **QUIET)
        start.click(self.start, project, view, js=SEND_FIRST, queue=False)
        adapt.click(self.adapt, project, view, js=SEND_FIRST, queue=False)
        stop.click(self.stop, project, view, queue=False)
        take.click(self.take, project, [stamp, *view], queue=False)
        keep.click(self.keep, project, [stamp, *view], queue=False)
        watch.tick(self.look, [project, seen], [stamp, *view], **QUIET)
        ModelsSection(house, project, stamp, tab)

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None) -> View:
        """Everything on the page, from the database; nothing while the page is opening."""
        if project_id is None:
            return (gr.skip(),) * PARTS
        job, again = self._newest(project_id)
        rows = [] if job is None else job.progress.get("curve", [])
        running = [other is not None and other.state in OPEN for other in (job, again)]
        is_done = job is not None and job.state is JobState.DONE
        return (
            self._readiness(project_id),
            progress_bar(job),
            outcome(job),
            gr.Row(visible=is_asking(job)),
            again_line(again),
            gr.Plot(curve_figure(rows), visible=bool(rows)),
            self._draw(job.id, project_id) if job is not None and is_done else "",
            gr.Button(interactive=not running[0]),
            gr.Button(interactive=not running[0]),
            gr.Button(interactive=any(running)),
            gr.Timer(active=any(running)),
            _trace(job, again),
        )

    @shown(Right.TRAIN, "project")
    def start(self, project_id: int) -> View:
        """Begin a fine-tune."""
        job = self._house.jobs.start(project_id)
        self._house.note("job.start", project_id, f"fine-tune {job.id}")
        return self.show(project_id)

    @shown(Right.TRAIN, "project")
    def adapt(self, project_id: int) -> View:
        """Begin one that boxes are enough for."""
        job = self._house.jobs.start(project_id, boxes_do=True)
        self._house.note("job.start", project_id, f"fine-tune from boxes {job.id}")
        return self.show(project_id)

    @shown(Right.TRAIN, "project")
    def stop(self, project_id: int) -> View:
        """End what runs or waits."""
        job, again = self._newest(project_id)
        if job is not None and job.state in OPEN:
            self._house.jobs.stop(job.id)
            self._house.note("job.stop", project_id, f"fine-tune {job.id}")
        elif again is not None and again.state in OPEN:
            self._house.again.wish(again.id, Wish.STOP)
        return self.show(project_id)

    @shown(Right.TRAIN, "project")
    def take(self, project_id: int) -> View:
        """Use the weights that the gate could not judge."""
        return self._decide(project_id, use=True)

    @shown(Right.TRAIN, "project")
    def keep(self, project_id: int) -> View:
        """Do not use them."""
        return self._decide(project_id, use=False)

    @shown(Right.VIEW, "project")
    def look(self, project_id: int, seen: str) -> View:
        """Follow the newest jobs; nothing is sent while nothing changed."""
        job, again = self._newest(project_id)
        if _trace(job, again) == seen:
            return (gr.skip(),) * (PARTS + 1)
        at_rest = not any(other is not None and other.state in OPEN for other in (job, again))
        return new_stamp() if at_rest else gr.skip(), *self.show(project_id)

    def _decide(self, project_id: int, *, use: bool) -> View:
        job, _ = self._newest(project_id)
        if job is not None:
            model = self._house.jobs.decide(job.id, use=use)
            self._house.note("model.use" if use else "model.keep", project_id, model.name)
        return new_stamp(), *self.show(project_id)

    def _newest(self, project_id: int) -> tuple[Job | None, Job | None]:
        """The newest fine-tune, and the newest round of proposing again."""
        store = self._house.store
        fine_tune, again = (
            next(iter(store.list_jobs(project_id, kind)), None) for kind in (KIND, AGAIN)
        )
        return fine_tune, again

    def _pictures(self, job_id: int, project_id: int) -> str:
        store = self._house.store
        names = {c.number: c.name for c in store.list_categories(project_id)}
        drawn = draw_job(self._house.workflow.settings, store, store.get_job(job_id))
        return gallery(*drawn, names)

    def _readiness(self, project_id: int) -> str:
        summaries = self._house.store.list_images(project_id)
        counts = [sum(s.counts.get(state, 0) for state in REVIEWED) for s in summaries]
        boxes = sum(s.counts.get(State.PROPOSED, 0) for s in summaries)
        masks, images = sum(counts), sum(count > 0 for count in counts)
        text = f"{masks} reviewed masks on {images} images. Boxes without review: {boxes}."
        if masks < MIN_MASKS or images < MIN_IMAGES:
            text += (
                f" A fine-tune needs {MIN_MASKS} masks on {MIN_IMAGES} images, adapting from boxes"
                f" {MIN_BOXES} boxes."
            )
        return note(text)


def _trace(job: Job | None, again: Job | None) -> str:
    """What the page shows of the jobs, to tell whether that changed."""
    parts = [f"{j.id} {j.state} {j.progress} {j.result}" for j in (job, again) if j is not None]
    return " | ".join(parts)


def curve_figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Held-out IoU (left axis) and loss (right axis) by epoch; readable on light and dark."""
    epochs = [row["epoch"] for row in rows]
    figure = go.Figure(
        [
            go.Scatter(x=epochs, y=[row[key] for row in rows], name=name, yaxis=axis, line=line)
            for key, name, axis, line in CURVES
        ]
    )
    figure.update_layout(
        height=280,
        margin={"l": 50, "r": 50, "t": 10, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY},
        legend={"orientation": "h", "y": 1.15, "x": 1, "xanchor": "right"},  # clear of the label
        xaxis={"title": "Epoch", "gridcolor": GRID, "zeroline": False, "dtick": 1,
               "range": [-0.1, 0.1 + max([1, *(row.get("epochs", 1) for row in rows)])]},
        yaxis={"title": "Held-out IoU", "gridcolor": GRID, "range": _around(rows, 0.05)},
        yaxis2={"title": "Loss", "overlaying": "y", "side": "right", "showgrid": False,
                "rangemode": "tozero"},
    )  # fmt: skip
    return figure


def _around(rows: Sequence[Mapping[str, Any]], room: float) -> list[float]:
    """A range of IoU that holds all of a curve, with room for one that just begins."""
    values = [row["held_out_iou"] for row in rows if row["held_out_iou"] is not None] or [0.5]
    return [max(0.0, min(values) - room), min(1.0, max(values) + room)]
