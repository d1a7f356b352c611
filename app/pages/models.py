"""The models of a project: use, roll back, compare, notes, download, remove."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from app.access import Right
from app.downloads import weights_address
from app.errors import NotFound
from app.pages.house import QUIET, House, harmless, new_stamp, shown
from app.pages.rights import needs
from app.pages.tables import link, note, table
from app.records import ModelVersion

PARTS = 5
_HEAD = ("Model", "State", "From", "Learned from", "Held-out IoU", "Boundary IoU", "Made",
         "SHA-256", "Notes")  # fmt: skip
_FACTS = ("State", "Learned from", "Held-out masks", "Held-out IoU", "Boundary IoU",
          "Mean over categories", "Probe", "Why", "Notes")  # fmt: skip


class ModelsSection:
    """The lower part of the Train page."""

    def __init__(self, house: House, project: gr.Dropdown, stamp: gr.Number, tab: gr.Tab) -> None:
        """Lay it out and wire it; the arguments are the page's."""
        self._house = house
        self._project, self._stamp = project, stamp
        gr.Markdown("## Models of this project")
        models = gr.HTML()
        with gr.Row(elem_classes="mal-line"):
            choice = gr.Dropdown(label="Model", choices=[], scale=0, min_width=260)
            own = needs(Right.TRAIN)
            use = gr.Button("Use this model", scale=0, min_width=190, elem_classes=own)
            back = gr.Button("Roll back", scale=0, min_width=120, elem_classes=own)
            fetch = gr.Button("Download", scale=0, min_width=120, elem_classes=needs(Right.EXPORT))
            remove = gr.Button("Remove its weights", scale=0, min_width=220, elem_classes=own)
        download = gr.HTML()
        with gr.Row(visible=False, elem_classes=["mal-line", needs(Right.TRAIN)]) as question:
            sentence = gr.HTML()
            sure = gr.Button("Yes, remove them", variant="stop", scale=0, min_width=220)
            cancel = gr.Button("No, keep them", scale=0, min_width=160)
        with gr.Row(elem_classes=["mal-line", needs(Right.TRAIN)]):
            notes = gr.Textbox(label="Notes on this model", lines=1, scale=3, min_width=260)
            write = gr.Button("Save notes", scale=0, min_width=140)
        other = gr.Dropdown(label="Compare with", choices=[], min_width=220)
        comparison = gr.HTML()
        view = [models, choice, other, question, back]
        for change in (project.change, stamp.change, tab.select):
            change(self.show, [project, choice, other], view, **QUIET)
        choice.change(self.choose, choice, [notes, download, question], **QUIET)
        for event in (choice.change, other.change):
            event(self.compare, [project, choice, other], comparison, **QUIET)
        use.click(self.use, [project, choice], stamp, queue=False)
        back.click(self.roll_back, project, stamp, queue=False)
        fetch.click(self.fetch, choice, download, queue=False)
        write.click(self.write, [choice, notes], stamp, queue=False)
        remove.click(self.ask, choice, [sentence, question], queue=False)
        sure.click(self.remove, [project, choice], [stamp, question], queue=False)
        cancel.click(harmless(lambda: gr.Row(visible=False)), None, question, queue=False)

    @shown(Right.VIEW, "project", "model_version", "model_version")
    def show(self, project_id: int | None, chosen: int | None, other: int | None) -> Sequence[Any]:
        """The models as they stand; a choice is kept, so that notes in hand are not lost."""
        if project_id is None:
            return [gr.skip()] * PARTS
        store, registry = self._house.store, self._house.registry
        models = store.list_models(project_id)
        in_use = store.get_model(store.get_project(project_id).model_id)
        names = [(model.name, model.id) for model in models]
        ids = {model.id for model in models}
        removed = {model.id for model in models if not registry.has_weights(model)}
        return (
            models_table(models, in_use.id, removed),
            gr.Dropdown(choices=names, value=chosen if chosen in ids else in_use.id),
            gr.Dropdown(choices=names, value=other if other in ids else in_use.parent_id),
            gr.Row(visible=False),
            gr.Button(interactive=in_use.parent_id is not None),
        )

    @shown(Right.VIEW, "model_version")
    def choose(self, model_id: int | None) -> Sequence[Any]:
        """The notes of the chosen model; nothing asked or fetched of the one before stays."""
        notes = "" if model_id is None else self._house.store.get_model(model_id).notes
        return notes, "", gr.Row(visible=False)

    @shown(Right.EXPORT, "model_version")
    def fetch(self, model_id: int) -> str:
        """Hand the weights out, under their hash."""
        model = self._house.store.get_model(model_id)
        if not self._house.registry.has_weights(model):
            raise NotFound(f"the weights of {model.name!r} were removed")
        return link(f"Save the weights of {model.name}", weights_address(model_id))

    @shown(Right.VIEW, "project", "model_version", "model_version")
    def compare(self, project_id: int | None, one: int | None, other: int | None) -> str:
        """Two models side by side; nothing while one is missing."""
        if project_id is None or one is None or other is None or one == other:
            return ""
        store = self._house.store
        return compare_table(store.get_model(one), store.get_model(other))

    @shown(Right.TRAIN, "project", "model_version")
    def use(self, project_id: int, model_id: int) -> float:
        """Let another model propose from now on."""
        model = self._house.registry.use(project_id, model_id)
        self._house.note("model.use", project_id, model.name)
        return new_stamp()

    @shown(Right.TRAIN, "project")
    def roll_back(self, project_id: int) -> float:
        """Go back to the parent of the model in use."""
        model = self._house.registry.roll_back(project_id)
        self._house.note("model.roll back", project_id, model.name)
        return new_stamp()

    @shown(Right.TRAIN, "model_version")
    def write(self, model_id: int, notes: str) -> float:
        """Keep the notes."""
        self._house.store.note_model(model_id, notes.strip())
        return new_stamp()

    @shown(Right.TRAIN, "model_version")
    def ask(self, model_id: int) -> tuple[str, gr.Row]:
        """Make sure before weights are removed."""
        name = self._house.store.get_model(model_id).name
        words = f"Remove the weights of {name} for good? Its figures and notes stay."
        return note(words), gr.Row(visible=True)

    @shown(Right.TRAIN, "project", "model_version")
    def remove(self, project_id: int, model_id: int) -> tuple[float, gr.Row]:
        """Remove the weights of a model that nobody needs."""
        self._house.registry.remove(project_id, model_id)
        return new_stamp(), gr.Row(visible=False)


