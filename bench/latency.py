"""Where the time from a released box to a painted mask goes.

Starts the studio on a folder of its own with a 640 x 480 and a 4000 x 3000 photo, draws boxes by
mouse in headless Chromium and reads each stage: the server's own account (Server-Timing), the
request as the browser saw it, and the painted frame. Prints medians in milliseconds.

    python bench/latency.py [--boxes 24] [--threads 2 1]
    python bench/latency.py --alone      # the predictor in this process, no server, no browser
    python bench/latency.py --backends   # torch and ONNX Runtime in turn, the network alone
"""

import argparse
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, as the launcher does

import httpx
import numpy as np
import onnxruntime
import skimage.data
import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.images import Intake, load_image  # noqa: E402
from app.library import Library  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.store import Store  # noqa: E402
from mal_core import checkpoint as checkpoints  # noqa: E402
from mal_core.export import to_onnx  # noqa: E402
from mal_core.predictor import Predictor  # noqa: E402
from mal_core.runtime import Inputs, Network, OnnxNetwork, trial_inputs  # noqa: E402

SIZES = ((640, 480), (4000, 3000))
STAGES = ("crop", "model", "paste", "rle", "score", "store")
WARM_UP = 2
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
STATE = "window.malCanvas.state()"
Row = Mapping[str, float]


def main() -> None:
    """Measure each number of threads and size, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=24, help="measured boxes of each size")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--alone", action="store_true", help="only the predictor, no browser")
    parser.add_argument("--backends", action="store_true", help="torch against ONNX Runtime")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}")
    if arguments.backends:
        print_backends(arguments.threads, arguments.boxes)
        return
    if arguments.alone:
        for threads in arguments.threads:
            print_alone(threads, arguments.boxes)
        return
    print(f"medians of {arguments.boxes} boxes, milliseconds; decode: once an image, at opening")
    head = ["threads", "image", "decode", *STAGES, "HTTP", "paint", "total", "server rest"]
    print(" | ".join(f"{name:>11}" for name in head))
    for threads in arguments.threads:
        for size, rows in measure(threads, arguments.boxes).items():
            print_row(threads, size, rows)


def print_alone(threads: int, count: int) -> None:
    """Medians of the predictor's stages on both photos, in milliseconds."""
    torch.set_num_threads(threads)
    predictor = Predictor.load(Settings().weights, "cpu")
    for size in SIZES:
        image = np.array(Image.fromarray(skimage.data.coffee()).resize(size))
        box = (0.2 * size[0], 0.2 * size[1], 0.65 * size[0], 0.7 * size[1])
        rows = []
        for _ in range(WARM_UP + count):
            prediction = predictor.predict(image, [box])
            begin = time.perf_counter()
            mask = prediction.mask(0)
            pasted = time.perf_counter()
            prediction.encode(mask, 0)
            own = {"paste": pasted - begin, "rle": time.perf_counter() - pasted}
            rows.append({**prediction.seconds, **own})
        medians = {n: 1000 * statistics.median(r[n] for r in rows[WARM_UP:]) for n in rows[0]}
        text = ", ".join(f"{name} {value:.1f}" for name, value in medians.items())
        print(f"{threads} threads, {size[0]}x{size[1]}: {text}", flush=True)


