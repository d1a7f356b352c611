"""Puts the studio together: store, model, routes and pages in one FastAPI app."""

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime

import gradio as gr
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from app import ui
from app.access import Access
from app.accounts import Accounts
from app.again import Again
from app.api import Api, install
from app.auth import Sessions
from app.backends import Backends
from app.batch import Batch
from app.canvas import STATIC
from app.chronicle import Chronicle
from app.desk import Desk
from app.downloads import Downloads
from app.entrance import Entrance
from app.errors import NotAllowed, StudioError
from app.health import Health
from app.images import Intake
from app.jobs import Jobs
from app.library import Library
from app.logbook import Logbook
from app.login import LoginRoutes
from app.pages.house import House
from app.registry import Registry
from app.review import Review
from app.settings import Settings, is_loopback
from app.store import Store
from app.together import Together
from app.workflow import Workflow

log = logging.getLogger(__name__)
GOODBYE_SECONDS = 3  # an open page holds a connection that would never end by itself


def build_app(settings: Settings) -> FastAPI:
    """Open the data folder and build the web app on it.

    Raises:
        StudioError: the data folder cannot be used.
        CheckpointError: the bundled weights cannot be read.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(f"the data folder cannot be made: {error.strerror}") from error
    store = Store(settings.database)
    backends = Backends(settings)
    workflow = Workflow(settings, store, backends)
    intake = Intake(settings)
    again, batch = Again(settings, store, workflow), Batch(settings, store, workflow)
    jobs = Jobs(settings, store, workflow, again)
    registry = Registry(store, workflow, again)
    library = Library(settings, store, intake)
    health = Health(settings, store, lambda: datetime.now(UTC))
    sessions = Sessions(settings.data_dir / "secret")
    library.prepare()
    _recover(again, batch, jobs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        backends.close()
        jobs.close()
        again.close()
        batch.close()
        intake.close()
        store.close()

    chronicle = Chronicle(store, lambda: datetime.now(UTC))
    house = House(
        store, workflow, library, jobs, again, batch, registry, health, sessions,
        Access(store), Accounts(store), chronicle,
    )  # fmt: skip
    app = FastAPI(title=ui.TITLE, lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_routes(app, house, settings)
    return _mount_pages(app, house, settings)


def _add_routes(app: FastAPI, house: House, settings: Settings) -> None:
    """What is under /mal/, and the layer in front of everything."""
    store, accounts, cookie = house.store, house.accounts, house.sessions.cookie
    api = Api(house.workflow, house.sessions)
    Desk(api, store, Review(store, lambda: datetime.now(UTC)), house.health)
    Together(api, store, lambda: datetime.now(UTC), house.access.may_review)
    Downloads(api, settings, store, house.registry)
    Logbook(api, house.chronicle)
    install(app, api)
    LoginRoutes(accounts, store, cookie).install(app)
    app.mount("/mal/static", StaticFiles(directory=STATIC))
    app.add_middleware(Entrance, settings=settings, store=store, accounts=accounts, cookie=cookie)


def _mount_pages(app: FastAPI, house: House, settings: Settings) -> FastAPI:
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        ui.build(house),
        path="/",
        ssr_mode=False,
        theme=ui.THEME,
        css=ui.CSS,
        head=ui.HEAD,
        footer_links=[],
        show_error=True,
        max_file_size=settings.max_upload_bytes,
    )
    return mounted


def _recover(*parts: Again | Batch | Jobs) -> None:
    """Go on with the jobs of a former studio, unless another one on this folder does."""
    try:
        for part in parts:
            part.recover()
    except NotAllowed as error:
        log.warning("%s", error)


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Build the app and answer until told to stop.

    Args:
        settings: where and how.
        tell: called with the address once it answers there.

    Raises:
        StudioError: the port is taken, the data folder cannot be used, or others could reach the
            studio though nobody has to log in.
    """
    if not is_loopback(settings.host):
        check_public(settings)
    torch.set_num_threads(settings.threads)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        door = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        text = f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}"
        raise StudioError(f"{text}; choose another with --port") from error
    with door:
        config = uvicorn.Config(
            build_app(settings), log_level="warning", timeout_graceful_shutdown=GOODBYE_SECONDS
        )
        host = f"[{settings.host}]" if family is socket.AF_INET6 else settings.host
        tell(f"http://{host}:{door.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[door])


def check_public(settings: Settings) -> None:
    """Refuse to be reached by others where nobody has to log in.

    Raises:
        StudioError: there are no users.
    """
    where = settings.database
    if isinstance(where, str) or where.exists():
        with closing(Store(where)) as store:
            if store.has_users():
                return
    raise StudioError(
        f"host {settings.host} can be reached by others, and there are no users: anyone could"
        " change everything. Add yourself first: python app.py user add NAME"
    )
