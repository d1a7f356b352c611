"""Joins the pages into one Gradio app: header, project choice, tabs."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.access import Right
from app.canvas import mask_canvas
from app.pages.admin import AdminPage
from app.pages.health import HealthPage
from app.pages.history import HistoryPage
from app.pages.house import QUIET, House, harmless, project_choices, shown
from app.pages.insight import InsightPage
from app.pages.library import LibraryPage
from app.pages.rights import CSS as RIGHTS_CSS
from app.pages.rights import who_is
from app.pages.tables import note
from app.pages.train import TrainPage

TITLE = "MAL Studio"
ALONE = "You have no role in any project yet. Ask an admin of the studio for one, then reload."
WAITING = 64  # acts that may wait in Gradio's queue; more are refused
KEEP_UPLOADS = (600, 3600)  # seconds: look every, and delete what is older than
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
THEME = gr.themes.Default(
    primary_hue="blue", neutral_hue="slate", radius_size="sm", spacing_size="sm",
    font=FONT, font_mono=["ui-monospace", "monospace"],
).set(  # Gradio's own edges of fields, boxes to tick and white on blue are too faint to read
    checkbox_border_color_dark="*neutral_400", input_border_color_dark="*neutral_500",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)  # fmt: skip
CSS = (
    """
.gradio-container { padding: 0 !important; max-width: none !important;
  --mal-quiet: #475569; }
.dark .gradio-container, .gradio-container.dark, .dark { --mal-quiet: #a3b1c4; }
.gradio-container .main { padding: 6px 16px !important; max-width: none !important; }
.gradio-container main { padding: 0 !important; }
.html-container:has(.mal-host) { padding: 0 !important; }
.gradio-container footer { display: none !important; }
.mal-head { align-items: center; gap: 16px; flex-wrap: nowrap !important; }
.mal-head > :first-child { flex: 0 0 auto !important; width: auto !important;
  min-width: 0 !important; }
.mal-head h1 { font-size: 18px; margin: 0; white-space: nowrap; }
.mal-head > :nth-child(2) { flex: 0 1 280px !important; min-width: 120px !important; }
.mal-head > :nth-child(3) { flex: 1 1 auto !important; }
@media (max-width: 640px) { .gradio-container .main { padding: 2px 8px !important; }
  .mal-head { flex-wrap: wrap !important; gap: 0 16px !important; }
  .mal-head > :nth-child(3) { flex: 1 0 100% !important; }
  .tab-wrapper .tab-container button { padding: 0 8px !important; }
  .js-plotly-plot .modebar { display: none; } }
.gradio-container .prose h2 { font-size: var(--text-lg); }
.gradio-container .upload-container .or { color: var(--mal-quiet); }
.mal-line { align-items: end; }
.mal-note { color: var(--mal-quiet); margin: 4px 0; }
.mal-table { overflow-x: auto; border: 0 !important; }
.mal-table table { border-collapse: collapse; width: 100%; font-size: 13px;
  border: 0 !important; margin: 0 !important; }
.mal-table th, .mal-table td { text-align: left; padding: 6px 8px 6px 0 !important;
  white-space: nowrap; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.mal-table tr { border: 0 !important; }
.mal-table th { font-weight: 600; color: var(--mal-quiet) !important; }
.mal-chips { display: flex; flex-wrap: wrap; gap: 6px; list-style: none; padding: 0; margin: 0; }
.mal-chips li { display: flex; align-items: center; gap: 6px; padding: 3px 10px; margin: 0;
  border: 1px solid var(--border-color-primary); border-radius: 999px; }
.mal-swatch { width: 12px; height: 12px; border-radius: 3px; display: inline-block; }
.mal-report { border-left: 4px solid #15803d; padding: 8px 12px; margin: 4px 0;
  background: var(--background-fill-secondary); overflow-wrap: anywhere; }
.mal-report.bad { border-color: #b45309; }
.mal-report ul { margin: 4px 0 0 18px; }
.mal-bar { height: 10px; border-radius: 5px; overflow: hidden; max-width: 520px;
  background: var(--border-color-primary); }
.mal-gallery { display: flex; flex-wrap: wrap; gap: 12px; margin: 4px 0 12px; }
.mal-gallery figure { margin: 0; max-width: 240px; }
.mal-gallery img { display: block; border-radius: 4px; max-width: 100%; }
.mal-gallery figcaption { color: var(--mal-quiet); font-size: 13px; }
.mal-gallery figure > p { width: 120px; }
.mal-tally { display: flex; flex-wrap: wrap; gap: 8px 28px; list-style: none; padding: 0;
  margin: 8px 0 12px; color: var(--mal-quiet); }
.mal-tally b { color: var(--body-text-color); font-size: 20px; font-weight: 600;
  font-variant-numeric: tabular-nums; margin-right: 4px; }
.mal-findings { list-style: none; padding: 0; margin: 0; }
.mal-findings > li { display: grid; grid-template-columns: minmax(0, 1fr) auto 76px;
  align-items: center; gap: 4px 16px; padding: 8px 0; margin: 0;
  border-top: 1px solid var(--border-color-primary); }
.mal-findings > li.mal-wide { display: block; border: 0; padding: 0 0 10px; }
.mal-wide summary { font-size: 13px; color: var(--mal-quiet); cursor: pointer; margin: 0 0 6px; }
@media (max-width: 640px) { .mal-findings > li { grid-template-columns: minmax(0, 1fr) 76px; }
  .mal-findings > li > :first-child { grid-column: 1 / -1; } }
.mal-findings .mal-note, .mal-section .mal-note { margin: 2px 0 0; font-size: 13px; }
.mal-amount { color: var(--mal-quiet); font-variant-numeric: tabular-nums; white-space: nowrap; }
.mal-section h2 { font-size: 15px; font-weight: 600; margin: 16px 0 0; }
.mal-alike { border-top: 1px solid var(--border-color-primary); padding: 8px 0 0; margin: 8px 0 0; }
.mal-go { padding: 4px 12px; border: 1px solid var(--border-color-primary); border-radius: 4px;
  background: var(--button-secondary-background-fill); color: var(--body-text-color);
  font-size: 13px; cursor: pointer; }
.mal-go:hover { background: var(--button-secondary-background-fill-hover); }
.mal-go:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.mal-chips .mal-go { border: 0; background: none; padding: 0; text-decoration: underline; }
.mal-matrices { display: flex; flex-wrap: wrap; gap: 8px 32px; margin: 0 0 16px; }
.mal-matrix { flex: 0 1 auto; max-width: 100%; }
.mal-matrix table { width: auto; }
.mal-matrix caption { text-align: left; white-space: nowrap; font-size: 13px; padding: 4px 0; }
.mal-matrix td, .mal-matrix th { padding: 6px 12px !important; }
.mal-matrix td { font-variant-numeric: tabular-nums; text-align: right;
  background: color-mix(in srgb, #0d9488 calc(var(--share, 0%) / 2), transparent); }
.mal-things { display: grid; gap: 12px; margin: 8px 0; }
.mal-thing { display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start;
  border-top: 1px solid var(--border-color-primary); padding: 12px 0 0; }
.mal-thing figure { margin: 0; border-top: 4px solid; flex: 0 1 auto;
  max-width: min(240px, calc(50% - 6px)); }
.mal-thing img { display: block; max-width: 100%; }
.mal-thing figcaption { font-size: 13px; padding: 4px 0 0; }
.mal-thing > div { flex: 1 1 200px; }
.mal-thing p { margin: 0 0 8px; }
#mal-wanted { display: none !important; }
.mal-thing select { display: block; appearance: auto; max-width: 100%; margin: 4px 0 0;
  padding: 6px 8px;
  color: var(--body-text-color); background: var(--input-background-fill);
  border: 1px solid var(--border-color-primary); border-radius: 4px; }
.mal-key b { padding: 1px 8px; border-radius: 3px; color: #000; border: 1px solid #7c8799; }
.mal-key .truth { background: #fff; } .mal-key .before { background: #e69f00; }
.mal-key .after { background: #56b4e9; }
.wrap:has(> span.error) { display: none !important; }
.mal-alert { position: fixed; top: 16px; right: 16px; z-index: 1000; max-width: min(420px, 90vw);
  padding: 12px 16px; border-left: 4px solid #b45309; border-radius: 4px; font-family: system-ui;
  background: var(--background-fill-primary); color: var(--body-text-color);
  box-shadow: 0 4px 24px rgb(0 0 0 / 35%); overflow-wrap: anywhere; }
.mal-alert p { margin: 4px 0 8px; }
.mal-alert button { padding: 4px 12px; border: 1px solid currentcolor; border-radius: 4px; }
.mal-link { display: block; padding: 8px 16px; text-align: center; font-weight: 600;
  border: 1px solid var(--border-color-primary); border-radius: 4px; color: inherit !important;
  background: var(--button-secondary-background-fill); text-decoration: none !important; }
.mal-link:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.mal-who { display: flex; gap: 12px; align-items: center; justify-content: flex-end; margin: 0;
  white-space: nowrap; font-size: 14px; }
.mal-who form { margin: 0; } .mal-who b { overflow: hidden; text-overflow: ellipsis; }
.mal-who a, .mal-who button { color: var(--mal-quiet) !important; text-decoration: underline;
  background: none; border: 0; padding: 4px 0; font: inherit; cursor: pointer; }
.mal-bar span { display: block; height: 100%; background: var(--color-accent); }
"""
    + RIGHTS_CSS
)
_SCRIPTS = [
    (Path(__file__).resolve().parent / "pages" / name).read_text(encoding="utf-8")
    for name in ("alerts.js", "links.js")
]
HEAD = '<meta name="viewport" content="width=device-width, initial-scale=1">' + "".join(
    f"<script>{script}</script>" for script in _SCRIPTS
)


def build(house: House) -> Any:  # noqa: ANN401 - Gradio is untyped
    """The whole page."""
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=KEEP_UPLOADS
    ) as page:
        # Not gr.State: its change is not told after an act that leaves the queue.
        stamp = gr.Number(0.0, label="Stamp", visible="hidden")
        with gr.Row(elem_classes="mal-head"):
            gr.HTML(f"<h1>{TITLE}</h1>", min_width=120, padding=False)
            project = gr.Dropdown(
                label="Project", choices=[], container=False, interactive=True, scale=0,
                min_width=240,
            )  # fmt: skip
            who = gr.HTML(visible=False, padding=False, min_width=80)
        alone = gr.HTML(visible=False)
        with gr.Tabs():
            with gr.Tab("Annotate"):
                canvas = mask_canvas()
            with gr.Tab("Library") as tab:
                LibraryPage(house, project, stamp, tab)
            with gr.Tab("Train") as tab:
                TrainPage(house, project, stamp, tab)
            with gr.Tab("Insight") as tab:
                InsightPage(house, project, stamp, tab)
            with gr.Tab("Health") as tab:
                HealthPage(house, project, stamp, tab)
            with gr.Tab("History") as tab:
                HistoryPage(house, project, stamp, tab)
            with gr.Tab("Admin", visible=False) as admin:
                AdminPage(house, project, stamp, admin)

        front = Front(house)
        page.load(front.open, None, [canvas, project, who, alone, admin], queue=False)
        project.change(front.choose, project, [canvas, who], **QUIET)
        stamp.change(front.renew, stamp, canvas, **QUIET)
    return page.queue(max_size=WAITING)


class Front:
    """What the whole page does by itself."""

    def __init__(self, house: House) -> None:
        self._house = house

    @shown(None)
    def open(self, request: gr.Request) -> tuple[Any, ...]:
        """Choose the project the address names, give the canvas its token, and say who one is."""
        house, wanted = self._house, request.query_params.get("project", "")
        caller = house.caller()
        projects = house.access.projects(caller)
        manages = any(house.access.may(caller, Right.MANAGE, project.id) for project in projects)
        ids = [project.id for project in projects]
        chosen = int(wanted) if wanted.isdecimal() and int(wanted) in ids else next(iter(ids), None)
        return (
            gr.HTML(token=house.sessions.mint(caller.person)),
            project_choices(house, chosen),
            who_is(house, chosen),
            gr.HTML(note(ALONE), visible=not projects),
            gr.Tab(visible=caller.user is not None and (caller.is_admin or manages)),
        )

    @shown(Right.VIEW, "project")
    def choose(self, chosen: int | None) -> tuple[gr.HTML, gr.HTML]:
        """Show another project; the canvas asks for it itself."""
        return gr.HTML(project_id=chosen), who_is(self._house, chosen)

    @harmless
    def renew(self, stamp: float) -> gr.HTML:
        """Let the canvas read the project again."""
        return gr.HTML(stamp=stamp)
