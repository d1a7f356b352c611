"""Projects full of hard cases, to be sent through every format."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from app.exchange import Exporter, ExportReport, Importer, ImportReport, get_format
from app.images import path_of
from app.records import (
    Draft,
    Image,
    ModelState,
    NewInstance,
    NewModel,
    Project,
    State,
    TakenImage,
)
from app.settings import Settings
from app.store import Store
from mal_core.masks import encode

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
HEIGHT, WIDTH = 30, 40
Pixels = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """Masks by category on one image, and the names around them."""

    masks: Sequence[tuple[str, Pixels]]
    file_name: str = "a.jpg"


class Trade:
    """A data folder, and what comes and goes."""

    def __init__(self, folder: Path, database_url: str = "") -> None:
        self.settings = Settings(data_dir=folder, database_url=database_url)
        self.store = Store(self.settings.database)
        model = self.store.add_model(NewModel("bundled", "b" * 64, {}), ModelState.BUNDLED, NOW)
        self._model = model.id

    def project(self, name: str = "Leaves") -> Project:
        return self.store.add_project(name, self._model, NOW)

    def image(self, project: Project, name: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image:
        """An image as intake would have stored it."""
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        extension = "jpg" if name.lower().endswith("jpg") else "png"
        taken = TakenImage(sha256, sha256, extension, *size, name, "")
        image, _ = self.store.add_image(project.id, taken, NOW)
        path_of(self.settings, image).parent.mkdir(parents=True, exist_ok=True)
        Pil.new("RGB", size, "teal").save(path_of(self.settings, image))
        return image

    def fill(self, project: Project, image: Image, case: Case) -> None:
        """Accepted masks on an image."""
        new = []
        for name, pixels in case.masks:
            category = self.store.add_category(project.id, name)
            rle = encode(pixels, height=image.height, width=image.width)
            box = (0.0, 0.0, float(image.width), float(image.height))
            new.append(NewInstance(image.id, Draft(State.ACCEPTED, category.id, box, rle)))
        self.store.add_instances(new, "me", "", NOW)

    def export(self, project: Project, name: str, *, include_images: bool = False) -> ExportReport:
        exporter = Exporter(self.settings, self.store)
        format_ = get_format(name)
        return exporter.run(project.id, format_, include_images=include_images, now=NOW)

    def bring(
        self, project: Project, name: str, *paths: Path, dry_run: bool = False
    ) -> ImportReport:
        importer = Importer(self.settings, self.store)
        format_ = get_format(name)
        return importer.run(project.id, format_, paths, person="Ada", now=NOW, dry_run=dry_run)

    def drafts(self, project: Project) -> list[tuple[str, str, Draft]]:
        """File name, category and draft of each instance, by number."""
        titles = {c.id: c.name for c in self.store.list_categories(project.id)}
        pairs = self.store.list_project_instances(project.id, frozenset(State))
        return [
            (image.file_name, titles[instance.draft.category_id], instance.draft)
            for image, instance in pairs
        ]


def disc(x: float, y: float, radius: float) -> Pixels:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    inside: Pixels = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return inside


def spots(*points: tuple[int, int]) -> Pixels:
    pixels = np.zeros((HEIGHT, WIDTH), np.bool_)
    for x, y in points:
        pixels[y, x] = True
    return pixels


def noise(seed: int) -> Pixels:
    pixels = np.zeros((HEIGHT, WIDTH), np.bool_)
    pixels[3:25, 5:33] = np.random.default_rng(seed).random((22, 28)) < 0.55
    return pixels


def many() -> list[tuple[str, Pixels]]:
    """300 instances that do not touch: more than a palette has colours."""
    corners = [(x, y) for y in range(0, HEIGHT, 2) for x in range(0, WIDTH, 2)]
    return [(f"kind {place % 3}", spots(corner)) for place, corner in enumerate(corners[:300])]


ODD = 'Blätter "x" & <y>, 叶: 50 %'
EVERYWHERE: Pixels = np.ones((HEIGHT, WIDTH), np.bool_)
CASES: dict[str, Case] = {
    "plain": Case([("leaf", disc(20, 15, 8))]),
    "holes": Case([("leaf", disc(20, 15, 12) & ~disc(16, 13, 3) & ~disc(24, 17, 4))]),
    "parts": Case([("leaf", disc(8, 8, 4) | disc(30, 20, 5) | spots((20, 2), (21, 3), (20, 4)))]),
    "island in a hole": Case([("leaf", disc(20, 15, 13) & ~disc(20, 15, 8) | disc(20, 15, 3))]),
    "noise": Case([("leaf", noise(1))]),
    "one pixel": Case(
        [("leaf", spots((0, 0))), ("leaf", spots((39, 29))), ("twig", spots((7, 3)))]
    ),
    "touching borders": Case([("leaf", EVERYWHERE & ~disc(20, 15, 5)), ("twig", disc(20, 15, 5))]),
    "everywhere": Case([("leaf", EVERYWHERE)]),
    "side by side": Case([("leaf", disc(12, 15, 8)), ("leaf", disc(28, 15, 7))]),
    "overlaps": Case(
        [("leaf", disc(14, 15, 9)), ("leaf", disc(22, 15, 7)), ("twig", disc(20, 18, 4))]
    ),
    "names": Case([(ODD, disc(20, 15, 8)), ("ÖL", disc(5, 5, 2))], "Größe/叶 子.tar.jpg"),
    "nothing": Case([]),
    "many": Case(many()),
}
