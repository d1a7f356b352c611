"""Prints what it costs to keep images at a URL: taking them in, and opening them cold and warm.

    python bench/images_url.py photos/ [s3://bucket/prefix]

Without a URL, moto serves S3 on this machine: that leaves out the network and its distance, and
moto is no fast server. Each image is taken in by the intake, into a folder and into the store, in
turn; then opened from the folder, from the store with an empty cache, and once more.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import fsspec
import torch
from moto.server import ThreadedMotoServer
from PIL import Image as PilImage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.images import Intake, load_image, path_of  # noqa: E402
from app.records import Image  # noqa: E402
from app.settings import Settings  # noqa: E402

T = TypeVar("T")


def main() -> None:
    """Measure and print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("url", nargs="?", default="")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--megapixels", type=float, help="enlarge the photos to these first")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = sorted(path for path in options.photos.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder, bucket(options.url) as url:
        near = Settings(data_dir=Path(folder, "near"))
        far = Settings(data_dir=Path(folder, "far"), images_url=url)
        measure(near, far, [enlarge(photo, options.megapixels, Path(folder))
                            for photo in photos[: options.images]])  # fmt: skip


def enlarge(photo: Path, megapixels: float | None, folder: Path) -> Path:
    """The photo, or a JPEG of it with that many pixels."""
    if megapixels is None:
        return photo
    with PilImage.open(photo) as small:
        scale = (1e6 * megapixels / (small.width * small.height)) ** 0.5
        size = round(scale * small.width), round(scale * small.height)
        small.convert("RGB").resize(size).save(folder / f"{photo.stem}.jpg", quality=90)
    return folder / f"{photo.stem}.jpg"


@contextmanager
def bucket(url: str) -> Iterator[str]:
    """The URL that was given, or a bucket of a server of our own."""
    if url:
        yield url
        return
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1",
                   "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}  # fmt: skip
    fsspec.filesystem("s3").mkdir("bench")
    yield "s3://bench/studio"
    server.stop()


def measure(near: Settings, far: Settings, photos: list[Path]) -> None:
    """Take in and open each image here and there, in turn."""
    rows: dict[str, list[float]] = {}

    def timed(name: str, act: Callable[..., T], *arguments: object) -> T:
        begin = time.perf_counter()
        result = act(*arguments)
        rows.setdefault(name, []).append(1000 * (time.perf_counter() - begin))
        return result

    images = []
    with Intake(near) as here, Intake(far) as there:
        for photo in photos:
            taken = timed("take in, folder", here.take, photo, photo.name)
            timed("take in, store", there.take, photo, photo.name)
            images.append(Image(**vars(taken), id=1, project_id=1, number=1, split=None,
                                created_at=None))  # type: ignore[arg-type]  # fmt: skip
    shutil.rmtree(far.cache)
    for image in images:
        timed("path, folder", path_of, near, image)
        timed("path, store, cold", path_of, far, image)
        timed("path, store, warm", path_of, far, image)
        timed("decoded, folder", load_image, near, image)
        timed("decoded, store, warm", load_image, far, image)
    sizes = [path_of(near, image).stat().st_size for image in images]
    print(f"{len(images)} images, median raster {statistics.median(sizes) / 1e6:.2f} MB")
    for name, values in rows.items():
        print(f"{name:24} median {statistics.median(values):9.3f} ms  worst {max(values):9.1f} ms")


if __name__ == "__main__":
    main()
