"""The domains of bench/adapt.py: which images teach, which choose the epoch, which judge."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from mal_core import coco
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord
from mal_core.dataset import labelled
from mal_core.masks import encode

SIDE = 256  # of a drawn image, pixels
SMALLEST = 24 * 24  # smaller masks are left out, pixels
IMAGES = 60  # of a source, about
HOLE = 0.5  # radius of a ring's hole, as a share of the outer one


@dataclass(frozen=True)
class Domain:
    """A new kind of images; no image is in two of the three parts.

    Attributes:
        name: of the domain.
        seen: whether the bundled weights learned from images of this source.
        folder: where the image files of all parts are.
        teach: what the simulated person corrects, in the order they do.
        choose: held out by the studio: chooses the epoch.
        test: judges, and nothing else.
    """

    name: str
    seen: bool
    folder: Path
    teach: Dataset
    choose: Dataset
    test: Dataset


def read_sources(folder: Path, sources: Sequence[str]) -> Dataset:
    """Several data sets of a folder as one, of a single category; file names start at `folder`.

    Args:
        folder: holds SOURCE/annotations.json and SOURCE/images/.
        sources: the names of some.
    """
    images: list[ImageRecord] = []
    annotations: list[Annotation] = []
    for source in sources:
        for record, group in labelled(coco.read(folder / source / "annotations.json")):
            number = len(images) + 1
            name = f"{source}/images/{record.file_name}"
            images.append(replace(record, id=number, file_name=name))
            kept = [a for a in group if a.rle is not None and a.rle.area >= SMALLEST]
            annotations += [
                replace(a, id=len(annotations) + n, image_id=number, category_id=1)
                for n, a in enumerate(kept, start=1)
            ]
    return Dataset(images, [CategoryRecord(1, "object")], annotations)


def split(
    name: str, data: Dataset, folder: Path, shares: tuple[float, float], most: int, *, seen: bool
) -> Domain:
    """Deal the images out at random, always in the same way.

    Args:
        name: of the domain; also the seed.
        data: everything.
        folder: where its images are.
        shares: of the images that teach and that choose; the rest judges.
        most: instances of one image, drawn at random if it has more.
        seen: see Domain.
    """
    random = np.random.default_rng(zlib.crc32(name.encode()))
    pairs = labelled(data)
    order = random.permutation(len(pairs)).tolist()
    first, second = (round(part * len(pairs)) for part in np.cumsum(shares))
    parts = []
    for rows in (order[:first], order[first:second], order[second:]):
        chosen: list[Annotation] = []
        for row in rows:
            group = pairs[row][1]
            count = min(most, len(group))
            chosen += [group[i] for i in random.choice(len(group), count, replace=False)]
        images = [pairs[row][0] for row in rows]
        parts.append(replace(data, images=images, annotations=chosen))
    return Domain(name, seen, folder, *parts)


def take(data: Dataset, count: int) -> Dataset:
    """The first `count` annotations, and their images."""
    annotations = list(data.annotations)[:count]
    wanted = {a.image_id for a in annotations}
    images = [image for image in data.images if image.id in wanted]
    return replace(data, images=images, annotations=annotations)


def draw_rings(folder: Path, count: int, seed: int, hole: float = HOLE) -> Dataset:
    """Images of rings that differ from what is in and around them by their grain alone.

    A new definition of what an object is, and hard to see: two rings an image, of the background's
    mean, contrast and frequencies; only the threads are turned by 45 degrees.

    Args:
        folder: for the PNG files.
        count: of images.
        seed: of everything.
        hole: its radius, as a share of the ring's; 0 draws discs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        random = np.random.default_rng([seed, number])
        angle = random.uniform(0, np.pi)
        picture, other = grain(angle, random), grain(angle + np.pi / 4, random)
        middle = SIDE / 2
        for place in ((middle * 0.55, middle), (middle * 1.45, middle)):
            ring = draw_ring(place, random, hole)
            picture = np.where(ring, other, picture)
            rle = encode(ring, height=SIDE, width=SIDE)
            assert rle.box is not None
            annotations.append(Annotation(len(annotations) + 1, number, 1, rle.box, rle))
        name = f"{number:03}.png"
        tint = random.uniform(0.8, 1.0, 3)
        pixels = np.clip((128 + 36 * picture)[..., None] * tint, 0, 255).astype(np.uint8)
        PilImage.fromarray(pixels).save(folder / name)
        images.append(ImageRecord(number, name, SIDE, SIDE))
    return Dataset(images, [CategoryRecord(1, "ring")], annotations)


def grain(angle: float, random: np.random.Generator) -> NDArray[np.float64]:
    """(SIDE, SIDE) noise of mean 0 and deviation 1 whose threads run along an angle, radians."""
    waves = np.fft.fft2(random.normal(size=(SIDE, SIDE)))
    down, across = np.meshgrid(*[np.fft.fftfreq(SIDE)] * 2, indexing="ij")
    along = across * np.cos(angle) + down * np.sin(angle)
    over = -across * np.sin(angle) + down * np.cos(angle)
    noise = np.fft.ifft2(waves * np.exp(-((along * 30) ** 2) - (over * 6) ** 2)).real
    scaled: NDArray[np.float64] = (noise - noise.mean()) / noise.std()
    return scaled


def draw_ring(
    place: tuple[float, float], random: np.random.Generator, hole: float
) -> NDArray[np.bool_]:
    """(SIDE, SIDE) a star-shaped outline with soft bumps around a place (x, y), and its hole."""
    down, across = np.mgrid[:SIDE, :SIDE] + 0.5
    turn = np.arctan2(down - place[1], across - place[0])
    bumps = sum(
        random.uniform(0, 0.18 / wave) * np.cos(wave * turn + random.uniform(0, 2 * np.pi))
        for wave in (1, 2, 3, 4)
    )
    radius = random.uniform(28, 42) * (1 + bumps)
    share = np.hypot(down - place[1], across - place[0]) / radius
    ring: NDArray[np.bool_] = (share < 1) & (share >= hole)
    return ring


def make_domain(name: str, train: Path, unseen: Path, work: Path, *, seen: bool) -> Domain:
    """One domain of the bench.

    Args:
        name: rings, damage, or a source of `train`.
        train: folder of sources.
        unseen: folder of sources, of which some have no part in `train`.
        work: where drawn images go.
        seen: whether the weights learned from it.
    """
    if name == "rings":
        drawn = draw_rings(work / "rings", 96, seed=1)
        return split(name, drawn, work / "rings", (56 / 96, 12 / 96), 2, seen=seen)
    if name == "damage":
        damage = read_sources(unseen, ["cardamage_tr", "cars_urvashi"])
        return split(name, damage, unseen, (0.5, 0.15), 6, seen=seen)
    return split(name, thin(read_sources(train, [name])), train, (0.55, 0.15), 6, seen=seen)


def thin(data: Dataset) -> Dataset:
    """About IMAGES images, evenly from all, and what is on them."""
    images = list(data.images)[:: max(1, len(data.images) // IMAGES)]
    kept = {image.id for image in images}
    annotations = [a for a in data.annotations if a.image_id in kept]
    return replace(data, images=images, annotations=annotations)
