"""Real masks through every format: how many come back pixel for pixel, and the IoU of the others.

    python bench/roundtrip.py eval_public/ [--formats coco yolo-seg ...]

Each folder with annotations.json and images/ is imported as COCO with its images into one studio,
exported in each format with the export's own proof, and imported once more into the project it
came from, which must bring nothing. For COCO's polygons, the last column is the mean IoU
of what OpenCV's fillPoly makes of them, which draws the outline as well.
"""

import argparse
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.exchange import FORMATS, Exporter, Importer, get_format  # noqa: E402
from app.records import ModelState, NewModel  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.store import Store  # noqa: E402
from mal_core.masks import encode, iou, polygons_to_rle  # noqa: E402

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def main() -> None:
    """Import everything once, then print a line a format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    options = parser.parse_args()
    sources = sorted(path.parent for path in options.root.rglob("annotations.json"))
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        store = Store(settings.database)
        projects = [bring(settings, store, source) for source in sources]
        print("| format | masks | pixel for pixel | min IoU | mean IoU | new on return | s | cv2 |")
        print("|---|---|---|---|---|---|---|---|")
        for name in options.formats:
            print(line(settings, store, projects, name), flush=True)
        store.close()


def bring(settings: Settings, store: Store, source: Path) -> int:
    """A project of one folder's images and masks."""
    model = store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
    project = store.add_project(source.name, model.id, NOW).id
    paths = [source / "annotations.json", source / "images"]
    Importer(settings, store).run(project, get_format("coco"), paths, person="bench", now=NOW)
    return project


def line(settings: Settings, store: Store, projects: list[int], name: str) -> str:
    """One format over all projects."""
    compared = exact = new = 0
    lowest, total = 1.0, 0.0
    outlined: list[float] = []
    start = time.perf_counter()
    for project in projects:
        report = Exporter(settings, store).run(project, get_format(name), now=NOW)
        compared, exact = compared + report.n_compared, exact + report.n_exact
        lowest = min(lowest, report.min_iou)
        total += report.mean_iou * report.n_compared
        again = Importer(settings, store).run(
            project, get_format(name), [report.path], person="bench", now=NOW, dry_run=True
        )
        new += again.n_masks + again.n_boxes + len(again.conflicts) + len(again.problems)
        if name == "coco-polygons":
            outlined += filled_by_opencv(report.path)
        report.path.unlink()
    seconds = time.perf_counter() - start
    mean = f"{np.mean(outlined):.4f}" if outlined else "-"
    return (
        f"| {name} | {compared} | {exact} | {lowest:.4f} | {total / max(compared, 1):.5f}"
        f" | {new} | {seconds:.0f} | {mean} |"
    )


def filled_by_opencv(archive: Path) -> Iterator[float]:
    """IoU of each COCO polygon mask with what fillPoly makes of it."""
    with zipfile.ZipFile(archive) as file:
        document = json.loads(file.read("annotations.json"))
    sizes = {i["id"]: (i["height"], i["width"]) for i in document["images"]}
    for annotation in document["annotations"]:
        height, width = sizes[annotation["image_id"]]
        canvas = np.zeros((height, width), np.uint8)
        for polygon in annotation["segmentation"]:
            cv2.fillPoly(canvas, [np.array(polygon, np.int32).reshape(-1, 2)], 1)
        wanted = polygons_to_rle(annotation["segmentation"], height, width)
        yield iou(encode(canvas > 0, height=height, width=width), wanted)


if __name__ == "__main__":
    main()
