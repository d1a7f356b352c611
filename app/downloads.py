"""Routes by which a browser saves files: exports, and weights; by a link, so without page token."""

import re
from pathlib import Path

from fastapi.responses import FileResponse

from app.access import Right
from app.api import Api
from app.errors import NotFound
from app.registry import Registry
from app.settings import Settings
from app.store import Store


class Downloads:
    """Adds its routes to those of the canvas."""

    def __init__(self, api: Api, settings: Settings, store: Store, registry: Registry) -> None:
        self._settings, self._store, self._registry = settings, store, registry
        api.add("GET", "/export/{project_id}/{name}", self.export, Right.EXPORT, by_page=False)
        api.add("GET", "/weights/{model_id}", self.weights, Right.EXPORT, by_page=False)

    def export(self, project_id: int, name: str) -> FileResponse:
        """A finished export of the project."""
        path = self._settings.exports / name
        if not re.fullmatch(rf"project-{project_id}-[\w-]+\.zip", name) or not path.is_file():
            raise NotFound(f"there is no export {name!r:.100}; make it anew")
        return FileResponse(path, filename=name)

    def weights(self, model_id: int) -> FileResponse:
        """The weights of a model, under their hash."""
        model = self._store.get_model(model_id)
        if not self._registry.has_weights(model):
            raise NotFound(f"the weights of {model.name!r} were removed")
        path = self._registry.path_of(model)
        return FileResponse(path, filename=path.name)


def export_address(project_id: int, path: Path) -> str:
    """Where a browser finds an export."""
    return f"/mal/export/{project_id}/{path.name}"


def weights_address(model_id: int) -> str:
    """Where a browser finds a model's weights."""
    return f"/mal/weights/{model_id}"
