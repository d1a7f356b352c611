"""The launcher: settings from flags and variables, and a message where they cannot be used."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app import cli
from app.errors import StudioError
from app.settings import Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings the server was started with; it tells an address of its own."""
    started: list[Settings] = []

    def serve(settings: Settings, tell: Callable[[str], None]) -> None:
        started.append(settings)
        tell("http://127.0.0.1:2222")

    monkeypatch.setattr(cli, "serve", serve)
    return started


def test_flags_become_settings_and_win_over_variables(
    served: list[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAL_PORT", "1111")
    monkeypatch.setenv("MAL_DEVICE", "cpu")
    assert cli.main(["--port", "2222", "--data-dir", str(tmp_path), "--threads", "3"]) == 0
    assert served == [Settings(data_dir=tmp_path, port=2222, threads=3, device="cpu")]


def test_the_address_is_told(served: list[Settings], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "MAL Studio: http://127.0.0.1:2222" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["--host", "studio.example"], "host must be an address", id="a name"),
        pytest.param(["--port", "65536"], "port must be 0 to 65535", id="no such port"),
        pytest.param(["--threads", "0"], "threads must be 1", id="no threads"),
        pytest.param(["--device", "abacus"], "device must be one of", id="no such device"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_with_a_message(
    served: list[Settings], capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {text}")
    assert captured.out == ""
    assert served == []


def test_a_variable_that_is_no_setting_ends_with_a_message(
    served: list[Settings], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAL_PROT", "1")
    assert cli.main([]) == 1
    assert "MAL_PROT is not a setting" in capsys.readouterr().err


def test_what_a_person_can_mend_at_the_start_ends_with_a_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StudioError("this data folder was made by a newer studio")

    monkeypatch.setattr(cli, "serve", fail)
    assert cli.main([]) == 1
    assert capsys.readouterr().err == "error: this data folder was made by a newer studio\n"


def test_a_flag_that_is_no_number_is_refused(
    served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--port", "many"])
    assert "invalid int value" in capsys.readouterr().err
