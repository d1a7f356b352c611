"""What a role may not use is not offered to it; that it is refused is for test_access to tell."""

import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
from fastapi import Request
from gradio.context import LocalContext

from app.access import LOCAL, RIGHTS, Caller, Right
from app.pages.house import NEEDS, House
from app.pages.rights import GIVEN, needs, who_is
from tests.studio.houses import house, pages, team
from tests.studio.team import ROLES, Team

__all__ = ["house", "pages", "team"]  # fixtures


def test_every_control_is_marked_with_the_right_that_its_handler_needs(pages: gr.Blocks) -> None:
    marked = 0
    for fn in pages.fns.values():
        right, _ = getattr(fn.fn, NEEDS)
        for key, event in fn.targets:
            if right in GIVEN and event in ("click", "upload", "delete", "clear"):
                found = [mark for block in around(pages.blocks[key]) for mark in block.elem_classes]
                assert needs(right) in found, f"{fn.fn.__qualname__}: elem_classes=needs({right!r})"
                marked += 1
    assert marked > 30


def around(block: Any) -> Iterator[Any]:  # noqa: ANN401
    """A part of a page and those it lies in."""
    while block is not None:
        yield block
        block = block.parent


def test_the_page_says_what_a_person_may_not_do_and_nothing_where_there_are_no_users(
    house: House, team: Team
) -> None:
    def told(caller: Caller, project_id: int) -> set[str]:
        scope = {"type": "http", "state": {"caller": caller}}
        LocalContext.request.set(gr.Request(request=Request(scope)))
        html = str(who_is(house, project_id).value or "")
        LocalContext.request.set(None)
        return set(re.findall(r"mal-not-(\w+)", html))

    for name, role in ROLES.items():
        assert told(team.caller(name), 1) == set(Right) - RIGHTS[role]
        assert told(team.caller(name), team.other.id) == set(GIVEN)  # nothing of Eve's
    assert told(team.caller("Ada"), 1) == told(LOCAL, 1) == set()
