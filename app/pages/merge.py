"""Compare what two people drew unseen by each other, side by side, and make one set of masks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

import gradio as gr
import orjson

from app.access import Right
from app.consensus import Thing
from app.errors import NotAllowed
from app.images import load_image
from app.merging import CONSENSUS, LEAST, LEAVE, Compared, Merging, Preview
from app.pages.house import QUIET, House, new_stamp, shown
from app.pages.rights import needs
from app.pages.tables import note, report
from app.pictures import Pixels, outlined, to_address
from app.store import no_such

INTRODUCTION = (
    "## Compare and merge\n"
    "One set of masks of what several people drew unseen. Theirs stay as they are: a merge can be"
    " taken back, and any of their masks can be restored on the History page."
)
COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))  # Okabe and Ito
PICTURED = 40  # things that are shown as pictures
WIDTH = 3  # of an outline, pixels
# Runs in the browser: what was chosen of each thing goes along.
CHOSEN = """(project, image) => [project, image, JSON.stringify(Object.fromEntries(
  [...document.querySelectorAll('select[data-mal-thing]')].map(
    (one) => [one.dataset.malThing, one.value])))]"""
View = tuple[Any, ...]


class MergeSection:
    """A part of the Insight page; reviewers see it where images were given to several."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay it out and wire it."""
        self._house = house
        self._merging = Merging(house.store, lambda: datetime.now(UTC))
        with gr.Column(visible=False, elem_classes=needs(Right.REVIEW)) as whole:
            gr.Markdown(INTRODUCTION)
            with gr.Row(elem_classes="mal-line"):
                least = gr.Slider(
                    0.5, 1.0, LEAST, step=0.01, label="Outlines agree from this IoU on", scale=2,
                    min_width=220,
                )  # fmt: skip
                look = gr.Button("What would be merged?", scale=1, min_width=190)
                go = gr.Button("Merge all that agree", scale=1, min_width=190, visible=False)
                undo = gr.Button("Undo the newest merge", scale=1, min_width=190, visible=False)
            told = gr.HTML()
            image = gr.Dropdown(label="Image", choices=[], elem_id="mal-compared")
            # The lists above lead here; a number that the browser sets.
            wanted = gr.Number(visible="hidden", elem_id="mal-wanted", precision=0)
            compared = gr.HTML()
            with gr.Row(elem_classes="mal-line"):
                merge = gr.Button("Merge this image", variant="primary", visible=False)
                reopen = gr.Button("Let them go on", visible=False)
        listed = [whole, image, undo]
        for change in (project.change, stamp.change, tab.select):
            change(self.show, [project, image], listed, **QUIET)
        shown_parts = [compared, merge, reopen]
        image.change(self.compare, [project, image], shown_parts, **QUIET)
        stamp.change(self.compare, [project, image], shown_parts, **QUIET)
        wanted.input(self.choose, [project, wanted], image, **QUIET)
        look.click(self.look, [project, least], [told, go], queue=False, show_progress_on=told)
        least.input(self.forget, None, [told, go], **QUIET)
        acts: Mapping[str, Any] = {"queue": False, "show_progress_on": told}
        go.click(self.merge_all, [project, least], [told, go, stamp], **acts)
        undo.click(self.undo, project, [told, stamp], **acts)
        merge.click(self.merge, [project, image, compared], [told, stamp], js=CHOSEN, **acts)
        reopen.click(self.reopen, [project, image], [told, stamp], **acts)

    @shown(Right.VIEW, "project", "image")
    def show(self, project_id: int | None, chosen: int | None) -> View:
        """The images that can be compared; nothing for those who do not review."""
        hidden = gr.Column(visible=False), gr.skip(), gr.skip()
        house = self._house
        if project_id is None or not house.access.may_review(house.caller(), project_id):
            return hidden
        choices = self._choices(project_id)
        if not choices:
            return hidden
        keys = [key for _, key in choices]
        return (
            gr.Column(visible=True),
            gr.Dropdown(choices=choices, value=chosen if chosen in keys else None),
            gr.Button(visible=bool(house.store.list_merged(project_id))),
        )

    @shown(Right.REVIEW, "project", "image")
    def choose(self, project_id: int, image_id: int | None) -> gr.Dropdown:
        """Open the comparison that a list leads to."""
        self._check(project_id, image_id)
        return gr.Dropdown(value=image_id)

    @shown(Right.VIEW, "project", "image")
    def compare(self, project_id: int | None, image_id: int | None) -> View:
        """What each drew, side by side."""
        hidden = gr.Button(visible=False)
        house = self._house
        if project_id is None or image_id is None:
            return "", hidden, hidden
        house.check(Right.REVIEW, ("project",), (project_id,))
        self._check(project_id, image_id)
        viewer = house.access.viewer(house.caller(), project_id)
        found = self._merging.compared(image_id, viewer)
        pixels = load_image(house.workflow.settings, house.store.get_image(image_id))
        categories = {c.id: c.name for c in house.store.list_categories(project_id)}
        button = gr.Button(visible=found.is_complete and not found.act)
        return compared_html(found, categories, pixels), button, button

    @shown(Right.REVIEW, "project")
    def look(self, project_id: int, least: float) -> tuple[str, gr.Button]:
        """Say what merging all that agree would do."""
        found = self._merging.preview(project_id, float(least))
        return preview_html(found, self._merging.names(project_id)), gr.Button(
            visible=bool(found.ready)
        )

    @shown(Right.REVIEW, "project")
    def merge_all(self, project_id: int, least: float) -> tuple[str, gr.Button, float]:
        """Merge all that agree."""
        by = self._house.caller().person
        _, count = self._merging.merge_all(project_id, float(least), by)
        told = report(f"{_many(count, 'image')} merged", [], good=True)
        return told, gr.Button(visible=False), new_stamp()

    @shown(Right.REVIEW, "project", "image")
    def merge(self, project_id: int, image_id: int | None, chosen: str) -> tuple[str, float]:
        """Merge one image as it was chosen."""
        self._check(project_id, image_id)
        choices = to_choices(chosen)
        if open_ := sum(choice == "" for choice in choices.values()):
            raise NotAllowed(f"{_many(open_, 'object')} not decided yet: choose whose mask to take")
        self._merging.merge(int(image_id or 0), choices, self._house.caller().person)
        return report("Merged: it is in the next export", [], good=True), new_stamp()

    @shown(Right.REVIEW, "project")
    def undo(self, project_id: int) -> tuple[str, float]:
        """Take the newest act of merging back."""
        acts = list(self._house.store.list_merged(project_id).values())
        if not acts:
            raise NotAllowed("nothing is merged")
        count = self._merging.undo(project_id, acts[-1], self._house.caller().person)
        kept = acts.count(acts[-1]) - count
        lines = [f"{_many(kept, 'image')} stay: somebody went on there since"] if kept else []
        told = report(f"{_many(count, 'image')} to be merged again", lines, good=not kept)
        return told, new_stamp()

    @shown(Right.REVIEW, "project", "image")
    def reopen(self, project_id: int, image_id: int | None) -> tuple[str, float]:
        """Let those who are done with an image go on."""
        self._check(project_id, image_id)
        self._merging.reopen(int(image_id or 0), self._house.caller().person)
        return report("They may go on with it, unseen by each other", [], good=True), new_stamp()

    @shown(Right.VIEW, "project")
    def forget(self, _: int | None = None) -> tuple[str, gr.Button]:
        """The bound was moved: what was said is not for it."""
        return "", gr.Button(visible=False)

    def _check(self, project_id: int, image_id: int | None) -> None:
        """Refuse an image of another project.

        Raises:
            NotAllowed: none is chosen.
            NotFound: it is another project's.
        """
        if image_id is None:
            raise NotAllowed("choose an image first")
        if self._house.store.get_image(int(image_id)).project_id != project_id:
            raise no_such("image", int(image_id))

    def _choices(self, project_id: int) -> list[tuple[str, int]]:
        """Images of several people, those that wait for a reviewer first."""
        store, names = self._house.store, self._merging.names(project_id)
        acts = store.list_merged(project_id)
        open_ = {blind.image_id: blind for blind in store.list_blind(project_id)}
        rows = [
            (0 if blind.is_complete else 1, names[key],
             "all are done" if blind.is_complete else "not all are done", key)
            for key, blind in open_.items()
        ] + [(2, names[key], "merged", key) for key in acts]  # fmt: skip
        return [(f"{name}: {state}", key) for _, name, state, key in sorted(rows)]


