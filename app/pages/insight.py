"""The Insight page: what a mask costs, by the model that proposed it, and what is left to do."""

from collections.abc import Mapping, Sequence

import gradio as gr
import plotly.graph_objects as go

from app.access import Right
from app.ledger import IDLE_SECONDS, Entry, Pace, by_model, finished_masks, hours_left, pace
from app.pages.agreement import AgreementSection
from app.pages.house import QUIET, House, shown
from app.pages.merge import MergeSection
from app.pages.tables import note, table
from app.pages.train import GREY, GRID
from app.records import State

WINDOW = 10  # masks of the moving mean
COLORS = ("#2563eb", "#d97706", "#0d9488", "#9333ea", "#dc2626")  # seen on light and on dark
INTRODUCTION = (
    "## What a mask costs\n"
    "From the history of every mask: your time (a pause counts "
    f"{IDLE_SECONDS:.0f} seconds at most), your strokes, and how near the proposal was."
)


class InsightPage:
    """Layout and the one handler."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay the page out and wire it; it is read anew whenever it is opened."""
        self._house = house
        gr.Markdown(INTRODUCTION)
        summary, models = gr.HTML(), gr.HTML()
        plot = gr.Plot(label="Seconds a mask", visible=False)
        for change in (project.change, tab.select):
            change(self.show, project, [summary, models, plot], **QUIET)
        AgreementSection(house, project)
        MergeSection(house, project, stamp, tab)

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None) -> tuple[str, str, gr.Plot]:
        """Read the history and sum it up."""
        if project_id is None:
            return "", "", gr.Plot(visible=False)
        store = self._house.store
        entries = finished_masks(store.list_project_revisions(project_id))
        waiting = sum(s.counts.get(State.PROPOSED, 0) for s in store.list_images(project_id))
        names: dict[int | None, str] = {m.id: m.name for m in store.list_models(project_id)}
        names[None] = "no model"
        figure = pace_figure(entries, names)
        return (
            note(summary_text(entries, waiting)),
            pace_table(by_model(entries), names),
            gr.Plot(figure, visible=bool(entries)),
        )


def summary_text(entries: Sequence[Entry], waiting: int) -> str:
    """Where the project stands, in a sentence or two."""
    hours = hours_left(entries, waiting)
    if hours is None:
        return "Accept or correct a mask: then this page tells what masks cost you."
    text = f"{len(entries)} masks finished, {waiting} wait for review."
    return f"{text} At the pace of the newest masks that is {_hours(hours)}." if waiting else text


def pace_table(paces: Mapping[int | None, Pace], names: Mapping[int | None, str]) -> str:
    """A row a model, the newest first."""
    order = sorted(paces, key=lambda key: key or 0, reverse=True)
    rows = [
        [
            names.get(key, f"model {key}"),
            str(paces[key].masks),
            f"{paces[key].seconds:.1f}",
            f"{paces[key].strokes:.2f}",
            _share(paces[key].iou),
            f"{100 * paces[key].untouched:.0f} %",
        ]
        for key in order
    ]
    head = [
        *("Proposed by", "Masks", "Seconds a mask", "Strokes a mask"),
        *("IoU of proposal and final", "Accepted untouched"),
    ]
    return table("What a mask costs", head, rows, "")


def pace_figure(entries: Sequence[Entry], names: Mapping[int | None, str]) -> go.Figure:
    """Seconds of each finished mask in order of time, one colour a model, and a moving mean."""
    figure = go.Figure()
    for place, key in enumerate(dict.fromkeys(e.model_id for e in entries)):
        mine = [(n, e) for n, e in enumerate(entries, start=1) if e.model_id == key]
        figure.add_scatter(
            x=[n for n, _ in mine],
            y=[entry.seconds for _, entry in mine],
            customdata=[entry.finished_at.strftime("%Y-%m-%d %H:%M") for _, entry in mine],
            hovertemplate="%{y:.1f} s, %{customdata}",
            name=names.get(key, f"model {key}"),
            mode="markers",
            marker={"color": COLORS[place % len(COLORS)], "size": 7},
        )
    means = [pace(entries[max(0, n - WINDOW) : n]).seconds for n in range(1, len(entries) + 1)]
    figure.add_scatter(
        x=list(range(1, len(entries) + 1)),
        y=means,
        name=f"mean of {WINDOW}",
        mode="lines",
        line={"color": GREY, "width": 2},
    )
    figure.update_layout(
        height=300,
        margin={"l": 50, "r": 20, "t": 40, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY},
        legend={"orientation": "h", "y": 1.15, "x": 1, "xanchor": "right"},
        xaxis={"title": "Finished masks, in order of time", "gridcolor": GRID, "zeroline": False},
        yaxis={
            **{"title": "Seconds", "gridcolor": GRID, "zeroline": False},
            "rangemode": "tozero",
        },
    )
    return figure


def _share(iou: float | None) -> str:
    return "-" if iou is None else f"{iou:.3f}"


def _hours(hours: float) -> str:
    minutes = 60 * hours
    if minutes < 1:
        return "less than a minute"
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{hours:.1f} hours"
