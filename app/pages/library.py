"""The Library page: images in, categories, boxes and masks in and out."""

from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from app.access import Right
from app.downloads import export_address
from app.exchange import FORMATS, Tell, reader_titles
from app.library import Step
from app.pages.assign import AssignSection
from app.pages.batch import BatchSection
from app.pages.house import (
    QUIET,
    SEND_FIRST,
    House,
    harmless,
    new_stamp,
    project_choices,
    shown,
)
from app.pages.rights import lacking, needs
from app.pages.tables import (
    categories_table,
    describe_export,
    describe_import,
    images_table,
    link,
    note,
    report,
)
from mal_core.errors import BadDataset

IMAGE_TYPES = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".zip"]
FOLDERS = "A dropped folder loses the names of its sub-folders; a zip keeps them."
LOOK_FIRST = "For images of this project, or with images. First you see what would come in."
THEIRS = "Admins of this project bring images, categories and masks in."
REPLACE = "Take the file's outlines where the project has others; the others stay in the history"
PROGRESS = gr.Progress()  # Gradio finds it as the default of a handler's argument
Told = tuple[str, float]  # a report, and the new stamp


class LibraryPage:
    """Layout in parts, and the handlers: what a button does, and what the page shows then."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay the page out and wire it.

        Args:
            house: what the page may call.
            project: the chosen project, shared by all pages.
            stamp: changes with the project; the canvas follows it.
            tab: the page is read anew whenever it is opened.
        """
        self._house = house
        self._project = project
        self._stamp = stamp
        self._changes = (project.change, stamp.change, tab.select)
        images, categories = gr.HTML(render=False), gr.HTML(render=False)
        old_name = gr.Dropdown(label="Category", choices=[], scale=2, render=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=300):
                self._lay_images(images)
                self._lay_projects()
            with gr.Column(scale=2, min_width=300):
                self._lay_categories(categories, old_name)
                with gr.Column(elem_classes=needs(Right.MANAGE)):
                    self._lay_import()
                BatchSection(house, project, stamp, tab)
                gr.Markdown("## Export")
                lacking(Right.EXPORT, "Reviewers and admins of this project take masks away.")
                with gr.Column(elem_classes=needs(Right.EXPORT)):
                    self._lay_export()
        AssignSection(house, project, stamp, tab)
        for change in self._changes:
            change(self.show, project, [images, categories, old_name], **QUIET)

    def _lay_images(self, images: gr.HTML) -> None:
        gr.Markdown("## Images")
        with gr.Row(elem_classes=needs(Right.MANAGE)):
            files = gr.File(
                label="Drop images or zips",
                file_count="multiple",
                file_types=IMAGE_TYPES,
                height=140,
            )
            folder = gr.File(label="Drop a folder", file_count="directory", height=140)
        gr.HTML(note(FOLDERS), elem_classes=needs(Right.MANAGE))
        samples = gr.Button("Add the sample photos", elem_classes=needs(Right.MANAGE))
        lacking(Right.MANAGE, THEIRS)
        added = gr.HTML()
        images.render()
        for source in (files, folder):
            outputs = [added, self._stamp, source]
            source.upload(self.add_files, [self._project, source], outputs)
        samples.click(self.add_samples, self._project, [added, self._stamp])

    def _lay_projects(self) -> None:
        gr.Markdown("## Projects", elem_classes=needs(Right.MANAGE))
        with gr.Row(elem_classes=["mal-line", needs(Right.MANAGE)]):
            name = gr.Textbox(label="Name of a project", placeholder="Name", scale=3)
            create = gr.Button("Create", scale=1, min_width=80, elem_classes=needs(Right.SERVE))
            rename = gr.Button("Rename this one", scale=1, min_width=200)
        for event in (create.click, name.submit):
            event(self.create, name, [self._project, name], queue=False)
        rename.click(self.rename, [self._project, name], [self._project, name], queue=False)

    def _lay_categories(self, categories: gr.HTML, old_name: gr.Dropdown) -> None:
        gr.Markdown("## Categories")
        categories.render()
        with gr.Column(elem_classes=needs(Right.MANAGE)):
            with gr.Row(elem_classes="mal-line"):
                name = gr.Textbox(label="New category", placeholder="Name", scale=3)
                add = gr.Button("Add", scale=1, min_width=80)
            with gr.Accordion("Rename a category", open=False), gr.Row(elem_classes="mal-line"):
                old_name.render()
                new_name = gr.Textbox(label="New name", placeholder="Name", scale=2)
                rename = gr.Button("Rename", scale=1, min_width=80)
        for event in (add.click, name.submit):
            event(self.add_category, [self._project, name], [name, self._stamp], queue=False)
        outputs = [new_name, self._stamp]
        rename.click(self.rename_category, [old_name, new_name], outputs, queue=False)

    def _lay_import(self) -> None:
        gr.Markdown("## Import boxes or masks")
        choices = list(reader_titles().items())
        kind = gr.Dropdown(choices=choices, value=choices[0][1], label="Format of the import")
        source = gr.File(label="Drop files or zips", file_count="multiple", height=140)
        gr.HTML(note(LOOK_FIRST))
        found = gr.HTML()
        replace = gr.Checkbox(label=REPLACE, visible=False)
        bring = gr.Button("Import", variant="primary", visible=False)
        inputs, outputs = [self._project, kind, source], [found, replace, bring]
        for event in (source.upload, source.delete, source.clear, kind.input):
            event(self.look, inputs, outputs, show_progress_on=found)
        replace.input(self.look, [*inputs, replace], outputs, show_progress_on=found)
        outputs = [*outputs, source]
        self._project.change(self.put_away, None, outputs, **QUIET)
        bring.click(
            self.bring,
            [*inputs, replace],
            [*outputs, self._stamp],
            js=SEND_FIRST,
            show_progress_on=found,
        )

    def _lay_export(self) -> None:
        choices = [(format_.title, format_.name) for format_ in FORMATS.values()]
        kind = gr.Dropdown(choices=choices, value=choices[0][1], label="Format of the export")
        proposals = gr.Checkbox(label="Include proposals nobody reviewed", value=False)
        pictures = gr.Checkbox(label="Include the images", value=False)
        export = gr.Button("Export", variant="primary")
        exported = gr.HTML()
        download = gr.HTML()
        inputs = [self._project, kind, proposals, pictures]
        export.click(self.export, inputs, [exported, download], js=SEND_FIRST, queue=False)
        for change in (*self._changes, kind.change):  # what was exported may be out of date
            change(self.forget, None, [exported, download], **QUIET)

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None) -> tuple[str, str, gr.Dropdown]:
        """The images and categories of a project; nothing while the page is opening."""
        if project_id is None:
            return "", "", gr.Dropdown()
        store = self._house.store
        categories = store.list_categories(project_id)
        return (
            images_table(store.list_images(project_id)),
            categories_table(categories),
            gr.Dropdown(choices=[(c.name, c.id) for c in categories], value=None),
        )

    @shown(Right.MANAGE, "project")
    def add_files(
        self, project_id: int, paths: list[str] | None, progress: gr.Progress = PROGRESS
    ) -> tuple[str, float, None]:
        """Take an upload in; the drop zone is empty again after."""
        steps = self._house.library.add_files(project_id, [Path(path) for path in paths or []])
        return *_go_through(steps, progress), None

    @shown(Right.MANAGE, "project")
    def add_samples(self, project_id: int, progress: gr.Progress = PROGRESS) -> Told:
        """Add the sample photos."""
        return _go_through(self._house.library.add_samples(project_id), progress)

    @shown(Right.SERVE)
    def create(self, name: str) -> tuple[gr.Dropdown, str]:
        """Start a project and open it."""
        created = self._house.library.add_project(name)
        return project_choices(self._house, created.id), ""

    @shown(Right.MANAGE, "project")
    def rename(self, project_id: int, name: str) -> tuple[gr.Dropdown, str]:
        """Give the open project another name."""
        self._house.store.rename_project(project_id, name)
        return project_choices(self._house, project_id), ""

    @shown(Right.MANAGE, "project")
    def add_category(self, project_id: int, name: str) -> Told:
        """Add a category to the project."""
        self._house.store.add_category(project_id, name)
        return "", new_stamp()

    @shown(Right.MANAGE, "category")
    def rename_category(self, category_id: int | None, name: str) -> Told:
        """Give a category another name; its masks keep it."""
        if category_id is None:
            raise gr.Error("Choose the category to rename first.")
        self._house.store.rename_category(category_id, name)
        return "", new_stamp()

    @shown(Right.MANAGE, "project")
    def look(
        self,
        project_id: int,
        kind: str,
        paths: list[str] | None,
        replace: bool = False,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[str, gr.Checkbox, gr.Button]:
        """Say what an import would do, and offer it if nothing keeps it out; nothing is written.

        To replace outlines is chosen for each file anew.
        """
        if not paths:
            return "", gr.Checkbox(value=False, visible=False), gr.Button(visible=False)
        found = self._house.library.import_files(
            project_id,
            kind,
            [Path(path) for path in paths],
            self._house.caller().person,
            dry_run=True,
            replace=replace,
            tell=_bar(progress),
        )
        title, lines = describe_import(found, dry_run=True)
        return (
            report(title, lines, good=not (found.problems or found.unmatched)),
            gr.Checkbox(value=replace, visible=bool(found.conflicts or found.n_replaced)),
            gr.Button(visible=not found.problems and found.n_images > 0),
        )

    @shown(Right.MANAGE, "project")
    def bring(
        self,
        project_id: int,
        kind: str,
        paths: list[str] | None,
        replace: bool,
        progress: gr.Progress = PROGRESS,
    ) -> tuple[str, gr.Checkbox, gr.Button, None, float]:
        """Import: all of it, or nothing."""
        hidden = gr.Checkbox(value=False, visible=False), gr.Button(visible=False)
        try:
            done = self._house.library.import_files(
                project_id,
                kind,
                [Path(path) for path in paths or []],
                self._house.caller().person,
                replace=replace,
                tell=_bar(progress),
            )
        except BadDataset as error:
            html = report("Nothing was imported", error.problems, good=False)
            return html, *hidden, None, new_stamp()
        counts = {"images": done.n_images, "masks": done.n_masks, "boxes": done.n_boxes}
        self._house.note("import", project_id, kind, replace=replace, **counts)
        html = report(*describe_import(done), good=not done.unmatched)
        return html, *hidden, None, new_stamp()

    @harmless
    def put_away(self) -> tuple[str, gr.Checkbox, gr.Button, None]:
        """Another project was chosen: what was looked at is not for it."""
        return "", gr.Checkbox(value=False, visible=False), gr.Button(visible=False), None

    @shown(Right.EXPORT, "project")
    def export(
        self, project_id: int, kind: str, proposals: bool, pictures: bool
    ) -> tuple[str, str]:
        """Write the export and hand it out with its proof."""
        done = self._house.library.export(
            project_id, kind, include_proposals=proposals, include_images=pictures
        )
        self._house.note("export", project_id, kind, masks=done.n_annotations, name=done.path.name)
        address = export_address(project_id, done.path)
        return report(*describe_export(done), good=True), link("Download the checked zip", address)

    @harmless
    def forget(self) -> tuple[str, str]:
        """Take back an export's report and its download."""
        return "", ""


def _bar(progress: gr.Progress) -> Tell:
    """A progress bar that an import can be told to move."""
    return lambda what, done, total: progress((done, total), desc=what.capitalize(), unit="images")


def _go_through(steps: Iterator[Step], progress: gr.Progress) -> Told:
    """Carry an intake out and report it."""
    taken = list(progress.tqdm(steps, unit="image"))
    added = sum(step.added for step in taken)
    lines = [step.line for step in taken if step.line]
    return report(f"{added} of {len(taken)} images added", lines, good=not lines), new_stamp()
