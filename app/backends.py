"""ONNX Runtime for the predictors in use: made and tried in the background, while torch answers.

What is exported lies in a folder of its own, by the hash of the weights. It is derived: whatever
is missing, damaged or of an older program there is made anew, and what has lost its weights goes.
"""

import logging
import sys
from pathlib import Path
from threading import Lock, Thread

from app.children import Child
from app.settings import Settings
from mal_core.errors import BackendError, MALError
from mal_core.export import missing_libraries
from mal_core.predictor import Predictor
from mal_core.runtime import is_installed

LOG = "export.log"
log = logging.getLogger(__name__)


class Backends:
    """Hastens one predictor after the other; thread-safe.

    A child process at low priority exports, so that nobody waits for it, not even at the end.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = Lock()
        self._lock = Lock()
        self._child: Child | None = None
        self._is_closed = False

    def hasten(self, predictor: Predictor, weights: Path) -> Thread | None:
        """Let a predictor answer by ONNX Runtime as soon as that is known to be right and faster.

        Returns at once; where it cannot be had, the log says why and torch goes on answering.

        Args:
            predictor: with torch as its backend.
            weights: its checkpoint's file.

        Returns:
            The thread that sees to it; None where torch shall or must answer.
        """
        if self._settings.backend == "torch" or not (is_installed() and predictor.is_on_cpu):
            return None
        thread = Thread(target=self._hasten, args=(predictor, weights), daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """End an export that runs; there will be no other."""
        with self._lock:
            self._is_closed = True
            if self._child is not None:
                self._child.end()

    def _hasten(self, predictor: Predictor, weights: Path) -> None:
        sha256 = predictor.checkpoint.sha256
        try:
            with self._turn:
                self._settings.exported.mkdir(exist_ok=True)
                self._sweep()
                self._try(predictor, weights, self._settings.exported / f"{sha256}.onnx")
        except (MALError, OSError) as error:
            log.warning("%s: torch goes on answering", error)
        except Exception:
            log.exception("ONNX Runtime for %s: torch goes on answering", sha256)

    def _try(self, predictor: Predictor, weights: Path, exported: Path) -> None:
        """Use the file that is there; make it first where there is none, or no good one."""
        if exported.exists():
            try:
                return predictor.hasten(exported, self._settings.backend)
            except BackendError as error:
                log.info("%s: exported anew", error)
                exported.unlink()
        self._export(weights, exported)
        if not self._is_closed:
            predictor.hasten(exported, self._settings.backend)

    def _export(self, weights: Path, exported: Path) -> None:
        if missing := missing_libraries():
            raise BackendError(f"the export needs {' and '.join(missing)}")
        output = self._settings.exported / LOG
        with self._lock:
            if self._is_closed:
                return
            self._child = child = Child(_command(weights, exported), output)
        try:
            for _ in child.events(beat=lambda: None):
                pass
            code = child.wait()
        finally:
            child.end()
            with self._lock:
                self._child = None
        if code != 0 and not self._is_closed:
            words = output.read_text("utf-8", errors="replace").strip().splitlines() or ["no word"]
            raise BackendError(f"the export ended with status {code}: {words[-1]:.300}")

    def _sweep(self) -> None:
        """Remove what was exported from weights that are gone, and what a killed export left."""
        kept = {f"{path.stem}.onnx" for path in self._settings.models.glob("*.safetensors")}
        for path in self._settings.exported.iterdir():
            if path.name not in kept | {LOG}:
                path.unlink()


def _command(weights: Path, exported: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "mal_core", "export-onnx", "--json", "--threads", "1"),
        *("--weights", str(weights.resolve()), "--out", str(exported.resolve())),
    ]
