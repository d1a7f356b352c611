"""The table and the plot of bench/adapt.py."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from mal_core.metrics import paired_bootstrap

Row = Mapping[str, Any]
KINDS = {"masks": "corrections", "boxes": "their boxes alone", "random": "from random"}
COLORS = ("#2563eb", "#b45309", "#15803d")
MARKS = {"boxes": "s", "random": "x"}
PANELS = (("iou", "IoU of the proposal"), ("strokes", "strokes to IoU .9"))


def to_table(rows: Iterable[Row]) -> str:
    """Markdown, a line a cell.

    Args:
        rows: as bench/adapt.py measures them.
    """
    lines = [
        "| domain | teaches | n | test masks | IoU | gain (95 %) | strokes to .9 | s per mask"
        " | untouched |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = list(rows)
    order = list(KINDS)
    frozen = {row["domain"]: row for row in rows if not row["count"]}
    for row in sorted(
        rows, key=lambda r: (r["domain"], order.index(r["kind"]), r["count"], r["seed"])
    ):
        what = KINDS[row["kind"]] if row["count"] else "nothing (frozen)"
        seed = f", seed {row['seed']}" if row["seed"] else ""
        gain = gain_of(row, frozen[row["domain"]]) if row["count"] else "-"
        figures = f"{row['iou']:.3f} | {gain} | {row['strokes']:.2f} | {row['seconds']:.1f}"
        name = f"{row['domain']} ({'seen' if row['seen'] else 'never seen'})"
        lines.append(
            f"| {name} | {what}{seed} | {row['count']} | {row['n']} | {figures}"
            f" | {row['untouched']:.0%} |"
        )
    return "\n".join(lines)


def gain_of(after: Row, before: Row) -> str:
    """The mean difference of the IoU of the same masks, and its interval over the images."""
    differences = np.subtract(after["ious"], before["ious"]).tolist()
    gain = paired_bootstrap(differences, after["images"])
    return f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"


def draw_plot(rows: Sequence[Row], path: Path) -> None:
    """IoU and strokes against the number of corrections, a line a domain, baselines as marks."""
    mpl.use("Agg")
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for panel, (key, label) in zip(panels, PANELS, strict=True):
        names = sorted({row["domain"] for row in rows})
        for name, color in zip(names, itertools.cycle(COLORS), strict=False):
            mine = [row for row in rows if row["domain"] == name]
            line = sorted(
                (r["count"], r[key]) for r in mine if r["kind"] == "masks" and not r["seed"]
            )
            panel.plot(*zip(*line, strict=True), "o-", color=color, label=name)
            for kind, mark in MARKS.items():
                for row in (r for r in mine if r["kind"] == kind):
                    text = f"{name}, {KINDS[kind]}"
                    panel.plot(row["count"], row[key], mark, color=color, label=text)
        panel.set_xlabel("corrections that taught")
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)
