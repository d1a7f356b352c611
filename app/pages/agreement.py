"""Agreement, on the Insight page: how far two people's masks of the same images are alike."""

from collections.abc import Mapping
from html import escape

import gradio as gr

from app.access import Right
from app.agreement import MATCH, Agreement, Comparison, between, hands, summed, worst
from app.pages.house import House, shown
from app.pages.tables import note, table

INTRODUCTION = (
    "### Agreement\n"
    "Of the images in which two people had a hand: the masks each saved last, matched one to one"
    f" (IoU {MATCH} or more). Who corrects a mask has seen it: read it as how much they change."
)
EMPTY = "Two people must have corrected or accepted masks on one image: then they are compared."
WORST = 12  # images that are listed
_HEAD = ("People", "Images", "Found by both", "Only by the first", "Only by the second", "F1",
         "IoU", "Boundary IoU", "Category (kappa)")  # fmt: skip
Pairs = Mapping[tuple[str, str], Mapping[int, Comparison]]


class AgreementSection:
    """The lower part of the Insight page."""

    def __init__(self, house: House, project: gr.Dropdown) -> None:
        """Lay it out and wire it; people are compared when somebody asks for it."""
        self._house = house
        gr.Markdown(INTRODUCTION)
        with gr.Row(elem_classes="mal-line"):
            button = gr.Button("Compare people", scale=0, min_width=180)
        found = gr.HTML()
        button.click(self.compare, project, found, queue=False, show_progress_on=found)

    @shown(Right.REVIEW, "project")
    def compare(self, project_id: int) -> str:
        """Compare every two people of the project."""
        store = self._house.store
        images = {sketch.id: sketch.image_id for sketch in store.list_sketches(project_id)}
        pairs = between(hands(store.list_project_revisions(project_id), images))
        names = {s.image.id: s.image.file_name for s in store.list_images(project_id)}
        return agreement_html(pairs, names, project_id)


def agreement_html(pairs: Pairs, names: Mapping[int, str], project_id: int) -> str:
    """A row for every two people, and the images on which they differ most, to go to."""
    if not pairs:
        return note(EMPTY)
    rows = [_row(" and ".join(who), summed(list(found.values()))) for who, found in pairs.items()]
    lowest = sorted(
        (one.quality or 0.0, image_id, " and ".join(who))
        for who, found in pairs.items()
        for image_id, one in worst(found)
    )
    items = "".join(
        f"<li><button type='button' class='mal-go' data-mal-project='{project_id}'"
        f" data-mal-image='{image_id}'>{escape(names.get(image_id, 'an image'))}</button>"
        f" {escape(who)}: quality {quality:.2f}</li>"
        for quality, image_id, who in lowest[:WORST]
    )
    return table(_HEAD, rows, EMPTY) + f"<h4>Where they differ most</h4><ul>{items}</ul>"


def _row(who: str, one: Agreement) -> list[str]:
    counts = (one.images, one.matched, one.first_only, one.second_only)
    shares = (one.f1, one.iou, one.boundary_iou, one.kappa)
    return [who, *map(str, counts), *("-" if s is None else f"{s:.3f}" for s in shares)]
