"""Plots of a check, readable on light and dark, and the same figures as tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from app.health import Limits, Report
from app.pages.tables import table
from app.pages.train import GREY, GRID
from app.records import Category, State

STATES = {State.ACCEPTED: "#0d9488", State.CORRECTED: "#d97706", State.PROPOSED: "#6b8afd"}
TOOLS = ("zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale")
BLUE, RED = "#2563eb", "#dc2626"
BARS = 40  # categories in the plot; the table has all
ROWS = 30  # sizes of images in the table
HEIGHT = 280  # pixels
SIDE = "Square root of the mask's area, pixels"


@dataclass(frozen=True)
class Bins:
    """A histogram: the lower bounds, and what is in each; the last one is open."""

    lows: Sequence[int]
    counts: Sequence[int]

    @property
    def names(self) -> list[str]:
        """Each bin in words."""
        spans = zip(self.lows, self.lows[1:], strict=False)
        closed = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in spans]
        return [*closed, f"{self.lows[-1]} and more"]


def bins_of(values: NDArray[np.int64], lows: Sequence[int]) -> Bins:
    """Count values from `lows[0]` on into bins that begin at `lows`; empty ones at the end go."""
    counts = np.histogram(values, [*lows, np.inf])[0].tolist()
    last = max((n for n, count in enumerate(counts) if count), default=0)
    return Bins(lows[: last + 1], counts[: last + 1])


def side_bins(found: Report) -> Bins:
    """The sides of squares as large as the masks, in pixels."""
    lows = [0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096]
    return bins_of(found.lengths.astype(np.int64), lows)


def crowd_bins(found: Report) -> Bins:
    """The instances on an image."""
    return bins_of(found.crowds, [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000])


def category_counts(
    found: Report, categories: Sequence[Category]
) -> list[tuple[Category, Mapping[State, int]]]:
    """Instances of each category by state, the most frequent category first."""
    rows = [(c, {s: found.categories.get((c.id, s), 0) for s in STATES}) for c in categories]
    return sorted(rows, key=lambda row: (-sum(row[1].values()), row[0].number))


def size_counts(found: Report) -> list[tuple[int, int, int]]:
    """Width, height and how many images have them, the most frequent first."""
    counts: dict[tuple[int, int], int] = {}
    for image in found.images:
        size = (image.width, image.height)
        counts[size] = counts.get(size, 0) + 1
    return sorted(((*size, n) for size, n in counts.items()), key=lambda row: (-row[2], row[:2]))


def category_figure(found: Report, categories: Sequence[Category]) -> go.Figure:
    """Bars of the most frequent categories, stacked by state."""
    rows = category_counts(found, categories)[:BARS]
    figure = go.Figure()
    for state, color in STATES.items():
        figure.add_bar(
            x=[category.name for category, _ in rows],
            y=[counts[state] for _, counts in rows],
            name=str(state),
            marker={"color": color},
        )
    _lay_out(figure, "", "Instances")
    figure.update_layout(
        barmode="stack",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        xaxis={"type": "category", "tickangle": -45 if len(rows) > 6 else 0},
    )
    return figure


def side_figure(found: Report, limits: Limits) -> go.Figure:
    """Sizes of the masks; those that count as tiny end at the line."""
    bins = side_bins(found)
    figure = _histogram(bins, SIDE, "Masks")
    side = np.sqrt(limits.tiny_area)
    at = sum(low < side for low in bins.lows) - 0.5
    figure.add_vline(x=at, line={"color": RED, "width": 2, "dash": "dot"})
    figure.add_annotation(
        x=at, y=1.0, yref="paper", yanchor="bottom", xanchor="left", showarrow=False,
        text=f"tiny: below {side:.0f}", font={"color": GREY},
    )  # fmt: skip
    return figure


def crowd_figure(found: Report) -> go.Figure:
    """How many instances images have."""
    return _histogram(crowd_bins(found), "Instances on an image", "Images")


def size_figure(found: Report) -> go.Figure:
    """Widths and heights of the images; a larger dot is more of them."""
    rows = size_counts(found)
    figure = go.Figure()
    figure.add_scatter(
        x=[width for width, _, _ in rows],
        y=[height for _, height, _ in rows],
        customdata=[count for *_, count in rows],
        hovertemplate="%{x} x %{y}: %{customdata} images<extra></extra>",
        mode="markers",
        marker={
            **{"color": BLUE, "opacity": 0.6},
            "size": [min(6 + 3 * np.sqrt(count), 40) for *_, count in rows],
        },
    )
    _lay_out(figure, "Width of the image, pixels", "Height, pixels")
    figure.update_layout(xaxis={"rangemode": "tozero"}, yaxis={"rangemode": "tozero"})
    return figure


def tables(found: Report, categories: Sequence[Category]) -> str:
    """All figures of the plots."""
    by_category = [
        [category.name, str(sum(counts.values())), *(str(counts[state]) for state in STATES)]
        for category, counts in category_counts(found, categories)
    ]
    sizes = [[f"{w} x {h}", f"{n}"] for w, h, n in size_counts(found)[:ROWS]]
    heads = ["Category", "Instances", *(str(state).capitalize() for state in STATES)]
    return (
        table("Categories", heads, by_category, "No categories yet.")
        + _bin_table(side_bins(found), SIDE, "Masks")
        + _bin_table(crowd_bins(found), "Instances on an image", "Images")
        + table(
            "Sizes of images",
            [f"Size of the image, the {ROWS} most frequent", "Images"],
            sizes,
            "No images.",
        )
    )


def _bin_table(bins: Bins, what: str, count: str) -> str:
    rows = [[name, str(n)] for name, n in zip(bins.names, bins.counts, strict=True)]
    return table(what, [what, count], rows, "")


def _histogram(bins: Bins, what: str, count: str) -> go.Figure:
    figure = go.Figure()
    figure.add_bar(x=bins.names, y=bins.counts, marker={"color": BLUE})
    _lay_out(figure, what, count)
    figure.update_layout(bargap=0.08, xaxis={"type": "category"})
    return figure


def _lay_out(figure: go.Figure, x: str, y: str) -> None:
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 56, "r": 16, "t": 44, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY},
        dragmode=False,  # a finger that scrolls the page shall not be caught
        modebar={"remove": list(TOOLS)},
        xaxis={"title": x, "gridcolor": GRID, "zeroline": False, "automargin": True},
        yaxis={"title": y, "gridcolor": GRID, "zeroline": False, "rangemode": "tozero"},
    )