def print_backends(numbers: Sequence[int], count: int) -> None:
    """Both networks in turn, crop by crop and in batches of 8: medians and ratios, a line each.

    CPU milliseconds count all threads; on a busy machine they say more than those on the wall.
    """
    loaded = checkpoints.load(Settings().weights)
    data = to_onnx(loaded)
    print(f"onnxruntime {onnxruntime.__version__}; medians of {count} pairs, milliseconds a call")
    for threads, crops in product(numbers, (1, 8)):
        torch.set_num_threads(threads)
        origin = (loaded.sha256, loaded.crop.size)
        networks = {
            "torch": torch.inference_mode()(lambda *inputs: loaded.model(*inputs)[1]),
            "onnx": OnnxNetwork(data, *origin),
            "onnx, one batch": OnnxNetwork(data, *origin, together=True),
        }
        inputs = trial_inputs(loaded.crop.size, crops)
        answers = {name: network(*inputs) for name, network in networks.items()}
        pairs = max(3, count // crops)
        rows = [{n: seconds_of(w, inputs) for n, w in networks.items()} for _ in range(pairs)]
        for name, answer in answers.items():
            far = float((answer - answers["torch"]).abs().max())
            wall, cpu = (statistics.median(r[name][i] for r in rows) * 1000 for i in (0, 1))
            ratios = [statistics.median(r[name][i] / r["torch"][i] for r in rows) for i in (0, 1)]
            print(
                f"{threads} threads, {crops} crops, {name:15}: wall {wall:7.1f} ({ratios[0]:.2f}),"
                f" CPU {cpu:7.1f} ({ratios[1]:.2f}), logits differ by {far:.1e}",
                flush=True,
            )


def seconds_of(network: Network, inputs: Inputs) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    begin, used = time.perf_counter(), time.process_time()
    network(*inputs)
    return time.perf_counter() - begin, time.process_time() - used


def print_row(threads: int, size: tuple[int, int], rows: Sequence[Row]) -> None:
    """One line of the table: the median of each stage, and of the server's work but the model."""
    names = ["decode", *STAGES, "http", "paint", "total"]
    medians = [statistics.median(row[name] for row in rows) for name in names]
    rest = statistics.median(sum(row[n] for n in STAGES if n != "model") for row in rows)
    cells = [str(threads), f"{size[0]}x{size[1]}", *(f"{m:.1f}" for m in [*medians, rest])]
    print(" | ".join(f"{cell:>11}" for cell in cells), flush=True)


def measure(threads: int, count: int) -> Mapping[tuple[int, int], list[Row]]:
    """Draw `count` boxes on each photo and take the time of each."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        make_project(data)
        with serve(data, threads) as url, sync_playwright() as playwright:
            path = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(url)
            decode = decode_times(data)
            rows = {}
            for number, size in enumerate(SIZES, start=1):
                page.wait_for_function(f"window.malCanvas && {STATE}.image_id === {number}")
                boxes = draw_boxes(page, size, count)
                rows[size] = [{**row, "decode": decode[size]} for row in boxes]
                page.locator(".mal-studio canvas").first.focus()
                page.keyboard.press("PageDown")
            browser.close()
    return rows


def make_project(data: Path) -> None:
    """A project with one photo in both sizes."""
    settings = Settings(data_dir=data)
    data.mkdir(parents=True)
    store = Store(settings.database)
    with Intake(settings) as intake:
        library = Library(settings, store, intake)
        library.prepare_model()
        project = library.add_project("Latency")
        photo = Image.fromarray(skimage.data.coffee())
        paths = [data / f"{width}x{height}.jpg" for width, height in SIZES]
        for path, size in zip(paths, SIZES, strict=True):
            photo.resize(size, Image.Resampling.BICUBIC).save(path, quality=92)
        for step in library.add_files(project.id, paths):
            assert step.added, step.line
    store.close()


def decode_times(data: Path) -> Mapping[tuple[int, int], float]:
    """Milliseconds to decode each stored photo; the studio does it once, when the image opens."""
    settings = Settings(data_dir=data)
    store = Store(settings.database)
    times = {}
    for summary in store.list_images(store.list_projects()[0].id):
        begin = time.perf_counter()
        pixels = load_image(settings, summary.image)
        times[pixels.shape[1], pixels.shape[0]] = 1000 * (time.perf_counter() - begin)
    store.close()
    return times


@contextmanager
def serve(data: Path, threads: int) -> Iterator[str]:
    """The studio as a user starts it, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--data-dir", str(data), "--port", str(port)]
    command += ["--backend", "torch"]  # no export on the cores that are measured
    server = subprocess.Popen([*command, "--threads", str(threads)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(url, timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait()


def draw_boxes(page: Page, size: tuple[int, int], count: int) -> Iterator[Row]:
    """Drag boxes of many sizes; the first ones warm up and are not counted."""
    random = np.random.default_rng(0)
    before = len(page.evaluate(STATE)["instances"])
    corner = page.locator(".mal-studio canvas").first.bounding_box()
    assert corner is not None
    for index in range(WARM_UP + count):
        view = page.evaluate(STATE)["view"]
        share = random.uniform(0.15, 0.6, 2)
        start = random.uniform(0, 1 - share)
        page.keyboard.press("b")
        for step, point in enumerate((start, start + share)):
            x = corner["x"] + view["x"] + point[0] * size[0] * view["scale"]
            y = corner["y"] + view["y"] + point[1] * size[1] * view["scale"]
            page.mouse.move(x, y, steps=4)
            (page.mouse.up if step else page.mouse.down)()
        page.wait_for_function(f"{STATE}.instances.length === {before + index + 1}")
        page.wait_for_function(f"!{STATE}.placeholders.length && !{STATE}.pending")
        page.wait_for_timeout(100)
        if index >= WARM_UP:
            yield to_row(page.evaluate(STATE)["last_proposal"])


def to_row(timing: Mapping[str, str | float]) -> Row:
    """Stages of one box in milliseconds; HTTP is what the browser saw beyond the server's own."""
    stages = {n: float(ms) for n, ms in re.findall(r"(\w+);dur=([\d.]+)", str(timing["server"]))}
    request, total = float(timing["request_ms"]), float(timing["total_ms"])
    row = {name: stages[name] for name in STAGES}
    http = request - sum(stages.values())
    return {**row, "http": http, "paint": total - request, "total": total}


if __name__ == "__main__":
    main()
