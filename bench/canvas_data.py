"""The project that bench/canvas.py measures: four images from 0.3 to 100 megapixels, and masks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image as PilImage

from app.images import Intake
from app.library import Library
from app.records import Draft, State
from app.settings import Settings
from app.store import Store
from mal_core.masks import encode

SAMPLES = ("coffee", "chelsea", "astronaut", "motorcycle_left")
CELL = (600, 420)  # width and height of a tiled sample
NOW = datetime(2026, 11, 25, tzinfo=UTC)


@dataclass(frozen=True)
class Subject:
    """One image to measure on.

    Attributes:
        name: in the table.
        size: width and height.
        masks: how many instances it has.
        spread: side of a mask as a share of its cell; above 1 neighbours overlap.
    """

    name: str
    size: tuple[int, int]
    masks: int
    spread: float = 0.6


SUBJECTS = (
    Subject("640x480", (640, 480), 4),
    Subject("12 MP, 300 masks", (4000, 3000), 300, 1.2),
    Subject("100 MP", (12_000, 8_400), 12),
)


def make_project(data: Path) -> dict[str, int]:
    """Make a data folder with all subjects, a tiny image before each; returns their ids.

    The studio fetches the next image ahead, so what follows a tiny image is opened cold only if
    another one is open before it: the tiny ones keep the subjects apart.
    """
    data.mkdir(parents=True)
    settings = Settings(data_dir=data)
    store = Store(settings.database)
    ids = {}
    with Intake(settings) as intake:
        library = Library(settings, store, intake)
        library.prepare_model()
        project = library.add_project("Scale")
        category = store.list_categories(project.id)[0].id
        for number, subject in enumerate(SUBJECTS):
            paths = list(write_images(data, number, subject))
            for step in library.add_files(project.id, paths):
                assert step.added, step.line
            image = store.list_images(project.id)[-1].image
            ids[subject.name] = image.id
            for draft in masks_of(subject, category):
                store.add_instance(image.id, draft, "bench", "draw", NOW)
    store.close()
    return ids


def write_images(data: Path, number: int, subject: Subject) -> Iterator[Path]:
    """Two spacers, no two of them the same image, and then the subject."""
    for spacer in range(2):
        path = data / f"{number}-{spacer}.png"
        shade = np.full((48, 64, 3), 40 * number + 20 * spacer, np.uint8)
        PilImage.fromarray(shade).save(path)
        yield path
    path = data / f"{number}.jpg"
    PilImage.fromarray(mosaic(*subject.size)).save(path, quality=90)
    yield path


def mosaic(width: int, height: int) -> NDArray[np.uint8]:
    """Tile sample photos, each second one mirrored, until the image is full: (H, W, 3)."""
    photos = [np.array(PilImage.fromarray(photo(name)).resize(CELL)) for name in SAMPLES]
    image = np.empty((height, width, 3), np.uint8)
    for row, top in enumerate(range(0, height, CELL[1])):
        for column, left in enumerate(range(0, width, CELL[0])):
            cell = photos[(row * 3 + column) % len(photos)][:, :: 1 - 2 * ((row + column) % 2)]
            part = image[top : top + CELL[1], left : left + CELL[0]]
            part[:] = cell[: part.shape[0], : part.shape[1]]
    return image


def photo(name: str) -> NDArray[np.uint8]:
    """A sample photo of scikit-image."""
    path = Path(skimage.data.__file__).parent / f"{name}.png"
    return np.array(PilImage.open(path).convert("RGB"))


def masks_of(subject: Subject, category: int) -> Iterator[Draft]:
    """Wobbly blobs on a grid, as objects are: no straight side, and neighbours that overlap."""
    width, height = subject.size
    columns = round((subject.masks * width / height) ** 0.5)
    rows = -(-subject.masks // columns)
    side = int(subject.spread * min(width / columns, height / rows))
    random = np.random.default_rng(0)
    for index in range(subject.masks):
        mask = blob(side, random)
        x0 = int((index % columns + 0.5) * width / columns - side / 2)
        y0 = int((index // columns + 0.5) * height / rows - side / 2)
        x0, y0 = max(0, min(x0, width - side)), max(0, min(y0, height - side))
        rle = encode(mask, x0=x0, y0=y0, height=height, width=width)
        box = (float(x0), float(y0), float(x0 + side), float(y0 + side))
        yield Draft(State.CORRECTED, category, box, rle)


def blob(side: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """A round shape with a wavering radius and a slightly rough rim: (side, side)."""
    y, x = (np.mgrid[:side, :side] + 0.5) * (2 / side) - 1
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    waver = sum(
        random.uniform(0, 0.12) * np.sin(k * angle + random.uniform(0, 6)) for k in (2, 3, 7)
    )
    rough = random.uniform(-0.004, 0.004, (side, side))
    inside: NDArray[np.bool_] = radius + rough < 0.75 + waver
    return inside
