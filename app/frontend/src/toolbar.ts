/** The rail of tools, and the bar with the image's name, sliders and zoom. */

import { el, setAttribute, setText } from "./dom";
import { LEAST_RADIUS, MOST_RADIUS } from "./editor";
import { icon, type IconName } from "./icons";
import type { Action } from "./keys";
import { signed } from "./keysigns";
import { MaskMenu, ViewMenu } from "./menus";
import { Roving } from "./roving";
import type { Tool } from "./types";
import { type Orders, percent, type View } from "./view";

const TOOLS: readonly (readonly [Tool, string])[] = [
  ["box", "Box"],
  ["extreme", "4 points"],
  ["polygon", "Polygon"],
  ["cut", "Cut out"],
  ["brush", "Brush"],
  ["eraser", "Eraser"],
  ["split", "Knife"],
  ["select", "Select"],
  ["pan", "Pan"],
];
const STEPS = 1000; // of the size slider, which runs over the logarithm

/** A button that does an action, with its key in the title. */
export function actionButton(
  orders: Orders,
  action: Action,
  name: IconName,
  label: string,
  options: { readonly look?: string; readonly text?: boolean; readonly key?: Action } = {},
): HTMLButtonElement {
  const button = el("button", {
    type: "button",
    class: `mal-button ${options.look ?? "mal-plain"}`,
    ...signed(options.key ?? action, label),
    "data-action": action,
    "aria-label": options.text ? null : label,
  });
  button.append(icon(name));
  if (options.text) button.append(el("span", {}, label));
  button.addEventListener("click", () => {
    orders.act(action);
  });
  return button;
}

export class Rail {
  readonly element = el("div", {
    class: "mal-rail",
    role: "toolbar",
    "aria-label": "Tools",
    "aria-orientation": "vertical",
  });
  private readonly tools = new Map<Tool, HTMLButtonElement>();
  private readonly undo: HTMLButtonElement;
  private readonly redo: HTMLButtonElement;
  private readonly roving: Roving;

  constructor(orders: Orders) {
    for (const [tool, label] of TOOLS) {
      const options = { look: "mal-tool", text: true };
      this.tools.set(tool, actionButton(orders, `tool.${tool}`, tool, label, options));
    }
    const look = { look: "mal-tool", text: true };
    this.undo = actionButton(orders, "undo", "undo", "Undo", look);
    this.redo = actionButton(orders, "redo", "redo", "Redo", look);
    this.element.append(
      ...this.tools.values(),
      el("span", { class: "mal-gap" }),
      this.undo,
      this.redo,
      el("span", { class: "mal-gap mal-push" }),
      actionButton(orders, "help", "help", "Keys", look),
    );
    this.roving = new Roving(this.element);
  }

  update({ editor }: View): void {
    for (const [tool, button] of this.tools) {
      setAttribute(button, "aria-pressed", String(tool === editor.tool));
    }
    this.undo.disabled = editor.undoable === 0;
    this.redo.disabled = editor.redoable === 0;
    this.roving.update();
  }
}

export class TopBar {
  readonly element = el("div", { class: "mal-top" });
  private readonly name = el("span", { class: "mal-name" });
  private readonly place = el("span", { class: "mal-facts" });
  private readonly pixels = el("span", { class: "mal-facts mal-size" });
  private readonly size: HTMLInputElement;
  private readonly sizeText = el("output", { class: "mal-value" });
  private readonly sizeGroup: HTMLElement;
  private readonly assist: HTMLButtonElement;
  private readonly menus: Readonly<Record<"mask" | "view", MaskMenu | ViewMenu>>;
  private readonly zoom: HTMLButtonElement;
  private readonly steps: readonly HTMLButtonElement[];

  constructor(orders: Orders) {
    this.size = slider("Brush size", STEPS);
    this.menus = { mask: new MaskMenu(orders), view: new ViewMenu(orders) };
    this.sizeGroup = group("Brush", this.size, this.sizeText);
    this.assist = actionButton(orders, "look.assist", "assist", "Assist", { text: true });
    this.steps = [
      actionButton(orders, "image.previous", "left", "Previous image"),
      actionButton(orders, "image.next", "right", "Next image"),
    ];
    this.zoom = actionButton(orders, "view.fit", "fit", "Fit");
    const percentage = el("span", { class: "mal-zoom" });
    this.zoom.append(percentage);
    this.size.addEventListener("input", () => {
      orders.setRadius(sliderToRadius(Number(this.size.value)));
    });
    this.element.append(
      el(
        "div",
        { class: "mal-title" },
        this.steps[0],
        this.steps[1],
        this.name,
        this.place,
        this.pixels,
      ),
      this.sizeGroup,
      this.assist,
      this.menus.mask.element,
      this.menus.view.element,
      el(
        "div",
        { class: "mal-cluster" },
        actionButton(orders, "view.out", "minus", "Zoom out"),
        this.zoom,
        actionButton(orders, "view.in", "plus", "Zoom in"),
      ),
    );
  }

  toggleMenu(name: "mask" | "view"): void {
    this.menus[name].toggle();
  }

  stop(): void {
    for (const menu of Object.values(this.menus)) menu.stop();
  }

  update(view: View): void {
    const { editor, scene, info, project } = view;
    const isBrush = editor.tool === "brush" || editor.tool === "eraser";
    setAttribute(this.sizeGroup, "data-idle", isBrush ? null : "");
    this.size.value = String(radiusToSlider(editor.radius));
    setText(this.sizeText, `${editor.radius * 2} px`);
    setAttribute(this.size, "aria-valuetext", `${editor.radius * 2} pixels`);
    setAttribute(this.assist, "aria-pressed", String(scene.look.assist));
    for (const menu of Object.values(this.menus)) menu.update(view);
    setText(this.zoom.lastElementChild as Element, percent(scene.port.scale));
    setAttribute(this.zoom, "aria-label", `Fit, now ${percent(scene.port.scale)}`);
    this.updateTitle(project?.images.findIndex((one) => one.id === info?.id) ?? -1, view);
  }

  private updateTitle(at: number, { info, project }: View): void {
    const count = project?.images.length ?? 0;
    setText(this.name, info?.file_name ?? project?.name ?? "");
    setAttribute(this.name, "title", info?.file_name ?? "");
    setText(this.place, at < 0 ? "" : `image ${at + 1} of ${count}`);
    setText(this.pixels, info ? `\u00a0· ${info.width} × ${info.height}` : "");
    this.steps[0].disabled = at <= 0;
    this.steps[1].disabled = at < 0 || at >= count - 1;
  }
}

/** The slider runs over the logarithm of the radius, so that small sizes are as easy as large. */
export function radiusToSlider(radius: number): number {
  const share = Math.log(radius / LEAST_RADIUS) / Math.log(MOST_RADIUS / LEAST_RADIUS);
  return Math.round(share * STEPS);
}

export function sliderToRadius(at: number): number {
  return LEAST_RADIUS * (MOST_RADIUS / LEAST_RADIUS) ** (at / STEPS);
}

function slider(label: string, max: number): HTMLInputElement {
  return el("input", {
    type: "range",
    min: 0,
    max,
    step: 1,
    class: "mal-slider",
    "aria-label": label,
  });
}

function group(label: string, input: HTMLInputElement, output: HTMLElement): HTMLElement {
  return el(
    "label",
    { class: "mal-control" },
    el("span", { class: "mal-label" }, label),
    input,
    output,
  );
}
