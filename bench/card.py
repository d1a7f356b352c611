"""The card of new weights: what they are, made from what, how long, where, and how good.

    python bench/card.py NEW.safetensors TRAIN/ TABLE.md --batch-size 16 > CARD.md

NEW.safetensors.run/ lies beside the weights, as `train` leaves it; TABLE.md is what
bench/quality.py printed. TRAIN/ holds a folder for each source, with its annotations and, where
there is one, SOURCE.md, whose line on the licence is quoted.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.sources import SHARES  # noqa: E402
from mal_core import checkpoint, coco  # noqa: E402

TERMS = "licence / terms as stated:"


def main() -> None:
    """Print the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--batch-size", type=int, required=True)
    arguments = parser.parse_args()
    print("\n".join(describe(arguments.weights, arguments.batch_size)))
    print("\n## Data\n\n| source | images | instances | with a mask | share | terms as stated |")
    print("|---|---|---|---|---|---|")
    for name, share in SHARES.items():
        if (arguments.train / name / "annotations.json").exists():
            print(describe_source(arguments.train / name, share))
    print("\n## Quality on data never trained on\n")
    print(arguments.table.read_text(encoding="utf-8").strip())
    print(
        "\n## Licence\n\nThe file is under the licence of this repository; what it learned from"
        " is under the terms above."
    )


def describe(weights: Path, batch_size: int) -> Iterator[str]:
    """What the file is and how long it took."""
    loaded = checkpoint.load(weights)
    size = sum(p.numel() for p in loaded.model.parameters())
    steps, seconds = count_steps(weights.with_name(f"{weights.name}.run"), batch_size)
    yield f"# {weights.stem}\n"
    yield f"{size:,} parameters, SHA-256 `{loaded.sha256}`, threshold {loaded.threshold:g}."
    yield f"Parent: {loaded.metadata.get('parent', 'unknown')}."
    if encoder := loaded.metadata.get("encoder"):
        yield f"Encoder from: {encoder}."
    yield (
        f"{steps:,} steps of {batch_size} crops, {seconds:,.0f} seconds, on {describe_machine()},"
        f" {datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}."
    )


def count_steps(folder: Path, batch_size: int) -> tuple[int, float]:
    """Steps of a run and the seconds they took; a step that was taken twice counts once."""
    lines = (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {r["step"]: r for r in map(json.loads, lines) if r["event"] == "step"}
    return len(rows), sum(batch_size / row["crops_per_second"] for row in rows.values())


def describe_machine() -> str:
    """The GPU, or the CPU with its number of cores."""
    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    cores = os.cpu_count()
    return f"{cores} cores of a CPU ({platform.machine()}), {torch.get_num_threads()} threads"


def describe_source(folder: Path, share: float) -> str:
    """A row of the table of data."""
    data = coco.read(folder / "annotations.json")
    masks = sum(a.rle is not None for a in data.annotations)
    note = folder / "SOURCE.md"
    lines = note.read_text(encoding="utf-8").splitlines() if note.exists() else []
    terms = next((line.split(TERMS)[1].strip() for line in lines if TERMS in line), "not stated")
    cells = [folder.name, len(data.images), len(data.annotations), masks, share, terms]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
