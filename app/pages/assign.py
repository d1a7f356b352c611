"""Who does which images, on the Library page: deal them out, give single ones, take them back."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import gradio as gr

from app.access import Right
from app.assignments import Assignments, Dealt, Tally, tallies
from app.errors import NotAllowed
from app.pages.house import QUIET, House, new_stamp, shown
from app.pages.rights import needs
from app.pages.tables import note, report, table
from app.records import Assignment, ImageSummary

INTRODUCTION = (
    "## Who does which images\n"
    "Images that are nobody's are free for all. What two people are to do they annotate unseen by"
    " each other: each sees only their own masks, until both are done and a reviewer merges them"
    " on the Insight page."
)
EMPTY = "No image is anybody's yet: choose people and deal the images out."
REFUSED = 10  # lines that are shown
SHARES = ((0, "No image"), (0.05, "5 %"), (0.1, "10 %"), (0.2, "20 %"), (1, "Every image"))
_HEAD = ("Person", "Images", "Done", "Left", "With others")
View = tuple[Any, ...]


class AssignSection:
    """The last part of the Library page; reviewers see it where there are users."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay it out and wire it."""
        self._house = house
        self._acts = Assignments(house.store, lambda: datetime.now(UTC))
        with gr.Column(visible=False, elem_classes=needs(Right.REVIEW)) as whole:
            gr.Markdown(INTRODUCTION)
            tally = gr.HTML()
            people = gr.CheckboxGroup(label="Deal images out to", choices=[])
            with gr.Row(elem_classes="mal-line"):
                share = gr.Dropdown(
                    label="Given to two people", scale=2, min_width=160, value=0,
                    choices=[(text, value) for value, text in SHARES],
                )  # fmt: skip
                deal = gr.Button("Deal out what is free", scale=1, min_width=200)
            with gr.Row(elem_classes="mal-line"):
                images = gr.Dropdown(label="Or these images", choices=[], multiselect=True, scale=3)
                person = gr.Dropdown(label="To", choices=[], scale=1, min_width=140)
                give = gr.Button("Give", scale=0, min_width=100)
                back = gr.Button("Take back", scale=0, min_width=120)
            told = gr.HTML()
        parts = [whole, tally, people, images, person]
        for change in (project.change, stamp.change, tab.select):
            change(self.show, project, parts, **QUIET)
        outputs = [told, stamp]
        deal.click(self.deal, [project, people, share], outputs, **QUIET)
        give.click(self.give, [project, images, person], outputs, **QUIET)
        back.click(self.take_back, [project, images, person], outputs, **QUIET)

    @shown(Right.VIEW, "project")
    def show(self, project_id: int | None) -> View:
        """Who has what; nothing for those who may not deal, and where there are no users."""
        house = self._house
        caller = house.caller()
        may = project_id is not None and house.access.may(caller, Right.REVIEW, project_id)
        if project_id is None or caller.user is None or not may:
            return gr.Column(visible=False), "", gr.skip(), gr.skip(), gr.skip()
        known = house.store.list_assignments(project_id)
        summaries = house.store.list_images(project_id)
        names = self._acts.people(project_id)
        return (
            gr.Column(visible=True),
            tally_html(tallies(known), summaries, known),
            gr.CheckboxGroup(choices=names),
            gr.Dropdown(choices=_choices(summaries, known), value=[]),
            gr.Dropdown(choices=whom(names, known)),
        )

    @shown(Right.REVIEW, "project")
    def deal(self, project_id: int, people: list[str] | None, share: float) -> tuple[str, float]:
        """Deal out the images that are nobody's."""
        by = self._house.caller().person
        return _told(self._acts.distribute(project_id, people or [], float(share), by), "given")

    @shown(Right.REVIEW, "project")
    def give(
        self, project_id: int, images: list[int] | None, person: str | None
    ) -> tuple[str, float]:
        """Give the chosen images to somebody."""
        chosen, name = _chosen(images, person)
        by = self._house.caller().person
        return _told(self._acts.assign(project_id, chosen, name, by), "given")

    @shown(Right.REVIEW, "project")
    def take_back(
        self, project_id: int, images: list[int] | None, person: str | None
    ) -> tuple[str, float]:
        """Take the chosen images from somebody."""
        chosen, name = _chosen(images, person)
        by = self._house.caller().person
        return _told(self._acts.withdraw(project_id, chosen, name, by), "taken back")


def tally_html(
    found: Sequence[Tally], summaries: Sequence[ImageSummary], known: Sequence[Assignment]
) -> str:
    """A row a person, and how many images are free."""
    rows = [[t.person, str(t.images), str(t.done), str(t.left), str(t.shared)] for t in found]
    free = len(summaries) - len({one.image_id for one in known})
    text = "1 image is" if free == 1 else f"{free} images are"
    return table("People and their images", _HEAD, rows, EMPTY) + note(f"{text} nobody's.")


def whom(members: Sequence[str], known: Sequence[Assignment]) -> list[str]:
    """Who can be chosen: those with a role, and who left with images, which can be taken back."""
    return sorted({*members, *(one.person for one in known)})


def _choices(
    summaries: Sequence[ImageSummary], known: Sequence[Assignment]
) -> list[tuple[str, int]]:
    """Each image by its name, with those whose it is."""
    whose: dict[int, list[str]] = {}
    for one in known:
        whose.setdefault(one.image_id, []).append(one.person)
    return [
        (
            f"{s.image.file_name} ({', '.join(whose[s.image.id])})"
            if s.image.id in whose
            else s.image.file_name,
            s.image.id,
        )
        for s in summaries
    ]


def _chosen(images: list[int] | None, person: str | None) -> tuple[list[int], str]:
    if not images or not person:
        raise NotAllowed("choose one or more images, and a person")
    return [int(image) for image in images], person


def _told(done: Dealt, word: str) -> tuple[str, float]:
    count = "1 image" if done.given == 1 else f"{done.given} images"
    lines = list(done.refused[:REFUSED])
    if len(done.refused) > REFUSED:
        lines.append(f"and {len(done.refused) - REFUSED} more")
    return report(f"{count} {word}", lines, good=not lines), new_stamp()
