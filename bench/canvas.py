"""How fast the canvas follows the hand, on images of 0.3, 12 and 100 megapixels.

Starts the studio on a folder of its own and drives headless Chromium (software rendering). A
listener in the page notes for each pointer or wheel event four steps, in milliseconds:

    wait    from the event's own time stamp until the page hears of it: queue, and the next frame
    handle  the studio's listeners: the brush stamps the mask
    paint   the studio's frame: draws the canvas and the panels
    browser style, layout, rasterising and handing over, until the page is free again

    python bench/canvas.py [--moves 240] [--only "100 MP"] [--profile]

Budgets: stroke p95 <= 16 ms at 640x480, <= 33 ms at 12 MP; heap <= 300 MB with 300 masks.
"""

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, as the launcher does

import numpy as np
from playwright.sync_api import CDPSession, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.canvas_data import SUBJECTS, Subject, make_project  # noqa: E402
from bench.latency import FLAGS, STATE, serve  # noqa: E402

STEPS = ("wait", "handle", "paint", "browser", "total")
RECORDER = """() => {
  const rows = [];
  window.rows = rows;
  let heard = null;
  for (const name of ["pointermove", "wheel"]) {
    window.addEventListener(name, () => { heard ??= performance.now(); }, {capture: true});
    window.addEventListener(name, (event) => {
      const [begin, handled] = [heard, performance.now()];
      heard = null;
      requestAnimationFrame(() => {
        const painted = performance.now();
        const channel = new MessageChannel();
        channel.port1.onmessage = () => {
          const end = performance.now();
          rows.push({wait: begin - event.timeStamp, handle: handled - begin,
            paint: painted - handled, browser: end - painted, total: end - event.timeStamp});
        };
        channel.port2.postMessage(null);
      });
    });
  }
}"""
OPEN = """async (id) => {
  const begin = performance.now();
  await window.malCanvas.open(id);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begin;
}"""
Row = Mapping[str, float]


def main() -> None:
    """Measure every subject and print a table for each act."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=240, help="pointer events of each act")
    parser.add_argument("--only", nargs="+", help="names of subjects")
    parser.add_argument("--profile", action="store_true", help="self time by function, strokes")
    arguments = parser.parse_args()
    chosen = [s for s in SUBJECTS if not arguments.only or s.name in arguments.only]
    load = os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, load {load:.1f} at the start")
    print("milliseconds, median / p95 of each step; cpu: of the page's main thread, mean an event")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        ids = make_project(data)
        with serve(data, 1) as url:
            for subject in chosen:
                measure(url, subject, ids[subject.name], arguments.moves, profile=arguments.profile)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def measure(url: str, subject: Subject, image_id: int, moves: int, *, profile: bool) -> None:
    """One fresh browser for a subject: open it, draw, pan, zoom, and look at its memory."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        flags = [*FLAGS, "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.wait_for_function(f"window.malCanvas && {STATE}.image_id")
        page.wait_for_timeout(1000)
        opened = page.evaluate(OPEN, image_id)
        print(f"\n{subject.name}: opened in {opened:.0f} ms", flush=True)
        page.wait_for_timeout(3000)  # what was fetched after the opening is here
        page.evaluate(RECORDER)
        session = page.context.new_cdp_session(page)
        hand = Hand(page, session)
        hand.take_brush()
        acts = {"stroke": hand.stroke, "pan": hand.pan, "zoom": hand.zoom}
        for name, act in acts.items():
            if profile:
                print_profile(session, name, lambda act=act: act(moves))
            else:
                print_row(name, *hand.record(act, moves))
        hand.close_up()
        print_row("stroke 1:1", *hand.record(hand.stroke, moves))
        print_row("pan 1:1", *hand.record(hand.pan, moves))
        print_memory(session, page)
        browser.close()