def to_choices(text: str) -> Mapping[str, str]:
    """What the browser sends of the chosen.

    Raises:
        NotAllowed: it is no object of texts.
    """
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise NotAllowed("what was chosen cannot be read: reload the page") from error
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise NotAllowed("what was chosen cannot be read: reload the page")
    return found


def preview_html(found: Preview, names: Mapping[int, str]) -> str:
    """What merging all that agree would do, in words."""
    masks = sum(found.ready.values())
    ready = f"{_many(len(found.ready), 'image')} with {_many(masks, 'object')} would be merged"
    lines = [f"{names[key]}: something on it needs your word" for key in found.open]
    if not found.ready and not found.open:
        return note("No image waits to be merged: both people must be done with it first.")
    return report(ready, lines, good=bool(found.ready))


def compared_html(found: Compared, categories: Mapping[int, str], pixels: Pixels) -> str:
    """Each thing in a row: a picture of each person's mask, how alike they are, and the choice."""
    order = sorted(found.things, key=lambda thing: (found.agrees(thing, LEAST), thing.iou or 0.0))
    state = "merged" if found.act else "all are done" if found.is_complete else "not all are done"
    left = [f"{who} left {_many(n, 'proposal')} undecided, which count as not there"
            for who, n in found.undecided.items() if n]  # fmt: skip
    head = note(f"{' and '.join(found.people)}: {_many(len(order), 'object')}; {state}.")
    rows = [
        _row(found, thing, categories, pixels if place < PICTURED else None)
        for place, thing in enumerate(order)
    ]
    return head + "".join(map(note, left)) + f"<div class='mal-things'>{''.join(rows)}</div>"


