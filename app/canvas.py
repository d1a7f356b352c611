"""The host of the front end in a Gradio page; it passes a token and small props, never masks."""

import hashlib
from pathlib import Path

import gradio as gr

STATIC = Path(__file__).resolve().parent / "static"
BUNDLE = "mask-canvas.js"

# Gradio renders the template anew when a prop changes; the studio's own element is kept and put
# back, so that its state and unsent strokes outlive that.
_ON_LOAD = """
let studio = null;
const root = document.createElement('div');
const place = () => {
  const host = element.querySelector('.mal-host');
  if (host && root.parentElement !== host) host.replaceChildren(root);
};
const update = async () => {
  place();
  if (!props.token || !props.project_id) return;
  if (!studio) {
    const canvas = await import(`/mal/static/mask-canvas.js?v=${props.build}`);
    if (!studio) studio = canvas.mount(root, {token: props.token, projectId: props.project_id});
  } else {
    studio.setProject(props.project_id);
  }
};
watch(['token', 'project_id', 'stamp'], update);
update();
"""


def mask_canvas() -> gr.HTML:
    """The canvas of one page.

    Event handlers set its props by returning `gr.HTML(token=..., project_id=..., stamp=...)`: the
    page's token, the project to show, and a number whose change makes it read the project again.
    A function, not a subclass: Gradio writes a .pyi file beside the source of each component class.
    """
    return gr.HTML(
        value=None,
        html_template="<div class='mal-host'></div>",
        js_on_load=_ON_LOAD,
        apply_default_css=False,
        token="",
        project_id=0,
        stamp=0,
        build=hashlib.sha256((STATIC / BUNDLE).read_bytes()).hexdigest()[:12],
    )
