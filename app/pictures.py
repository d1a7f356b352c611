"""Before and after, drawn: the held-out crops that new weights do worst on or change most."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.images import load_image
from app.jobs import COMPARISON, FROZEN, job_folder
from app.records import Job, Split
from app.settings import Settings
from app.store import Store
from mal_core import coco
from mal_core.errors import BadImage, InputError
from mal_core.masks import RLE, decode_crop

SHOWN = 4  # of each kind
SIDE = 240  # pixels of a drawn crop's longer side
MARGIN = 0.15  # around the masks, of their size
TRUTH, BEFORE, AFTER = (255, 255, 255), (230, 159, 0), (86, 180, 233)
Pixels = NDArray[np.uint8]
Rect = tuple[int, int, int, int]
Outline = tuple[RLE, tuple[int, int, int], int]


@dataclass(frozen=True)
class Change:
    """One held-out instance, before and after."""

    annotation_id: int
    image_id: int
    category_id: int
    iou_before: float
    iou_after: float
    before: RLE
    after: RLE


@dataclass(frozen=True)
class Picture:
    """A drawn change: `data` is a "data:" address of a JPEG."""

    change: Change
    data: str


def read_changes(path: Path) -> list[Change]:
    """Read what the trainer left of the held-out instances; nothing where it left nothing.

    Raises:
        BadMask: a mask in it is none.
    """
    if not path.exists():
        return []
    entries: list[Mapping[str, Any]] = orjson.loads(path.read_bytes())
    keys = ("annotation_id", "image_id", "category_id", "iou_before", "iou_after")
    return [
        Change(
            **{key: entry[key] for key in keys},
            before=RLE.from_coco(entry["before"]),
            after=RLE.from_coco(entry["after"]),
        )
        for entry in entries
    ]


def worst(changes: Sequence[Change]) -> list[Change]:
    """Those the new weights do worst on, the worst first."""
    return sorted(changes, key=lambda c: (c.iou_after, c.annotation_id))[:SHOWN]


def most_changed(changes: Sequence[Change]) -> list[Change]:
    """Those whose IoU changed most, for better or worse, the most changed first."""
    by_change = sorted(changes, key=lambda c: (-abs(c.iou_after - c.iou_before), c.annotation_id))
    return [c for c in by_change if c.iou_after != c.iou_before][:SHOWN]


def draw_job(settings: Settings, store: Store, job: Job) -> tuple[list[Picture], list[Picture]]:
    """The pictures of a finished fine-tune: worst, and most changed.

    Returns:
        Both empty where there was nothing held out; an image that cannot be read is left out.
    """
    folder = job_folder(settings, job.id)
    try:
        changes = read_changes(folder / COMPARISON)
        truths = {a.id: a.rle for a in coco.read(folder / FROZEN[Split.HELD_OUT]).annotations}
    except InputError:
        return [], []
    images = {s.image.number: s.image for s in store.list_images(job.project_id)}

    def draw_all(chosen: Sequence[Change]) -> list[Picture]:
        drawn = []
        for change in chosen:
            try:
                pixels = load_image(settings, images[change.image_id])
            except BadImage:
                continue
            drawn.append(Picture(change, to_address(draw(pixels, change, truths))))
        return drawn

    return draw_all(worst(changes)), draw_all(most_changed(changes))


def draw(pixels: Pixels, change: Change, truths: Mapping[int, RLE | None]) -> PilImage.Image:
    """Outline an instance on its crop: what is true, what was proposed, and what is now.

    Args:
        pixels: (H, W, 3), the image.
        change: both masks.
        truths: the true masks by annotation id.
    """
    truth = truths.get(change.annotation_id)
    outlines = [(change.before, BEFORE, 2), (change.after, AFTER, 2)]
    if truth is not None:
        outlines.insert(0, (truth, TRUTH, 3))
    return outlined(pixels, outlines, [mask for mask, *_ in outlines])


def outlined(pixels: Pixels, outlines: Sequence[Outline], around: Sequence[RLE]) -> PilImage.Image:
    """The crop of an image around some masks, with outlines drawn on it.

    Args:
        pixels: (H, W, 3), the image.
        outlines: masks with the colour and the width of each, the last one on top.
        around: masks that the crop must hold, with some room.
    """
    x0, y0, x1, y1 = _window(around, pixels.shape[1], pixels.shape[0])
    crop = PilImage.fromarray(pixels[y0:y1, x0:x1])
    scale = SIDE / max(crop.size)
    size = max(1, round(crop.width * scale)), max(1, round(crop.height * scale))
    canvas = np.array(crop.resize(size, PilImage.Resampling.BILINEAR))
    for mask, color, width in outlines:
        canvas[_outline(mask, (x0, y0, x1, y1), size, width)] = color
    return PilImage.fromarray(canvas)


def to_address(picture: PilImage.Image) -> str:
    """A JPEG as the address of itself."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def _window(masks: Sequence[RLE], width: int, height: int) -> Rect:
    """The crop that holds all masks with some room; the whole image if they are empty."""
    boxes = [mask.box for mask in masks if mask.box is not None]
    if not boxes:
        return 0, 0, width, height
    x0, y0 = (min(box[side] for box in boxes) for side in (0, 1))
    x1, y1 = (max(box[side] for box in boxes) for side in (2, 3))
    room = round(MARGIN * max(x1 - x0, y1 - y0)) + 2
    return max(0, x0 - room), max(0, y0 - room), min(width, x1 + room), min(height, y1 + room)


def _outline(mask: RLE, window: Rect, size: tuple[int, int], width: int) -> NDArray[np.bool_]:
    """The inner edge of a mask within a window, at the drawn size."""
    x0, y0, x1, y1 = window
    part, left, top = decode_crop(mask)
    full = np.zeros((y1 - y0, x1 - x0), np.bool_)
    height, breadth = part.shape
    full[top - y0 : top - y0 + height, left - x0 : left - x0 + breadth] = part
    drawn = np.array(PilImage.fromarray(full).resize(size, PilImage.Resampling.NEAREST), np.bool_)
    inner = drawn
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = (
            inner
            & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        )  # fmt: skip
    return drawn & ~inner
