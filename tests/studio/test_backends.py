"""ONNX Runtime in the studio: made in the background, tried, and never in anybody's way."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from app import backends as module
from app.backends import Backends
from app.predictors import Predictors
from app.settings import Settings
from mal_core import checkpoint
from mal_core.errors import BackendError
from mal_core.predictor import Predictor

SHA = "5" * 64
WRITES = "open({out!r}, 'wb').write({data!r}); print('{{\"event\": \"saved\"}}')"
SECONDS = 300.0  # machines are busy; nothing here is about speed


@dataclass
class Asked:
    """Stands for a predictor: notes what it was given, and believes every file but a bad one."""

    is_on_cpu: bool = True
    files: list[bytes] = field(default_factory=list)
    checkpoint: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(sha256=SHA))

    def hasten(self, exported: Path, backend: str) -> None:
        assert backend == "auto"
        self.files.append(exported.read_bytes())
        if self.files[-1] == b"bad":
            raise BackendError("it answers otherwise")


class Studio:
    """A data folder with one model, and an export that is a script of the test's."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.backends = Backends(self.settings)
        self.runs = 0
        self.script = ""
        self.weights = self.settings.models / f"{SHA}.safetensors"
        self.exported = self.settings.exported / f"{SHA}.onnx"
        self.settings.models.mkdir()
        self.weights.touch()

    def command(self, weights: Path, exported: Path) -> list[str]:
        assert (weights, exported) == (self.weights, self.exported)
        self.runs += 1
        return [sys.executable, "-c", self.script]

    def makes(self, data: bytes) -> None:
        self.script = WRITES.format(out=str(self.exported), data=data)

    def there_is(self, data: bytes, name: str = f"{SHA}.onnx") -> Path:
        self.settings.exported.mkdir(exist_ok=True)
        path = self.settings.exported / name
        path.write_bytes(data)
        return path

    def hasten(self, asked: Asked) -> None:
        thread = self.backends.hasten(cast(Predictor, asked), self.weights)
        assert thread is not None
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    made = Studio(tmp_path)
    monkeypatch.setattr(module, "_command", made.command)
    monkeypatch.setattr(module, "is_installed", lambda: True)
    monkeypatch.setattr(module, "missing_libraries", list)
    return made


def test_what_is_missing_is_exported_once_and_used(studio: Studio) -> None:
    studio.makes(b"good")
    asked = Asked()
    studio.hasten(asked)
    assert (asked.files, studio.runs) == ([b"good"], 1)
    studio.hasten(asked)
    assert (asked.files, studio.runs) == ([b"good", b"good"], 1)


def test_a_file_that_is_not_believed_is_exported_anew(studio: Studio) -> None:
    studio.there_is(b"bad")
    studio.makes(b"good")
    asked = Asked()
    studio.hasten(asked)
    assert (asked.files, studio.runs) == ([b"bad", b"good"], 1)


def test_an_export_that_is_not_believed_either_is_the_end_of_it(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    studio.there_is(b"bad")
    studio.makes(b"bad")
    asked = Asked()
    studio.hasten(asked)
    assert (asked.files, studio.runs) == ([b"bad", b"bad"], 1)
    assert "it answers otherwise: torch goes on answering" in caplog.text


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("raise SystemExit('no disk left')", "status 1: no disk left", id="told"),
        pytest.param("raise SystemExit(3)", "status 3: no word", id="silent"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "status -9: no word", id="killed"),
        pytest.param("print('hello')", "no event but 'hello", id="babbling"),
        pytest.param('print(\'{"event": "saved"}\')', "No such file", id="nothing-made"),
    ],
)
def test_an_export_that_fails_is_told_to_the_log(
    studio: Studio, caplog: pytest.LogCaptureFixture, script: str, words: str
) -> None:
    studio.script = script
    asked = Asked()
    studio.hasten(asked)
    assert asked.files == []
    assert words in caplog.text
    assert "torch goes on answering" in caplog.text


def test_without_the_exporter_s_libraries_a_file_that_is_there_is_used(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "missing_libraries", lambda: ["onnx"])
    asked = Asked()
    studio.hasten(asked)
    assert "the export needs onnx" in caplog.text
    studio.there_is(b"good")
    studio.hasten(asked)
    assert (asked.files, studio.runs) == ([b"good"], 0)


def test_what_was_exported_from_weights_that_are_gone_goes(studio: Studio) -> None:
    mine, other = studio.there_is(b"good"), studio.there_is(b"x", f"{'6' * 64}.onnx")
    half = studio.there_is(b"ha", f".{SHA}.onnx-1a2b3c")  # of an export that was killed
    studio.hasten(Asked())
    assert mine.exists()
    assert not other.exists()
    assert not half.exists()


@pytest.mark.parametrize("why", ["not wanted", "not on a CPU", "not installed"])
def test_where_torch_must_answer_nothing_is_done(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "not wanted":
        studio.backends = Backends(replace(studio.settings, backend="torch"))
    if why == "not installed":
        monkeypatch.setattr(module, "is_installed", lambda: False)
    asked = Asked(is_on_cpu=why != "not on a CPU")
    assert studio.backends.hasten(cast(Predictor, asked), studio.weights) is None
    assert not studio.settings.exported.exists()


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_studio_that_closes_ends_its_export_and_begins_no_other(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    studio.script = "import time; time.sleep(600)"
    asked = Asked()
    thread = studio.backends.hasten(cast(Predictor, asked), studio.weights)
    assert thread is not None
    wait_for(lambda: studio.backends._child is not None)
    studio.backends.close()
    thread.join(SECONDS)
    assert not thread.is_alive()
    studio.makes(b"good")
    studio.hasten(asked)
    assert (asked.files, studio.runs) == ([], 1)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.slow
def test_weights_in_use_come_to_answer_by_onnx_runtime_while_torch_answers(
    tmp_path: Path, tiny_weights: Path
) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu", threads=1, backend="onnx")
    sha256 = checkpoint.keep(tiny_weights, settings.models)
    backends = Backends(settings)
    predictor = Predictors(settings, backends).of(sha256, "tiny")
    assert predictor.backend == "torch"
    wait_for(lambda: predictor.backend == "onnx")
    assert (settings.exported / f"{sha256}.onnx").exists()
    backends.close()
