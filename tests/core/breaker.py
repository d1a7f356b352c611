"""What a hostile file, or a hand with kill -9, does to the processes that label: for real, at will.

Python runs a module called sitecustomize at its start. Ours lets the decoder's own program die by
SIGSEGV of one content, and the worker's write down each image it answers.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLY = b"DEADLY" + bytes(100)
SITE = """
import os, signal, sys
program = " ".join(sys.orig_argv)
if "mal_core.decode" in program:
    import PIL.Image
    genuine = PIL.Image.open
    def trapped(file, **options):
        if file.getvalue().startswith(b"DEADLY"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return genuine(file, **options)
    PIL.Image.open = trapped
elif "mal_core.worker" in program:
    from mal_core.labeller import Labeller
    answer = Labeller._answer
    def noted(self, image, annotations):
        found = answer(self, image, annotations)
        log = os.open(os.environ["MAL_WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{annotations[0].image_id} {len(annotations)}\\n".encode())
        os.close(log)
        return found
    Labeller._answer = noted
"""


def arm(folder: Path) -> dict[str, str]:
    """The environment in which the decoder dies of DEADLY and workers write to folder/watch."""
    (folder / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": f"{folder}:{ROOT}", "MAL_WATCH": str(folder / "watch")}


def watched(folder: Path) -> list[tuple[int, int]]:
    """Each image that a worker answered, with its number of boxes, in order."""
    path = folder / "watch"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(image), int(boxes)) for image, boxes in map(str.split, lines)]


def descendants(root: int, words: str) -> list[int]:
    """Processes below `root` whose command line holds some words."""
    found: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        found[int(folder.name)] = (parent, line)
    below = {root}
    for _ in range(8):  # generations
        below |= {pid for pid, (parent, _) in found.items() if parent in below}
    return sorted(pid for pid in below - {root} if pid in found and words in found[pid][1])


def kill(pid: int) -> bool:
    """Kill -9; whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def shards_done(out: Path) -> int:
    """Shards beside a file that `label` is about to write."""
    return len(list(out.with_name(f"{out.name}.shards").glob("[!.]*")))


def wait_for(running: subprocess.Popen[bytes], out: Path, shards: int) -> bool:
    """Wait for so many shards; whether the program still runs then."""
    while running.poll() is None and shards_done(out) < shards:
        time.sleep(0.002)
    return running.poll() is None


def kill_some(
    running: subprocess.Popen[bytes], out: Path, victims: Iterable[str], chance: random.Random
) -> int:
    """Kill one process of each kind in turn, each after another shard is done; how many died."""
    kills = 0
    for words in victims:
        if wait_for(running, out, shards_done(out) + 1):
            time.sleep(chance.uniform(0, 0.03))
            found = descendants(running.pid, words)
            kills += bool(found) and kill(chance.choice(found))
    return kills
