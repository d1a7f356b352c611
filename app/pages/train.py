"""The Train page: one button, live progress, and the checkpoints it made."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from app.learning import MIN_IMAGES, MIN_MASKS, REVIEWED
from app.pages.house import QUIET, SEND_FIRST, House, new_stamp, shown
from app.pages.tables import models_table, note, outcome, progress_bar
from app.records import JobState, ModelState

SECONDS_BETWEEN_LOOKS = 1.0
INTRODUCTION = (
    "### Fine-tune on your corrections\n"
    "Learns from accepted and corrected masks. A quarter of the images is held out and never "
    "trained on; the new weights are used only if they are not worse there."
)
GREY, GRID = "#7c8799", "rgba(124,135,153,0.25)"  # seen on light and on dark
CURVES = (
    ("held_out_iou", "Held-out IoU", "y", {"color": "#2563eb", "width": 3}),
    ("loss", "Loss", "y2", {"color": "#d97706", "width": 2, "dash": "dot"}),
)
PARTS = 9
View = tuple[str, str, str, gr.Plot, str, gr.Button, gr.Button, gr.Dropdown, gr.Timer]


class TrainPage:
    """Layout, and the handlers: what a button does, and what the page shows then."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.State, tab: gr.Tab) -> None:
        """Lay the page out and wire it.

        Args:
            house: what the page may call.
            project: the chosen project, shared by all pages.
            stamp: changes with the project; the canvas follows it.
            tab: the page is read anew whenever it is opened.
        """
        self._house = house
        gr.Markdown(INTRODUCTION)
        ready = gr.HTML()
        with gr.Row():
            start = gr.Button("Fine-tune", variant="primary", scale=0, min_width=160)
            stop = gr.Button("Stop", variant="stop", scale=0, min_width=100)
        bar, result = gr.HTML(), gr.HTML()
        curve = gr.Plot(label="Loss and held-out IoU", visible=False)
        gr.Markdown("### Models of this project")
        models = gr.HTML()
        with gr.Row(elem_classes="mal-line"):
            choice = gr.Dropdown(label="Propose masks with", choices=[], scale=0, min_width=260)
            use = gr.Button("Use this model", scale=0, min_width=180)
        watch = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)  # only while a job runs
        view = [ready, bar, result, curve, models, start, stop, choice, watch]
        seen = gr.State("")
        for change in (project.change, stamp.change, tab.select):
            change(self.show, project, view, **QUIET)
        start.click(self.start, project, view, js=SEND_FIRST, queue=False)
        stop.click(self.stop, project, view, queue=False)
        use.click(self.use, [project, choice], stamp, queue=False)
        watch.tick(self.look, [project, seen], [seen, stamp, *view], **QUIET)

    @shown
    def show(self, project_id: int | None) -> View | list[Any]:
        """Everything on the page, from the database; nothing while the page is opening."""
        if project_id is None:
            return [gr.skip()] * PARTS
        store = self._house.store
        job = next(iter(store.list_jobs(project_id)), None)
        models = store.list_models(project_id)
        in_use = store.get_project(project_id).model_id
        usable = [(m.name, m.id) for m in models if m.state is not ModelState.REJECTED]
        rows = [] if job is None else job.progress.get("curve", [])
        running = job is not None and job.state in (JobState.QUEUED, JobState.RUNNING)
        return (
            self._readiness(project_id),
            progress_bar(job),
            outcome(job),
            gr.Plot(curve_figure(rows), visible=bool(rows)),
            models_table(models, in_use),
            gr.Button(interactive=not running),
            gr.Button(interactive=running),
            gr.Dropdown(choices=usable, value=in_use),
            gr.Timer(active=running),
        )

    @shown
    def start(self, project_id: int) -> View | list[Any]:
        """Begin a fine-tune."""
        self._house.jobs.start(project_id)
        return self.show(project_id)

    @shown
    def stop(self, project_id: int) -> View | list[Any]:
        """End the running one."""
        for job in self._house.store.list_jobs(project_id):
            if job.state in (JobState.QUEUED, JobState.RUNNING):
                self._house.jobs.stop(job.id)
        return self.show(project_id)

    @shown
    def use(self, project_id: int, model_id: int) -> float:
        """Let another model propose from now on."""
        self._house.store.use_model(project_id, model_id)
        return new_stamp()

    @shown
    def look(self, project_id: int, seen: str) -> tuple[Any, ...]:
        """Follow the newest job; nothing is sent while nothing changed."""
        job = next(iter(self._house.store.list_jobs(project_id)), None)
        now = "" if job is None else f"{job.id} {job.state} {job.progress}"
        if now == seen:
            return seen, gr.skip(), *([gr.skip()] * PARTS)
        done = job is not None and job.state is JobState.DONE
        return now, new_stamp() if done else gr.skip(), *self.show(project_id)

    def _readiness(self, project_id: int) -> str:
        counts = [
            sum(summary.counts.get(state, 0) for state in REVIEWED)
            for summary in self._house.store.list_images(project_id)
        ]
        masks, images = sum(counts), sum(count > 0 for count in counts)
        text = f"{masks} reviewed masks on {images} images."
        if masks < MIN_MASKS or images < MIN_IMAGES:
            text += f" At least {MIN_MASKS} on {MIN_IMAGES} images are needed to learn from."
        return note(text)


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
        xaxis={"title": "Epoch", "dtick": 1, "gridcolor": GRID, "zeroline": False},
        yaxis={"title": "Held-out IoU", "gridcolor": GRID},
        yaxis2={"title": "Loss", "overlaying": "y", "side": "right", "showgrid": False},
    )
    return figure
