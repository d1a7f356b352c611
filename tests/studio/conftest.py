"""A whole studio but for its pages: three photos, two categories, and a tiny network."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.access import Access
from app.accounts import Accounts
from app.api import Api, install
from app.auth import Sessions
from app.desk import Desk
from app.entrance import Entrance
from app.health import Health
from app.images import Intake
from app.jobs import Jobs
from app.library import Library
from app.login import LoginRoutes
from app.records import Category, Draft, Image, Instance, Job, Project, Split, State
from app.review import Review
from app.settings import Settings
from app.store import Store
from app.together import Together
from app.workflow import Workflow
from mal_core import checkpoint
from mal_core.config import ModelConfig
from mal_core.masks import RLE, encode
from mal_core.model import MAL
from tests.studio.buckets import bucket, s3, s3_server
from tests.studio.databases import (
    BOTH,
    bare_databases,
    bare_place,
    copy_rows,
    database_kind,
    database_of,
    kind_of,
    leaf,
    new_database,
    one_place,
    place,
    postgresql,
    shared_database,
    store,
    tell_programs,
)
from tests.studio.nursery import Nursery, opened_nursery
from tests.studio.served import served
from tests.studio.trade import Trade
from tests.studio.trainer import TRAINER, open_jobs

__all__ = ["bare_databases", "bare_place", "bucket", "database_kind", "leaf"]  # fixtures
__all__ += ["new_database", "one_place", "place", "postgresql", "s3", "s3_server", "served"]
__all__ += ["shared_database", "store"]
NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
PHOTOS = Path(skimage.data.__file__).parent
HOST = "127.0.0.1:7860"
Elsewhere = Callable[[Path], Settings]
TINY = ModelConfig(dim=16, depth=2, heads=1, crop_size=64, registers=1)


@dataclass(frozen=True)
class Studio:
    """The parts under test, and what is in their data folder."""

    settings: Settings
    store: Store
    workflow: Workflow
    sessions: Sessions
    project: Project
    categories: list[Category]
    images: list[Image]

    def add(
        self, image: int = 0, state: State = State.PROPOSED, *, masked: bool = True
    ) -> Instance:
        """Store an instance on the image with this index."""
        draft = self.draft(image, state, masked=masked)
        return self.store.add_instance(self.images[image].id, draft, "Ada", "box", NOW)

    def draft(self, image: int = 0, state: State = State.PROPOSED, *, masked: bool = True) -> Draft:
        rle = blob(self.images[image]) if masked else None
        return Draft(state, self.categories[0].id, (10.0, 20.0, 60.0, 90.0), rle)

    def library(self) -> tuple[Library, Intake]:
        """The use cases around the canvas; the caller closes the intake."""
        intake = Intake(self.settings)
        return Library(self.settings, self.store, intake), intake


def blob(image: Image, x0: int = 12, y0: int = 25, size: int = 40) -> RLE:
    """A mask of one filled square."""
    square = np.ones((size, size), np.bool_)
    return encode(square, x0=x0, y0=y0, height=image.height, width=image.width)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where processes come from that a test will kill."""
    with opened_nursery() as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a network that answers nonsense at once."""
    return make_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors", seed=0)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """A data folder with three photos in it, never changed."""
    folder = tmp_path_factory.mktemp("prepared")
    studio = open_studio(Settings(data_dir=folder, weights=tiny_weights, device="cpu", threads=1))
    library, intake = studio.library()
    with intake:
        project = library.add_project("Photos", ["thing", "cat"])
        for _ in library.add_files(
            project.id, [PHOTOS / name for name in ("coffee.png", "chelsea.png", "rocket.jpg")]
        ):
            pass
    studio.store.close()
    return folder


@pytest.fixture(scope="session")
def prepared_rows(prepared: Path, postgresql: str) -> str:
    """Name of a PostgreSQL database that holds what the prepared folder's file does."""
    copy_rows(prepared / "studio.db", postgresql, "prepared")
    return "prepared"


