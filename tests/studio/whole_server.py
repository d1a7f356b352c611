"""The whole studio as `python app.py` serves it, Gradio's pages included, for a nursery to fork."""

from app.server import serve
from tests.studio.servers import settings_of, tell


def serve_all(folder: str, weights: str) -> None:
    serve(settings_of(folder, weights), tell)
