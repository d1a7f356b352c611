"""The Health page: what is likely to be wrong with a data set, and a way to each finding."""

from typing import Any

import gradio as gr

from app.access import Right
from app.health import Report
from app.images import open_thumbnail
from app.pages import charts, findings
from app.pages.house import QUIET, SEND_FIRST, House, shown
from app.pages.rights import lacking, needs
from app.pages.tables import note
from app.pictures import to_address
from app.records import Image
from mal_core.errors import BadImage

INTRODUCTION = (
    "## Dataset health\n"
    "Looks through the images and masks of this project for what is likely to be wrong. It changes"
    " nothing: each finding leads to its masks in the queue, and the word is yours. Rejected masks"
    " do not count."
)
STEPS = 100  # of the progress that is shown
PROGRESS = gr.Progress()  # Gradio finds it as the default of a handler's argument
PARTS = 9
View = tuple[Any, ...]


class HealthPage:
    """Layout, and the handlers: what the button does, and what the page shows then."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay the page out and wire it; it is read anew whenever it is opened."""
        self._house = house
        gr.Markdown(INTRODUCTION)
        lacking(Right.REVIEW, "Reviewers and admins of this project check its health.")
        with gr.Row(elem_classes=["mal-line", needs(Right.REVIEW)]):
            check = gr.Button("Check now", variant="primary", scale=0, min_width=160)
        status = gr.HTML()
        with gr.Column(visible=False) as body:
            with gr.Row(equal_height=False):
                with gr.Column(scale=3, min_width=320):
                    summary, pictures = gr.HTML(), gr.HTML()
                with gr.Column(scale=2, min_width=320):
                    category = gr.Plot(label="Categories")
                    side = gr.Plot(label="Sizes of the masks")
                    crowd = gr.Plot(label="Instances on an image")
                    size = gr.Plot(label="Sizes of the images")
            with gr.Accordion("The plots as tables", open=False):
                tables = gr.HTML()
        view = [status, body, summary, category, side, crowd, size, pictures, tables]
        for change in (project.change, tab.select):
            change(self.show, project, view, **QUIET)
        check.click(self.check, project, view, js=SEND_FIRST, show_progress_on=status)

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None) -> View:
        """What the last check found; nothing while the page is opening."""
        if project_id is None:
            return (gr.skip(),) * PARTS
        found = self._house.health.report(project_id)
        if found is None or not found.images:
            return self._status(project_id), gr.Column(visible=False), *(gr.skip(),) * (PARTS - 2)
        categories = self._house.store.list_categories(project_id)
        limits = self._house.health.limits
        return (
            self._status(project_id),
            gr.Column(visible=True),
            findings.healthy(found)
            + findings.facts(found)
            + findings.findings(found, categories, project_id, limits),
            charts.category_figure(found, categories),
            charts.side_figure(found, limits),
            charts.crowd_figure(found),
            charts.size_figure(found),
            self._pictures(found, project_id),
            charts.tables(found, categories),
        )

    @shown(Right.REVIEW, "project")
    def check(self, project_id: int, progress: gr.Progress = PROGRESS) -> View:
        """Look through the project."""
        health = self._house.health
        total = len(self._house.store.list_images(project_id))
        every = max(1, total // STEPS)
        for done, _ in enumerate(health.check(project_id), start=1):
            if done % every == 0:
                progress((done, total), unit="images")
        return self.show(project_id)

    def _status(self, project_id: int) -> str:
        """Where the project stands."""
        health = self._house.health
        changed = health.changed(project_id)
        found = health.report(project_id)
        if found is None or not found.images:
            if not changed:
                return note("No images yet: add some on the Library page.")
            return note(f"Not checked yet. {_many(changed)} to look at.")
        text = f"Checked at {found.checked_at:%H:%M} UTC."
        return note(text + (f" {_many(changed)} changed since: check again." if changed else ""))

    def _pictures(self, found: Report, project_id: int) -> str:
        limits = self._house.health.limits
        bare, odd = findings.without_instances(found), findings.odd_sizes(found, limits)
        return (
            findings.section(
                "Images that look alike",
                f"Their 64-bit hashes differ in {limits.alike_bits} bits at most: copies, other"
                " sizes, moments of one scene. In both training and held-out images they make"
                " figures too good.",
                len(found.alike),
                findings.alike(found, project_id, self._address),
            )
            + findings.section(
                "Images without instances",
                "Nothing is marked on them: not done yet, or nothing to be seen.",
                len(bare),
                findings.images(bare, project_id, self._address),
            )
            + findings.section(
                "Images of unusual size",
                f"The shorter side is below {limits.small_side} pixels, or the longer one more"
                f" than {limits.long_aspect:g} times the shorter.",
                len(odd),
                findings.images(odd, project_id, self._address),
            )
            + findings.section(
                "Images whose file is missing or damaged",
                "Restore the data folder from a backup.",
                len(found.unseen),
                findings.images(found.unseen, project_id, self._address),
            )
        )

    def _address(self, image: Image) -> str | None:
        try:
            with open_thumbnail(self._house.workflow.settings, image) as picture:
                return to_address(picture)
        except BadImage:
            return None


def _many(images: int) -> str:
    return "1 image" if images == 1 else f"{images:,} images"