def models_table(models: Sequence[ModelVersion], in_use: int, removed: set[int]) -> str:
    """Each checkpoint with its origin and figures, the one in use marked, the newest first."""
    names = {model.id: model.name for model in models}
    rows = []
    for model in reversed(models):
        marks = ["in use"] * (model.id == in_use) + ["weights removed"] * (model.id in removed)
        rows.append(
            [
                f"{model.name} ({', '.join(marks)})" if marks else model.name,
                str(model.state),
                names.get(model.parent_id or 0, "-"),
                _data(model),
                *(_change(model, key) for key in ("instance_iou", "boundary_iou")),
                model.created_at.strftime("%Y-%m-%d %H:%M"),
                model.sha256[:12],
                model.notes,
            ]
        )
    return table("Models", _HEAD, rows, "No models.")


def compare_table(one: ModelVersion, other: ModelVersion) -> str:
    """Two models side by side, each with the figures of its own fine-tune."""
    rows = [list(row) for row in zip(_FACTS, _facts(one), _facts(other), strict=True)]
    kinds = [m.figures.get("categories", {}) for m in (one, other)]
    rows += [
        [f"Category: {name}", *(_pair(kind.get(name)) for kind in kinds)]
        for name in sorted({*kinds[0], *kinds[1]})
    ]
    return table("Two models", ["", one.name, other.name], rows, "")


def _facts(model: ModelVersion) -> list[str]:
    """What is known of a model, in the order of _FACTS."""
    figures = model.figures
    return [
        str(model.state),
        _data(model),
        str((figures.get("after") or {}).get("n", "-")),
        *(_change(model, key) for key in ("instance_iou", "boundary_iou", "class_iou")),
        _pair(figures.get("probe")),
        str(figures.get("reason", "-")),
        model.notes or "-",
    ]


def _data(model: ModelVersion) -> str:
    figures = model.figures
    if "n_masks" not in figures:
        return "-"
    return f"{figures['n_masks']} masks, {figures['n_boxes']} boxes"


def _change(model: ModelVersion, key: str) -> str:
    before, after = model.figures.get("before"), model.figures.get("after")
    if not before or not after:
        return "-"
    return f"{before[key]:.3f} to {after[key]:.3f}"


def _pair(figures: Any) -> str:  # noqa: ANN401 - of JSON
    return f"{figures['before']:.3f} to {figures['after']:.3f}" if figures else "-"
