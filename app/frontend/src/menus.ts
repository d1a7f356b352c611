/** The two menus of the bar: what can be done to masks, and how they and the image are shown. */

import { el, setText } from "./dom";
import type { IconName } from "./icons";
import { type Action, textOfAction } from "./keys";
import { signed } from "./keysigns";
import { type Look, PLAIN_LOOK, RANGES, type Slide, type Switch } from "./look";
import { Popover } from "./popover";
import type { Orders, View } from "./view";

const SHAPE: readonly Action[] = [
  "shape.fill",
  "shape.largest",
  "shape.smooth",
  "shape.grow",
  "shape.shrink",
  "separate",
  "merge",
  "overlap",
  "copy.next",
];
const ORDER: readonly Action[] = [
  "order.forward",
  "order.back",
  "lock",
  "hide",
  "alone",
  "show.all",
  "select.all",
  "select.none",
];
const STEPS = 200; // of a slider

abstract class Menu {
  readonly element: HTMLElement;
  protected readonly popover: Popover;

  constructor(action: Action, name: IconName, label: string) {
    this.popover = new Popover(action, name, label);
    this.element = this.popover.element;
  }

  toggle(): void {
    this.popover.toggle();
  }

  stop(): void {
    this.popover.stop();
  }

  protected section(title: string, ...children: HTMLElement[]): void {
    const heading = el("p", { class: "mal-pop-title", "aria-hidden": "true" }, title);
    const part = { class: "mal-pop-part", role: "group", "aria-label": title };
    this.popover.panel.append(el("div", part, heading, ...children));
  }
}

export class MaskMenu extends Menu {
  private readonly buttons = new Map<Action, HTMLButtonElement>();

  private readonly hint = el("p", { class: "mal-pop-hint" }, "Select a mask first.");

  constructor(private readonly orders: Orders) {
    super("menu.mask", "shapes", "Mask");
    this.section("Shape", this.hint, ...SHAPE.map((action) => this.line(action)));
    this.section("Order and choice", ...ORDER.map((action) => this.line(action)));
  }

  update({ editor }: View): void {
    const { chosen, instances } = editor;
    this.hint.hidden = chosen.length > 0;
    for (const [action, button] of this.buttons) {
      const isForAll = action === "select.all" || action === "show.all" || action === "alone";
      const least = action === "merge" ? 2 : 1;
      button.disabled = isForAll ? instances.length === 0 : chosen.length < least;
    }
  }

  private line(action: Action): HTMLButtonElement {
    const text = textOfAction(action);
    const button = el(
      "button",
      {
        ...{ type: "button", class: "mal-pop-line", "data-action": action },
        ...signed(action, text),
      },
      el("span", {}, text),
      el("kbd", { "aria-hidden": "true" }),
    );
    button.addEventListener("click", () => {
      this.orders.act(action);
    });
    this.buttons.set(action, button);
    return button;
  }
}

interface Slider {
  readonly input: HTMLInputElement;
  readonly output: HTMLElement;
}

export class ViewMenu extends Menu {
  private readonly switches = new Map<Switch, HTMLInputElement>();
  private readonly sliders = new Map<Slide, Slider>();

  constructor(private readonly orders: Orders) {
    super("menu.view", "eye", "View");
    const legend = el(
      "p",
      { class: "mal-pop-legend" },
      el("span", { class: "mal-added" }, "added to the proposal"),
      el("span", { class: "mal-removed" }, "taken away"),
    );
    this.section(
      "Masks",
      this.slider("opacity", "Opacity"),
      this.box("outline", "Outline only"),
      this.box("dim", "Dim the others"),
      this.box("difference", "Difference"),
      legend,
    );
    this.section(
      "Image on screen",
      this.slider("brightness", "Brightness"),
      this.slider("contrast", "Contrast"),
      this.slider("gamma", "Gamma"),
      this.box("stretch", "Stretch the tones"),
      this.reset(),
    );
    this.section(
      "Aids",
      this.box("cross", "Cross-hair"),
      this.box("map", "Map while zoomed in"),
      this.box("grid", "Pixel grid from 800 %"),
    );
  }

  update({ scene: { look } }: View): void {
    for (const [name, input] of this.switches) input.checked = look[name];
    for (const [name, { input, output }] of this.sliders) {
      const text = shown(name, look);
      input.value = String(toStep(name, look[name]));
      input.setAttribute("aria-valuetext", text);
      setText(output, text);
    }
  }

  private box(name: Switch, text: string): HTMLElement {
    const input = el("input", { type: "checkbox", class: "mal-check" });
    input.addEventListener("change", () => {
      this.orders.setLook({ [name]: input.checked });
    });
    this.switches.set(name, input);
    const mark = el("kbd", { "aria-hidden": "true" });
    const signs = signed(`look.${name}`, text);
    return el("label", { class: "mal-pop-line", ...signs }, input, text, mark);
  }

  private slider(name: Slide, text: string): HTMLElement {
    const range = { type: "range", min: 0, max: STEPS, step: 1, class: "mal-slider" };
    const label = name === "opacity" ? "Mask opacity" : text;
    const input = el("input", { ...range, "aria-label": label });
    const output = el("output", { class: "mal-value" });
    input.addEventListener("input", () => {
      this.orders.setLook({ [name]: fromStep(name, Number(input.value)) });
    });
    this.sliders.set(name, { input, output });
    const title = el("span", { class: "mal-pop-name" }, text);
    return el("label", { class: "mal-pop-line" }, title, input, output);
  }

  private reset(): HTMLElement {
    const button = el("button", { type: "button", class: "mal-button" }, "As it is in the file");
    button.addEventListener("click", () => {
      const { brightness, contrast, gamma, stretch } = PLAIN_LOOK;
      this.orders.setLook({ brightness, contrast, gamma, stretch });
    });
    return button;
  }
}

/** Contrast and gamma are factors, so their sliders run over the logarithm. */
export function toStep(name: Slide, value: number): number {
  const [low, high] = RANGES[name];
  const share =
    low > 0 ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.round(share * STEPS);
}

export function fromStep(name: Slide, step: number): number {
  const [low, high] = RANGES[name];
  const share = step / STEPS;
  return low > 0 ? low * (high / low) ** share : low + (high - low) * share;
}

function shown(name: Slide, look: Look): string {
  const value = look[name];
  if (name === "contrast" || name === "gamma") return `× ${value.toFixed(2)}`;
  return `${value > 0 && name === "brightness" ? "+" : ""}${Math.round(value * 100)} %`;
}
