"""Servers to be killed, as a nursery forks them; they print the address at which they answer."""

import socket
import sys
from pathlib import Path

import torch
import uvicorn

from app.api import Api
from app.settings import Settings
from tests.studio.conftest import make_app, open_studio


def settings_of(folder: str, weights: str) -> Settings:
    return Settings(
        Path(folder), port=0, weights=Path(weights), device="cpu", threads=1, backend="torch"
    )


def serve_routes(folder: str, weights: str) -> None:
    """The canvas's routes behind the entrance, in the server that the studio runs in."""
    torch.set_num_threads(1)
    studio = open_studio(settings_of(folder, weights))
    app = make_app(studio, Api(studio.workflow, studio.sessions))
    config = uvicorn.Config(app, log_config=None, access_log=False)
    door = socket.create_server(("127.0.0.1", 0))
    tell(f"http://127.0.0.1:{door.getsockname()[1]}")
    uvicorn.Server(config).run(sockets=[door])


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
