"""The routes, their schema and docs/api.md say the same."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.manual import MARK, PAGE, to_markdown
from tests.studio.conftest import Studio
from tests.studio.programs import opened


@pytest.fixture
def schema(studio: Studio) -> Iterator[dict[str, Any]]:
    with opened(studio) as door:
        yield door.schema


def acts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, act in methods.items():
            yield f"{method.upper()} {path}", act


def test_the_page_is_what_the_schema_says(schema: dict[str, Any]) -> None:
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[2].lstrip("\n")
    assert written == to_markdown(schema), "run: python -m app.manual"


def test_every_route_says_what_it_does_and_how_it_refuses(schema: dict[str, Any]) -> None:
    assert len(list(acts(schema))) == 36
    for name, act in acts(schema):
        assert act["description"], name
        assert {"401", "403", "404", "422", "503"} <= {*act["responses"]}, name
        for status, answer in act["responses"].items():
            if status >= "4":
                (shape,) = (media["schema"]["$ref"] for media in answer["content"].values())
                assert shape.endswith("/Failure"), name
        assert act["security"], name


def test_changes_of_an_instance_need_a_version_and_can_lose_a_race(schema: dict[str, Any]) -> None:
    changes = [act for name, act in acts(schema) if re.search("^(PUT|POST).*/instances/", name)]
    assert len(changes) == 3
    for act in changes:
        (header,) = (one for one in act["parameters"] if one["in"] == "header")
        assert (header["name"].lower(), header["required"]) == ("if-match", True)
        assert "409" in act["responses"]


def test_only_what_is_for_programs_is_documented(schema: dict[str, Any]) -> None:
    assert all(path.startswith("/mal/v1/") for path in schema["paths"])
