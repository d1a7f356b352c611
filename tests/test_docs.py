"""The README and the guides name every command, and every file they link to exists."""

import argparse
import re
from pathlib import Path

import pytest

from app.cli import build_parser as build_studio_parser
from app.settings import Settings
from mal_core.__main__ import build_parser

ROOT = Path(__file__).resolve().parent.parent
GUIDES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "weights").glob("*.md")]
PAGES = sorted(GUIDES)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    parser = build_parser()
    choices = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return sorted(name for group in choices if group for name in group)


@pytest.mark.parametrize("command", commands())
def test_the_readme_shows_each_command(command: str) -> None:
    assert f"python -m mal_core {command}" in README


def test_each_studio_flag_is_a_setting() -> None:
    flags = {action.dest for action in build_studio_parser()._actions} - {"help", "command"}
    assert flags <= set(Settings.__dataclass_fields__)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [x for x in links if not x.startswith("http") and not (page.parent / x).exists()]
    assert missing == []


def test_requirements_are_pinned() -> None:
    for name in ("requirements.txt", "requirements-extra.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        wanted = [line for line in lines if line and not line.startswith(("#", "-r "))]
        assert all(
            re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,]+\])?==[0-9.]+", line) for line in wanted
        )


OURS = re.compile(r"^(?:from|import) (?:app|mal_core|bench|tests)\b", re.MULTILINE)
SCRIPTS = [
    path
    for path in sorted((ROOT / "bench").glob("*.py"))
    if "__main__" in (text := path.read_text(encoding="utf-8")) and OURS.search(text)
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_bench_script_finds_the_project_from_any_folder(script: Path) -> None:
    before = OURS.split(script.read_text(encoding="utf-8"))[0]
    assert "sys.path.insert(0, str(ROOT))" in before
