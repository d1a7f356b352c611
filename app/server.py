"""Puts the studio together: store, model, routes and pages in one FastAPI app."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from types import FrameType

import gradio as gr
import torch
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.routing import Mount

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
from app.events import Events
from app.health import Health
from app.holding import hold
from app.images import Intake
from app.jobs import Jobs
from app.library import Library
from app.logbook import Logbook
from app.login import LoginRoutes
from app.logs import configure
from app.merging import Merging
from app.metrics import Metrics
from app.pages.house import House
from app.registry import Registry
from app.rest import SCHEMA, Parts, programs_router, schema_of
from app.review import Review
from app.settings import Settings, is_loopback
from app.store import Store
from app.together import Together
from app.vitals import Vitals
from app.watch import Drain, Watch
from app.workflow import Workflow

log = logging.getLogger(__name__)
GOODBYE_SECONDS = 3  # an open page holds a connection that would never end by itself


def build_app(settings: Settings) -> FastAPI:
    """Open the data folder and build the web app on it.

    Raises:
        StudioError: the data folder cannot be used.
        CheckpointError: the bundled weights cannot be read.
    """
    _make_folder(settings)
    store = Store(settings.database)
    backends, metrics = Backends(settings), Metrics()
    workflow = Workflow(settings, store, backends, metrics.labelled)
    intake = Intake(settings)
    again, batch = Again(settings, store, workflow), Batch(settings, store, workflow)
    jobs = Jobs(settings, store, workflow, again)
    registry = Registry(store, workflow, again)
    library = Library(settings, store, intake)
    health = Health(settings, store, lambda: datetime.now(UTC))
    sessions = Sessions(settings.data_dir / "secret")
    library.prepare()
    _recover(again, batch, jobs)

    accounts = Accounts(store)
    accounts.recall()
    chronicle = Chronicle(store, lambda: datetime.now(UTC))
    house = House(
        store, workflow, library, jobs, again, batch, registry, health, sessions,
        Access(store), accounts, chronicle,
    )  # fmt: skip
    lifespan = _until_the_end(backends, jobs, again, batch, intake, store)
    app = FastAPI(title=ui.TITLE, lifespan=lifespan, docs_url=None, redoc_url=None)
    api = _add_routes(app, house, settings, metrics)
    return _mount_pages(app, house, settings, api)


def _add_routes(app: FastAPI, house: House, settings: Settings, metrics: Metrics) -> Api:
    """What is under /mal/, and the layers in front of everything."""
    store, accounts, cookie = house.store, house.accounts, house.sessions.cookie
    workflow, access, registry = house.workflow, house.access, house.registry
    api, review = Api(workflow, house.sessions), Review(store, lambda: datetime.now(UTC))
    Desk(api, store, review, house.health)
    Together(api, store, lambda: datetime.now(UTC), access.may_review)
    downloads = Downloads(api, settings, store, registry)
    Logbook(api, house.chronicle, Merging(store, lambda: datetime.now(UTC)))
    install(app, api)
    parts = Parts(settings, store, workflow, house.library, review, house.jobs, house.again,
                  house.batch, registry, access, api, downloads)  # fmt: skip
    programs = programs_router(parts)
    app.include_router(programs)
    app.state.schema = schema_of(programs)
    app.add_api_route(SCHEMA, lambda: app.state.schema, include_in_schema=False)
    LoginRoutes(accounts, store, cookie).install(app)
    app.mount("/mal/static", StaticFiles(directory=STATIC))
    app.add_middleware(Events)
    app.add_middleware(Entrance, settings=settings, store=store, accounts=accounts, cookie=cookie)
    vitals = Vitals(settings, store, workflow, accounts, metrics, lambda: api.waiting)
    app.state.drain = Drain()  # for whoever serves the app
    app.add_middleware(Watch, vitals=vitals, drain=app.state.drain)
    return api


def _mount_pages(app: FastAPI, house: House, settings: Settings, api: Api) -> FastAPI:
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
    for route in mounted.routes:  # Gradio's own, which takes the uploads of pages
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            route.app.add_exception_handler(OSError, api.to_error)
    return mounted


def _until_the_end(
    *parts: Backends | Jobs | Again | Batch | Intake | Store,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What lets the parts go, in this order, when the app ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        for part in parts:
            part.close()

    return lifespan


def _recover(*parts: Again | Batch | Jobs) -> None:
    """Go on with the jobs of a former studio, unless another one on this folder does."""
    try:
        for part in parts:
            part.recover()
    except NotAllowed as error:
        log.warning("%s", error)


def _make_folder(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(f"the data folder cannot be made: {error.strerror}") from error


@contextmanager
def alone_on(settings: Settings) -> Iterator[None]:
    """Be the only studio on a data folder; on PostgreSQL there may be several.

    Raises:
        NotAllowed: another one serves it.
    """
    if isinstance(settings.database, str):
        yield
        return
    _make_folder(settings)
    text = f"another studio serves {settings.data_dir}: use that one, or end it first"
    held = hold(settings.data_dir / "studio.lock", text)
    try:
        yield
    finally:
        os.close(held)


def serve(settings: Settings, tell: Callable[[str], None]) -> None:
    """Build the app and answer until told to stop.

    Args:
        settings: where and how.
        tell: called with the address once it answers there.

    Raises:
        StudioError: the port is taken, the data folder cannot be used, or others could reach the
            studio though nobody has to log in.
        NotAllowed: another studio serves this data folder.
    """
    if not is_loopback(settings.host):
        check_public(settings)
    configure(settings.log_format, settings.data_dir)
    torch.set_num_threads(settings.threads)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        door = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        text = f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}"
        raise StudioError(f"{text}; choose another with --port") from error
    with door, alone_on(settings):
        app = build_app(settings)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=GOODBYE_SECONDS
        )
        host = f"[{settings.host}]" if family is socket.AF_INET6 else settings.host
        tell(f"http://{host}:{door.getsockname()[1]}")
        Server(config, app.state.drain).run(sockets=[door])


class Server(uvicorn.Server):
    """Told to stop once, it drains first; told twice, it ends at once."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        is_first = not self._drain.is_on
        self._drain.begin()
        super().handle_exit(sig, frame)
        self.should_exit = not is_first or self._drain.is_over

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now; asked ten times a second."""
        return await super().on_tick(counter) or self._drain.is_over


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
