"""A studio as programs see it: the routes under /mal/v1/ behind the entrance, without pages."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.access import Access
from app.accounts import Accounts
from app.api import Api
from app.batch import Batch
from app.chronicle import Chronicle
from app.client import Client
from app.downloads import Downloads
from app.logbook import Logbook
from app.merging import Merging
from app.people import Role
from app.registry import Registry
from app.rest import Parts, programs_router, schema_of
from app.review import Review
from tests.studio.conftest import HOST, NOW, Studio, make_app
from tests.studio.test_logins import CHEAP
from tests.studio.trainer import open_jobs

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Door:
    """The app, and ways to it."""

    studio: Studio
    app: FastAPI
    http: TestClient
    schema: dict[str, Any]

    def client(self, token: str = "") -> Client:
        """The client for programs, without a network between."""
        through = httpx.MockTransport(self._answer)
        return Client(f"http://{HOST}", token, sleep=lambda _: time.sleep(0.01), transport=through)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """Carry a request over to the app, which may be tested with another httpx."""
        headers, url = dict(request.headers), str(request.url)
        told = self.http.request(request.method, url, content=request.read(), headers=headers)
        return httpx.Response(told.status_code, content=told.content, headers=dict(told.headers))

    def token(self, name: str, role: Role | None = None, *, is_admin: bool = False) -> str:
        """A token of a new user."""
        accounts = Accounts(self.studio.store, CHEAP)
        user = accounts.add_user(name, PASSWORD, is_admin=is_admin, by="test")
        if role is not None:
            accounts.set_role(self.studio.project.id, user.id, role, "test")
        return accounts.make_token(user.id, "test", 1, "test")


@contextmanager
def opened(studio: Studio) -> Iterator[Door]:
    """The routes, with jobs that run."""
    store, workflow, settings = studio.store, studio.workflow, studio.settings
    library, intake = studio.library()
    jobs, again = open_jobs(studio)
    batch = Batch(settings, store, workflow)
    registry, api = Registry(store, workflow, again), Api(workflow, studio.sessions)
    downloads = Downloads(api, settings, store, registry)
    Logbook(api, Chronicle(store, lambda: NOW), Merging(store, lambda: NOW))
    review, access = Review(store, lambda: NOW), Access(store)
    parts = Parts(settings, store, workflow, library, review, jobs, again, batch, registry,
                  access, api, downloads)  # fmt: skip
    app = make_app(studio, api)
    router = programs_router(parts)
    app.include_router(router)
    with intake, TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as http:
        yield Door(studio, app, http, schema_of(router))
    for part in (jobs, again, batch):
        part.close()
