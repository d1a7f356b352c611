"""Fixtures: a studio with users, what its pages may call, and the pages themselves, unserved."""

from collections.abc import Iterator
from typing import Any

import anyio
import gradio as gr
import pytest

from app import ui
from app.access import Access
from app.accounts import Accounts
from app.again import Again
from app.batch import Batch
from app.chronicle import Chronicle
from app.health import Health
from app.jobs import Jobs
from app.pages.house import House
from app.registry import Registry
from tests.studio.conftest import NOW, Studio
from tests.studio.team import Team, make_team


@pytest.fixture
def team(studio: Studio) -> Team:
    return make_team(studio)


@pytest.fixture
def house(team: Team) -> Iterator[House]:
    """What the pages may call."""
    studio = team.studio
    library, intake = studio.library()
    again = Again(studio.settings, studio.store, studio.workflow)
    parts = (again, Batch(studio.settings, studio.store, studio.workflow))
    jobs = Jobs(studio.settings, studio.store, studio.workflow, again)
    registry = Registry(studio.store, studio.workflow, again)
    health = Health(studio.settings, studio.store, lambda: NOW)
    access, accounts = Access(studio.store), Accounts(studio.store)
    yield House(
        studio.store, studio.workflow, library, jobs, *parts, registry, health, studio.sessions,
        access, accounts, Chronicle(studio.store, lambda: NOW),
    )  # fmt: skip
    for part in (jobs, *parts, intake):
        part.close()


@pytest.fixture
def pages(house: House) -> gr.Blocks:
    async def build() -> gr.Blocks:  # within a running event loop; else Gradio makes some
        return ui.build(house)

    return anyio.run(build)


@pytest.fixture
def handlers(pages: gr.Blocks) -> list[Any]:
    """Every function that an event of the pages can call."""
    return [fn.fn for fn in pages.fns.values() if fn.fn is not None]
