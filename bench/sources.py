"""The training sources and their shares of the crops, as flags of `python -m mal_core train`."""

from pathlib import Path

# By source, not by instance: nuclei and windows are two thirds of all instances.
SHARES = {
    "coco": 0.25, "ccp": 0.18, "ecssd": 0.13, "coco_person": 0.12, "pets": 0.08, "dsb2018": 0.07,
    "humanseg": 0.05, "facade": 0.05, "bottles_aisangam": 0.009, "bottles_waste": 0.009,
    "buildings_luo": 0.009, "heads": 0.009, "leaf": 0.009, "mugs": 0.009, "ppe": 0.009,
    "vehicles_martinezger": 0.009,
}  # fmt: skip


def train_flags(folder: Path) -> list[str]:
    """Positional data and images, then --share and one --also for each other source.

    Args:
        folder: holds SOURCE/annotations.json and SOURCE/images/ for some of the sources.
    """
    found = [name for name in SHARES if (folder / name / "annotations.json").exists()]
    if not found:
        raise SystemExit(f"{folder} holds none of {', '.join(SHARES)}")
    rows = [
        [str(folder / name / "annotations.json"), str(folder / name / "images"), str(SHARES[name])]
        for name in found
    ]
    first, *others = rows
    return [*first[:2], "--share", first[2], *(w for row in others for w in ("--also", *row))]
