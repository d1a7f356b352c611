"""The routes for programs, under /mal/v1/, documented by OpenAPI; see docs/api.md."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from app.access import Access
from app.again import Again
from app.api import Api
from app.batch import Batch
from app.downloads import Downloads
from app.jobs import Jobs
from app.library import Library
from app.programs import Programs
from app.registry import Registry
from app.rest.data import Data
from app.rest.door import Door
from app.rest.streams import Receiver
from app.rest.team import Team
from app.rest.work import Work
from app.review import Review
from app.settings import Settings
from app.store import Store
from app.workflow import Workflow

__all__ = ["SCHEMA", "Parts", "programs_router", "schema_of"]
SCHEMA = "/mal/openapi.json"  # where it is served


@dataclass(frozen=True)
class Parts:
    """What the routes call."""

    settings: Settings
    store: Store
    workflow: Workflow
    library: Library
    review: Review
    jobs: Jobs
    again: Again
    batch: Batch
    registry: Registry
    access: Access
    api: Api
    downloads: Downloads


def programs_router(parts: Parts) -> APIRouter:
    """All routes for programs."""
    store, access, registry = parts.store, parts.access, parts.registry
    rounds = (parts.batch, parts.again)
    programs = Programs(
        store, parts.workflow, parts.library, parts.review, parts.jobs, rounds, registry
    )
    receiver = Receiver(parts.settings)
    door = Door(parts.api.guard)
    Data(store, access, parts.library, programs, receiver, parts.downloads).add_to(door)
    Work(store, access, parts.api, programs).add_to(door)
    Team(store, parts.api.guard).add_to(door)
    return door.router


def schema_of(router: APIRouter) -> dict[str, Any]:
    """What OpenAPI says of these routes; those of our own pages are between us and them."""
    return get_openapi(title="MAL Studio", version="1", routes=router.routes)
