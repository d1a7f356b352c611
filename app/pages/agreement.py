"""Agreement, on the Insight page: how far two people's masks of the same images are alike."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

import gradio as gr

from app.access import Right
from app.agreement import MATCH, Agreement, Comparison, between, hands, summed, worst
from app.logbook import agreement_address
from app.merging import Compared, Merging, pairwise
from app.pages.house import House, shown
from app.pages.rights import needs
from app.pages.tables import link, note, table

INTRODUCTION = (
    "## Agreement\n"
    f"Masks are matched one to one (IoU {MATCH} or more), on images that two people annotated"
    " unseen by each other and are done with."
)
EMPTY = (
    "No two people are done with one image yet: on the Library page give a share of the images to"
    " two people; when both are done, they are compared here."
)
MADE = (
    "Below: images in which two people had a hand, whatever they saw of each other. Who corrects a"
    " mask has seen it: read it as how much they change."
)
EMPTY_HANDS = (
    "Two people must have corrected or accepted masks on one image: then they are compared."
)
WORST = 12  # images that are listed
_HEAD = ("People", "Images", "Found by both", "Only by the first", "Only by the second", "F1",
         "IoU", "Boundary IoU", "Category (kappa)")  # fmt: skip
_MEASURES: Mapping[str, Callable[[Agreement], float | None]] = {
    "IoU of the matched": lambda one: one.iou,
    "Boundary IoU of the matched": lambda one: one.boundary_iou,
    "F1: objects that both found": lambda one: one.f1,
    "Category, beyond chance (kappa)": lambda one: one.kappa,
}
Pairs = Mapping[tuple[str, str], Mapping[int, Comparison]]
Blind = Mapping[tuple[str, str], Agreement]


class AgreementSection:
    """A part of the Insight page."""

    def __init__(self, house: House, project: gr.Dropdown) -> None:
        """Lay it out and wire it; people are compared when somebody asks for it."""
        self._house = house
        self._merging = Merging(house.store, lambda: datetime.now(UTC))
        gr.Markdown(INTRODUCTION, elem_classes=needs(Right.REVIEW))
        with gr.Row(elem_classes=["mal-line", needs(Right.REVIEW)]):
            button = gr.Button("Compare people", scale=0, min_width=180)
        found = gr.HTML()
        button.click(self.compare, project, found, queue=False, show_progress_on=found)

    @shown(Right.REVIEW, "project")
    def compare(self, project_id: int) -> str:
        """Compare every two people of the project."""
        house, store = self._house, self._house.store
        viewer = house.access.viewer(house.caller(), project_id)
        names = self._merging.names(project_id)
        unseen = list(self._merging.each(project_id, viewer))
        images = {sketch.id: sketch.image_id for sketch in store.list_sketches(project_id)}
        pairs = between(hands(store.list_project_revisions(project_id), images))
        html = blind_html(unseen, names) + (
            link("Download as CSV", agreement_address(project_id)) if unseen else ""
        )
        return html + (note(MADE) + agreement_html(pairs, names, project_id) if pairs else "")


def blind_html(found: Sequence[Compared], names: Mapping[int, str]) -> str:
    """A matrix for each measure, the figures as a table, and the images, the worst first."""
    if not found:
        return note(EMPTY)
    pairs = pairwise(found)
    matrices = "".join(matrix_html(title, pairs, of) for title, of in _MEASURES.items())
    rows = [_row(" and ".join(who), one) for who, one in pairs.items()]
    return (
        f"<div class='mal-matrices'>{matrices}</div>"
        + table("Pairs of people, unseen by each other", _HEAD, rows, EMPTY)
        + "<h3>Images, the least alike first</h3>"
        + images_html(found, names)
    )


def matrix_html(title: str, pairs: Blind, of: Callable[[Agreement], float | None]) -> str:
    """People by people; the stronger the colour, the more they agree."""
    people = sorted({person for who in pairs for person in who})
    head = "".join(f"<th scope='col'>{escape(person)}</th>" for person in people)
    body = "".join(
        f"<tr><th scope='row'>{escape(one)}</th>"
        + "".join(_cell(pairs.get((min(one, other), max(one, other))), of) for other in people)
        + "</tr>"
        for one in people
    )
    return (
        "<div class='mal-table mal-matrix' tabindex='0' role='region'"
        f" aria-label='{escape(title)}'>"
        f"<table><caption>{escape(title)}</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def images_html(found: Sequence[Compared], names: Mapping[int, str]) -> str:
    """Each image with how alike it was done, as a way to its comparison."""
    rows = []
    for one in found:
        low = min(pairwise([one]).values(), key=lambda a: -1.0 if a.quality is None else a.quality)
        rows.append((1.0 if low.quality is None else low.quality, names[one.image_id], one, low))
    items = "".join(
        f"<li><button type='button' class='mal-go' data-mal-compare='{one.image_id}'>"
        f"{escape(name)}</button> {escape(' and '.join(one.people))}: {_in_words(low)}"
        f"{', merged' if one.act else ''}</li>"
        for _, name, one, low in sorted(rows, key=lambda row: row[:2])
    )
    return f"<ul>{items}</ul>"


def agreement_html(pairs: Pairs, names: Mapping[int, str], project_id: int) -> str:
    """A row for every two people, and the images on which they differ most, to go to."""
    if not pairs:
        return note(EMPTY_HANDS)
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
    return (
        table("Pairs of people", _HEAD, rows, EMPTY_HANDS)
        + f"<h3>Where they differ most</h3><ul>{items}</ul>"
    )


def _cell(one: Agreement | None, of: Callable[[Agreement], float | None]) -> str:
    value = None if one is None else of(one)
    if value is None:
        return "<td>-</td>"
    share = round(100 * max(0.0, min(1.0, value)))
    return f"<td style='--share: {share}%'>{value:.2f}</td>"


def _in_words(one: Agreement) -> str:
    if one.quality is None:
        return "both found nothing"
    iou = "" if one.iou is None else f", IoU {one.iou:.2f}"
    return f"{one.matched} found by both, {one.first_only + one.second_only} by one{iou}"


def _row(who: str, one: Agreement) -> list[str]:
    counts = (one.images, one.matched, one.first_only, one.second_only)
    shares = (one.f1, one.iou, one.boundary_iou, one.kappa)
    return [who, *map(str, counts), *("-" if s is None else f"{s:.3f}" for s in shares)]