def _row(
    found: Compared, thing: Thing, categories: Mapping[int, str], pixels: Pixels | None
) -> str:
    pictures = "".join(
        _figure(thing, person, COLORS[place % len(COLORS)], categories, pixels)
        for place, person in enumerate(found.people)
    )
    words = f"<p>{escape(_words(found, thing))}</p>"
    if found.is_complete and not found.act:
        words += _select(found, thing)
    return f"<section class='mal-thing'>{pictures}<div>{words}</div></section>"


def _figure(
    thing: Thing,
    person: str,
    color: tuple[int, int, int],
    categories: Mapping[int, str],
    pixels: Pixels | None,
) -> str:
    shape = thing.shapes.get(person)
    said = "nothing here" if shape is None else categories.get(shape.category_id, "?")
    image = ""
    if pixels is not None:
        own = [] if shape is None else [(shape.rle, color, WIDTH)]
        around = [one.rle for one in thing.shapes.values()]
        address = to_address(outlined(pixels, own, around))
        alt = f"No mask of {person}" if shape is None else f"Mask of {person}"
        image = f"<img src='{address}' alt='{escape(alt)}'>"
    edge = f"border-color: rgb{color}"
    return (
        f"<figure style='{edge}'>{image}<figcaption><b>{escape(person)}</b>: {escape(said)}"
        "</figcaption></figure>"
    )


def _words(found: Compared, thing: Thing) -> str:
    if thing.iou is None or thing.boundary_iou is None:
        return f"Only {min(thing.shapes)} saw it."
    text = f"IoU {thing.iou:.2f}, Boundary IoU {thing.boundary_iou:.2f}."
    if not thing.is_one_category:
        text += " Two kinds of thing."
    if len(thing.shapes) < len(found.people):
        text += " Not everybody saw it."
    return text


def _select(found: Compared, thing: Thing) -> str:
    """The choice; where all agree it is made already."""
    between = "Half way between the two" if len(found.people) == 2 else "The majority of pixels"
    can_agree = thing.is_one_category and 2 * len(thing.shapes) > len(found.people)
    options: list[tuple[str, str]] = [("", "Choose...")]
    if can_agree and len(thing.shapes) > 1:
        options.append((CONSENSUS, between))
    options += [(person, f"{person}'s mask") for person in sorted(thing.shapes)]
    options.append((LEAVE, "No object here"))
    chosen = CONSENSUS if found.agrees(thing, LEAST) else ""
    items = "".join(
        f"<option value='{escape(value)}'{' selected' if value == chosen else ''}>"
        f"{escape(text)}</option>"
        for value, text in options
    )
    label = f"Object {found.things.index(thing) + 1}: take"
    return f"<label>{label} <select data-mal-thing='{found.key_of(thing)}'>{items}</select></label>"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