class Hand:
    """A hand on the canvas; between its moves it waits as long as a hand would."""

    def __init__(self, page: Page, session: CDPSession) -> None:
        self._page = page
        self._session = session
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._random = np.random.default_rng(0)
        corner = page.locator(".mal-studio canvas").first.bounding_box()
        assert corner is not None
        self._corner = corner

    def take_brush(self) -> None:
        """Select the first mask and take a brush as thick as a finger on screen."""
        self._key("n", "p")
        for _ in range(60):
            state = self._page.evaluate(STATE)
            if state["radius"] * state["scale"] >= 10:
                break
            self._key("]")

    def close_up(self) -> None:
        """Zoom in until an image pixel fills a screen pixel or more."""
        for _ in range(30):
            if self._page.evaluate(STATE)["scale"] >= 1:
                break
            self._key("+")
        self._page.wait_for_timeout(2000)

    def record(self, act: Callable[[int], None], moves: int) -> tuple[list[Row], float]:
        """The steps of each event of an act, and the CPU time of the page's thread an event."""
        self._page.evaluate("window.rows.length = 0")
        before = self._busy_ms()
        act(moves)
        self._page.wait_for_timeout(300)
        rows: list[Row] = self._page.evaluate("window.rows")
        return rows, (self._busy_ms() - before) / len(rows)

    def _busy_ms(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    def stroke(self, moves: int) -> None:
        """Strokes of 40 moves around the selected mask."""
        for start in range(0, moves, 40):
            at = self._middle()
            self._page.mouse.move(*at)
            self._page.mouse.down()
            for step in range(start, start + 40):
                angle = step / 6
                self._move(at[0] + 60 * np.cos(angle), at[1] + 45 * np.sin(angle) + step % 40)
            self._page.mouse.up()
            self._page.wait_for_timeout(300)

    def pan(self, moves: int) -> None:
        """Drag the image to and fro with the middle button."""
        x, y = self._centre()
        self._page.mouse.move(x, y)
        self._page.mouse.down(button="middle")
        for step in range(moves):
            self._move(x + 250 * np.sin(step / 12), y + 150 * np.sin(step / 19))
        self._page.mouse.up(button="middle")

    def zoom(self, moves: int) -> None:
        """Turn the wheel: in, and out again."""
        x, y = self._centre()
        self._page.mouse.move(x, y)
        for step in range(moves):
            self._page.mouse.wheel(0, -40 if step < moves / 2 else 40)
            self._pause()

    def _middle(self) -> tuple[float, float]:
        """The middle of the selected mask's box, on the page, and well inside the view."""
        state = self._page.evaluate(STATE)
        x0, y0, x1, y1 = next(i for i in state["instances"] if i["id"] == state["selected"])["box"]
        view, corner = state["view"], self._corner
        x = corner["x"] + view["x"] + (x0 + x1) / 2 * view["scale"]
        y = corner["y"] + view["y"] + (y0 + y1) / 2 * view["scale"]
        right, bottom = corner["x"] + corner["width"], corner["y"] + corner["height"]
        return (
            min(max(x, corner["x"] + 100), right - 100),
            min(max(y, corner["y"] + 100), bottom - 100),
        )

    def _centre(self) -> tuple[float, float]:
        corner = self._corner
        return corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2

    def _move(self, x: float, y: float) -> None:
        self._page.mouse.move(x, y)
        self._pause()

    def _pause(self) -> None:
        """At no fixed moment between two frames."""
        time.sleep(self._random.uniform(0.008, 0.04))

    def _key(self, *keys: str) -> None:
        self._page.locator(".mal-studio canvas").first.focus()
        for key in keys:
            self._page.keyboard.press(key)


def print_row(name: str, rows: Sequence[Row], cpu: float) -> None:
    """Median and p95 of each step; CPU time of the page's thread, the mean of an event."""
    cells = []
    for step in STEPS:
        values = [row[step] for row in rows]
        cells.append(f"{step} {statistics.median(values):.1f} / {np.percentile(values, 95):.1f}")
    print(f"  {name:<11} ({len(rows)}): {',  '.join(cells)},  cpu {cpu:.1f}", flush=True)


def print_profile(session: CDPSession, name: str, act: Callable[[], None]) -> None:
    """Where the page's main thread was, in milliseconds of self time."""
    session.send("Profiler.enable")
    session.send("Profiler.setSamplingInterval", {"interval": 200})
    session.send("Profiler.start")
    act()
    profile = session.send("Profiler.stop")["profile"]
    where = {node["id"]: node["callFrame"] for node in profile["nodes"]}
    spent: Counter[str] = Counter()
    for node, delta in zip(profile["samples"], profile["timeDeltas"], strict=True):
        frame = where[node]
        spent[f"{frame['functionName']}:{frame['lineNumber'] + 1}"] += delta
    for text, time_us in spent.most_common(16):
        print(f"  {name:<11} {time_us / 1000:8.1f}  {text}", flush=True)


def print_memory(session: CDPSession, page: Page) -> None:
    """What the page holds after a collection of garbage, in MB."""
    session.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = session.send("Runtime.getHeapUsage")
    own = page.evaluate("performance.memory.usedJSHeapSize")
    parts = {name: value / 2**20 for name, value in usage.items() if name != "totalSize"}
    text = ", ".join(f"{name} {value:.0f}" for name, value in parts.items())
    print(f"  memory (MB): performance.memory {own / 2**20:.0f}; {text}", flush=True)


if __name__ == "__main__":
    main()
