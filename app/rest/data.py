"""Projects, categories, images, imports and exports, for programs."""

from collections.abc import Mapping
from threading import BoundedSemaphore
from typing import Annotated, Any

import anyio
from fastapi import Query, Request, Response
from fastapi.responses import FileResponse

from app import wire
from app.access import Access, Right
from app.downloads import Downloads
from app.errors import Busy
from app.exchange import FORMATS, ExportReport
from app.library import Library
from app.programs import Programs
from app.rest.door import Door
from app.rest.streams import Receiver
from app.store import Store

LONG_ACTS = 2  # imports and exports at the same time
BODY: Mapping[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
FileName = Annotated[str, Query(max_length=255, description="what the file is called")]


class Data:
    """The routes; each is one call of a use case."""

    def __init__(
        self,
        store: Store,
        access: Access,
        library: Library,
        programs: Programs,
        receiver: Receiver,
        downloads: Downloads,
    ) -> None:
        self._downloads = downloads
        self._store, self._access = store, access
        self._library, self._programs, self._receiver = library, programs, receiver
        self._places = BoundedSemaphore(LONG_ACTS)

    def add_to(self, door: Door) -> None:
        """Add the routes."""
        one = "/projects/{project_id}"
        door.add("GET /projects", self.projects, None, wire.Projects)
        door.add("POST /projects", self.add_project, Right.SERVE, wire.Project, status_code=201)
        door.add(f"GET {one}", self.project, Right.VIEW, wire.Project)
        door.add(f"GET {one}/categories", self.categories, Right.VIEW, wire.Categories)
        door.add(f"POST {one}/categories", self.add_category, Right.MANAGE, wire.Category)
        door.add(f"GET {one}/images", self.images, Right.VIEW, wire.Images)
        door.add(
            f"POST {one}/images", self.upload, Right.MANAGE, wire.Upload, (413, 429, 507),
            streams=True, openapi_extra=BODY,
        )  # fmt: skip
        door.add(
            f"POST {one}/imports", self.bring, Right.MANAGE, wire.ImportReport, (413, 429, 507),
            streams=True, openapi_extra=BODY,
        )  # fmt: skip
        door.add("GET /formats", self.formats, None, wire.Formats)
        door.add(
            f"POST {one}/exports", self.export, Right.EXPORT, wire.Export, (429, 507),
            status_code=201,
        )  # fmt: skip
        door.add(
            f"GET {one}/exports/{{name}}", self._downloads.export, Right.EXPORT, None,
            response_class=FileResponse,
        )  # fmt: skip

    def projects(self, request: Request) -> Mapping[str, Any]:
        """The projects you have a role in."""
        return {"projects": self._access.projects(request.state.caller)}

    def add_project(self, body: wire.NewProject, request: Request) -> object:
        """Make a project; the studio's bundled model proposes for it."""
        self._access.check_studio(request.state.caller)
        return self._library.add_project(body.name, body.categories)

    def project(self, project_id: int) -> object:
        """One project."""
        return self._store.get_project(project_id)

    def categories(self, project_id: int) -> Mapping[str, Any]:
        """The categories of a project."""
        return {"categories": self._store.list_categories(project_id)}

    def add_category(self, project_id: int, body: wire.NewCategory) -> object:
        """Add a category, or find the one of that name."""
        return self._store.add_category(project_id, body.name)

    def images(self, project_id: int, request: Request) -> Mapping[str, Any]:
        """The images of a project, each with its counts."""
        summaries = self._store.list_images(project_id, request.state.person)
        return {"images": [vars(s.image) | {"counts": s.counts} for s in summaries]}

    async def upload(self, project_id: int, request: Request, file_name: FileName) -> object:
        """Take an image in, or the images of a zip; the body is the file.

        JPEG, PNG, WEBP, BMP and TIFF are decoded in a process with little memory and re-encoded.
        The same file is taken once a project: asked again, the answer names the same image.
        """
        async with self._receiver.body(request, file_name) as path:
            act = self._programs.upload
            return await anyio.to_thread.run_sync(act, project_id, path, file_name)

    async def bring(
        self,
        project_id: int,
        request: Request,
        file_name: FileName,
        format: Annotated[str, Query(max_length=40)] = "coco",  # noqa: A002 - the address's word
        dry_run: bool = False,
    ) -> object:
        """Import boxes and masks of a data set, with or without its images: all of it, or nothing.

        The body is a file or a zip. With `dry_run` nothing is written, and the report says what
        would come in, the problems included; without, a problem answers 422 with all of them.
        """
        person = request.state.person

        def act() -> object:
            with self._place():
                return self._programs.import_files(
                    project_id, format, path, person, dry_run=dry_run
                )

        async with self._receiver.body(request, file_name) as path:
            return await anyio.to_thread.run_sync(act)

    def formats(self) -> Mapping[str, Any]:
        """Every format of imports and exports."""
        return {"formats": [*FORMATS.values()]}

    def export(
        self, project_id: int, body: wire.NewExport, request: Request, response: Response
    ) -> object:
        """Make a zip of a project's masks that is read back before you get it.

        `Location` says where it is downloaded.
        """
        with self._place():
            report = self._programs.export(project_id, body, request.state.person)
        response.headers["Location"] = f"/mal/v1/projects/{project_id}/exports/{report.path.name}"
        return _to_wire(report)

    def _place(self) -> "_Place":
        return _Place(self._places)


class _Place:
    """A place among few; who finds none is told to come back."""

    def __init__(self, places: BoundedSemaphore) -> None:
        self._places = places

    def __enter__(self) -> None:
        """Take it.

        Raises:
            Busy: there is none.
        """
        if not self._places.acquire(blocking=False):
            raise Busy("other imports or exports are at work: try again in a moment")

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._places.release()


def _to_wire(report: ExportReport) -> Mapping[str, Any]:
    return vars(report) | {"name": report.path.name}
