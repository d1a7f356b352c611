"""The Library page: images in, categories, COCO in and out."""

from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from app.library import Step
from app.pages.house import LOCAL_PERSON, House, project_choices, shown, shown_steps
from app.pages.tables import (
    categories_table,
    describe_export,
    describe_import,
    images_table,
    report,
)
from mal_core.errors import BadDataset

IMAGE_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".zip"]
PROGRESS = gr.Progress()  # Gradio finds it as the default of a handler's argument


class LibraryPage:
    """Layout in three parts, and the handlers: what a button does, and what the page shows then."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.State, tab: gr.Tab) -> None:
        """Lay the page out and wire it.

        Args:
            house: what the page may call.
            project: the chosen project, shared by all pages.
            stamp: counts changes of the project; the canvas follows it.
            tab: the page is read anew whenever it is opened.
        """
        self._house = house
        self._project = project
        self._stamp = stamp
        self._images = gr.HTML(render=False)
        self._categories = gr.HTML(render=False)
        self._view = [self._images, self._categories]
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=300):
                self._lay_images()
                self._lay_project()
            with gr.Column(scale=2, min_width=300):
                self._lay_categories()
                self._lay_exchange()
        for change in (project.change, stamp.change, tab.select):
            change(self.show, project, self._view, show_progress="hidden")

    def _lay_images(self) -> None:
        gr.Markdown("### Images")
        with gr.Row():
            files = gr.File(
                label="Drop images or zips",
                file_count="multiple",
                file_types=IMAGE_TYPES,
                height=140,
            )
            folder = gr.File(label="Drop a folder", file_count="directory", height=140)
        samples = gr.Button("Add the sample photos", size="sm")
        added = gr.HTML()
        self._images.render()
        for source in (files, folder):
            source.upload(
                self.add_files, [self._project, source, self._stamp], [added, self._stamp, source]
            )
        samples.click(self.add_samples, [self._project, self._stamp], [added, self._stamp])

    def _lay_project(self) -> None:
        gr.Markdown("### Another project")
        with gr.Row(elem_classes="mal-line"):
            name = gr.Textbox(label="New project", placeholder="Name", scale=3)
            create = gr.Button("Create", scale=1, min_width=80)
        for event in (create.click, name.submit):
            event(self.create, name, [self._project, name])

    def _lay_categories(self) -> None:
        gr.Markdown("### Categories")
        self._categories.render()
        with gr.Row(elem_classes="mal-line"):
            category = gr.Textbox(label="New category", placeholder="Name", scale=3)
            add = gr.Button("Add", scale=1, min_width=80)
        for event in (add.click, category.submit):
            inputs = [self._project, category, self._stamp]
            event(self.add_category, inputs, [category, self._stamp])

    def _lay_exchange(self) -> None:
        gr.Markdown("### Import COCO boxes or masks")
        source = gr.File(
            label="COCO json for images of this project", file_types=[".json"], height=140
        )
        imported = gr.HTML()
        propose = gr.Button("Propose masks for boxes without one", size="sm")
        gr.Markdown("### Export COCO")
        proposals = gr.Checkbox(label="Include proposals nobody reviewed", value=False)
        pictures = gr.Checkbox(label="Include the images", value=False)
        export = gr.Button("Export", variant="primary")
        exported = gr.HTML()
        download = gr.DownloadButton("Download the checked zip", visible=False)
        known = [self._project, self._stamp]
        source.upload(
            self.import_coco, [self._project, source, self._stamp], [imported, self._stamp]
        )
        propose.click(self.propose_all, known, [imported, self._stamp])
        export.click(self.export, [self._project, proposals, pictures], [exported, download])

    @shown
    def show(self, project_id: int) -> tuple[str, str]:
        """The images and categories of a project."""
        store = self._house.store
        return (
            images_table(store.list_images(project_id)),
            categories_table(store.list_categories(project_id)),
        )

    @shown_steps
    def add_files(
        self, project_id: int, paths: list[str] | None, stamp: int, progress: gr.Progress = PROGRESS
    ) -> Iterator[tuple[str, int, None]]:
        """Take an upload in, telling how far it is; the drop zone is empty again after."""
        steps = self._house.library.add_files(project_id, [Path(path) for path in paths or []])
        yield *_finish(steps, stamp, progress), None

    @shown_steps
    def add_samples(
        self, project_id: int, stamp: int, progress: gr.Progress = PROGRESS
    ) -> Iterator[tuple[str, int]]:
        """Add the sample photos."""
        yield _finish(self._house.library.add_samples(project_id), stamp, progress)

    @shown_steps
    def propose_all(
        self, project_id: int, stamp: int, progress: gr.Progress = PROGRESS
    ) -> Iterator[tuple[str, int]]:
        """Propose masks for imported boxes."""
        steps = self._house.library.propose_all(project_id, LOCAL_PERSON)
        lines = [step.line for step in progress.tqdm(steps, unit="image") if step.line]
        title = "Proposed" if lines else "Every box has a mask already"
        yield report(title, lines, good=True), stamp + 1

    @shown
    def create(self, name: str) -> tuple[gr.Dropdown, str]:
        """Start a project and open it."""
        created = self._house.library.add_project(name)
        return project_choices(self._house, created.id), ""

    @shown
    def add_category(self, project_id: int, name: str, stamp: int) -> tuple[str, int]:
        """Add a category to the project."""
        self._house.store.add_category(project_id, name)
        return "", stamp + 1

    @shown
    def import_coco(self, project_id: int, path: str | None, stamp: int) -> tuple[str, int]:
        """Import a COCO file: all of it, or nothing."""
        if path is None:
            return "", stamp
        try:
            done = self._house.library.import_file(project_id, Path(path), LOCAL_PERSON)
        except BadDataset as error:
            return report("Nothing was imported", error.problems, good=False), stamp
        return report(*describe_import(done), good=not done.unmatched), stamp + 1

    @shown
    def export(
        self, project_id: int, proposals: bool, pictures: bool
    ) -> tuple[str, gr.DownloadButton]:
        """Write the export and hand it out with its proof."""
        done = self._house.library.export(
            project_id, include_proposals=proposals, include_images=pictures
        )
        return report(*describe_export(done), good=True), gr.DownloadButton(
            value=str(done.path), visible=True
        )


def _finish(steps: Iterator[Step], stamp: int, progress: gr.Progress) -> tuple[str, int]:
    """Go through an intake and report it."""
    taken = list(progress.tqdm(steps, unit="image"))
    added = sum(step.added for step in taken)
    lines = [step.line for step in taken if step.line]
    return report(f"{added} of {len(taken)} images added", lines, good=not lines), stamp + 1
