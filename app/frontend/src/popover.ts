/** A button that opens a small panel, and the panel; Esc, a click elsewhere or Tab closes it. */

import { el, setAttribute } from "./dom";
import { icon, type IconName } from "./icons";
import type { Action } from "./keys";
import { signed } from "./keysigns";

export class Popover {
  readonly element = el("div", { class: "mal-pop" });
  readonly panel: HTMLElement;
  private readonly button: HTMLButtonElement;
  private readonly listening = new AbortController();

  constructor(action: Action, name: IconName, label: string) {
    this.panel = el("div", { class: "mal-pop-panel", role: "group", "aria-label": label });
    this.panel.hidden = true;
    this.button = el("button", {
      type: "button",
      class: "mal-button",
      ...signed(action, label),
      "aria-expanded": "false",
    });
    this.button.append(icon(name), el("span", {}, label));
    this.element.append(this.button, this.panel);
    this.listen();
  }

  get isOpen(): boolean {
    return !this.panel.hidden;
  }

  toggle(): void {
    if (this.isOpen) this.close(true);
    else this.open();
  }

  stop(): void {
    this.listening.abort();
  }

  private open(): void {
    this.panel.hidden = false;
    setAttribute(this.button, "aria-expanded", "true");
    this.panel.querySelector<HTMLElement>("button:enabled, input")?.focus({ preventScroll: true });
  }

  private close(takesFocus: boolean): void {
    this.panel.hidden = true;
    setAttribute(this.button, "aria-expanded", "false");
    if (takesFocus) this.button.focus({ preventScroll: true });
  }

  private listen(): void {
    const { signal } = this.listening;
    this.button.addEventListener("click", () => {
      this.toggle();
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.isOpen) return;
      event.preventDefault();
      event.stopPropagation();
      this.close(true);
    });
    const leave = (target: EventTarget | null): void => {
      const isInside = target instanceof Node && this.element.contains(target);
      if (this.isOpen && !isInside) this.close(false);
    };
    this.element.addEventListener("focusout", (event) => {
      if (event.relatedTarget) leave(event.relatedTarget);
    });
    const down = (event: Event): void => {
      leave(event.target);
    };
    document.addEventListener("pointerdown", down, { signal, capture: true });
  }
}
