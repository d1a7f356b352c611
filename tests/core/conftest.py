"""What the method's tests share: a tiny network and drawn pictures whose masks are known."""

from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer

from mal_core.checkpoint import Checkpoint
from mal_core.coco import Annotation, CategoryRecord, Dataset, ImageRecord
from mal_core.config import CropConfig, ModelConfig
from mal_core.geometry import Image
from mal_core.masks import encode
from mal_core.model import MAL

SIZE = 64
TINY = ModelConfig(dim=32, depth=3, heads=2, crop_size=64, registers=2)


@register_model
def vit_mini_patch16_224(*, img_size: int = 224, num_classes: int = 2, **_: object) -> object:
    """A ViT of 32 channels and two blocks, for timm to build by name."""
    shape = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    pool = "token" if num_classes else ""
    return VisionTransformer(img_size, num_classes=num_classes, global_pool=pool, **shape)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing by a second thread, and on a busy machine wait long for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny() -> Checkpoint:
    """A network that has learnt nothing, with the same random weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MAL(TINY).eval()
    notes = {"threshold": "0.4", "eval_expand": "0.2"}
    return Checkpoint(model, CropConfig(size=TINY.crop_size), 0.4, "0" * 64, notes)


@pytest.fixture
def scene() -> Image:
    """(240, 320, 3): a red ellipse in the middle, a yellow one that leaves at the lower right."""
    down, across = np.mgrid[:240, :320]
    picture = np.stack([60 + across / 4, 110 + down / 5, 150 - across / 6], -1)
    picture[_ellipse(down, across, 120, 110, 70, 60)] = 205, 70, 60
    picture[_ellipse(down, across, 200, 300, 70, 50)] = 235, 205, 70
    noise = np.random.default_rng(0).normal(0, 4, (240, 320, 1))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def draw_dataset(tmp_path: Path) -> Callable[[int, int], Dataset]:
    """Draw images number `first` to `first + count - 1` into tmp_path/images, two discs on each.

    Disc 1 is category 1 and bright, disc 2 is category 2 and dark; all sizes and places differ.
    """
    folder = tmp_path / "images"
    folder.mkdir()

    def draw(first: int, count: int) -> Dataset:
        images, annotations = [], []
        for number in range(first, first + count):
            picture, masks = _two_discs(np.random.default_rng(number))
            PilImage.fromarray(picture).save(folder / f"{number}.png")
            images.append(ImageRecord(number, f"{number}.png", SIZE, SIZE))
            for category, mask in enumerate(masks, start=1):
                rle = encode(mask, height=SIZE, width=SIZE)
                assert rle.box is not None
                key = 2 * number + category
                annotations.append(Annotation(key, number, category, rle.box, rle))
        categories = [CategoryRecord(1, "bright"), CategoryRecord(2, "dark")]
        return Dataset(images, categories, annotations)

    return draw


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty bucket of an S3 server on this machine."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    fsspec.filesystem("s3").clear_instance_cache()  # none of an earlier server
    fsspec.filesystem("s3").mkdir(f"bucket-{port}")
    yield f"s3://bucket-{port}"
    server.stop()


def _two_discs(random: np.random.Generator) -> tuple[Image, list[NDArray[np.bool_]]]:
    down, across = np.mgrid[:SIZE, :SIZE]
    picture = random.normal(128, 8, (SIZE, SIZE, 3))
    masks = []
    for centre, colour in ((16, 230), (47, 30)):
        y, x = random.uniform(18, 46), centre + random.uniform(-2, 2)
        mask = _ellipse(down, across, y, x, random.uniform(9, 16), random.uniform(7, 12))
        picture[mask] = colour
        masks.append(mask)
    return np.clip(picture, 0, 255).astype(np.uint8), masks


def _ellipse(
    down: NDArray[np.int_], across: NDArray[np.int_], y: float, x: float, tall: float, wide: float
) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = ((down - y) / tall) ** 2 + ((across - x) / wide) ** 2 <= 1
    return inside