@pytest.fixture
def studio(
    request: pytest.FixtureRequest,
    prepared: Path,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Studio]:
    """A studio on a copy of the prepared folder, and of its rows."""
    folder, rows = tmp_path / "data", "template"
    shutil.copytree(prepared, folder)
    if kind_of(request) == "postgresql":
        (folder / "studio.db").unlink()
        rows = request.getfixturevalue("prepared_rows")
    for url in database_of(request, rows):
        tell_programs(monkeypatch, url)
        settings = Settings(folder, url, weights=tiny_weights, device="cpu", threads=1)
        opened = open_studio(settings)
        yield opened
        opened.store.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Pass over what is about SQLite's file where the studios have none."""
    is_about_file = item.get_closest_marker("sqlite") is not None
    if is_about_file and item.config.getoption("--database") != "sqlite":
        pytest.skip("about the SQLite file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test that is marked `both` run on each database."""
    if metafunc.definition.get_closest_marker("both") is not None:
        metafunc.fixturenames.append("database_kind")
        metafunc.parametrize("database_kind", BOTH, indirect=True)


@pytest.fixture
def elsewhere(studio: Studio, bare_databases: Callable[[], str]) -> Elsewhere:
    """Settings of a studio that is to be made in another folder."""
    return lambda path: replace(studio.settings, data_dir=path, database_url=bare_databases())


@pytest.fixture
def api(studio: Studio) -> Api:
    made = Api(studio.workflow, studio.sessions)
    health = Health(studio.settings, studio.store, lambda: NOW)
    Desk(made, studio.store, Review(studio.store, lambda: NOW), health)
    Together(made, studio.store, lambda: NOW, Access(studio.store).may_review)
    return made


@pytest.fixture
def client(studio: Studio, api: Api) -> Iterator[TestClient]:
    """A page of the studio: it knows the host and has a token."""
    app = make_app(studio, api)
    with TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as opened:
        opened.headers["x-mal-session"] = studio.sessions.mint("Ada")
        yield opened


@pytest.fixture
def trade(tmp_path: Path, new_database: str) -> Iterator[Trade]:
    """A data folder of its own, to be filled with hard cases and sent through formats."""
    opened = Trade(tmp_path / "data", new_database)
    yield opened
    opened.store.close()


@pytest.fixture
def jobs(studio: Studio) -> Iterator[Jobs]:
    """Jobs of a studio with three accepted masks to learn from and two images that judge."""
    parts = (Split.TRAIN, Split.HELD_OUT, Split.HELD_OUT)
    splits = {image.id: part for image, part in zip(studio.images, parts, strict=True)}
    studio.store.set_splits(studio.project.id, splits)
    for index in (0, 0, 0, 1, 2):
        studio.add(index, State.ACCEPTED)
    opened, again = open_jobs(studio)
    yield opened
    opened.close()
    again.close()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """What a child will have learned."""
    return make_weights(tmp_path / "learned", seed=1)


@pytest.fixture
def child(studio: Studio, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives every job this script as its child."""

    def act(script: str) -> None:
        def command(_: Jobs, job: Job) -> list[str]:
            folder = str(studio.settings.jobs / str(job.id))
            arguments = [folder, str(weights), str(job.launches)]
            return [sys.executable, "-c", TRAINER + script, *arguments]

        monkeypatch.setattr(Jobs, "_command", command)

    return act


def make_app(studio: Studio, api: Api) -> FastAPI:
    """The routes behind the entrance, without Gradio's pages."""
    app, accounts = FastAPI(), Accounts(studio.store)
    install(app, api)
    LoginRoutes(accounts, studio.store, studio.sessions.cookie).install(app)
    app.add_middleware(
        Entrance,
        settings=studio.settings,
        store=studio.store,
        accounts=accounts,
        cookie=studio.sessions.cookie,
    )
    return app


def make_weights(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    checkpoint.save(MAL(TINY), path, {})
    return path


def open_studio(settings: Settings) -> Studio:
    """Open a data folder; its first project, if any, is the one under test."""
    store = Store(settings.database)
    workflow = Workflow(settings, store)
    studio = Studio(settings, store, workflow, Sessions(settings.data_dir / "secret"), *EMPTY)
    projects = store.list_projects()
    if not projects:
        return studio
    key = projects[0].id
    images = [summary.image for summary in store.list_images(key)]
    return replace(
        studio, project=projects[0], categories=store.list_categories(key), images=images
    )


EMPTY = (Project(0, "", 0, NOW), [], [])
