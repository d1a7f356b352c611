/** The dialog that lists every key, made from the table of keys. */

import { el } from "./dom";
import { GESTURES, KEY_ROWS } from "./keys";

export class HelpDialog {
  readonly element: HTMLDialogElement;

  constructor() {
    const close = el("button", { type: "button", class: "mal-button" }, "Close");
    this.element = el("dialog", { class: "mal-help", "aria-label": "Keys" });
    const head = el("div", { class: "mal-help-head" }, el("h2", {}, "Keys"), close);
    this.element.append(head, el("div", { class: "mal-help-groups" }, ...groups()));
    close.addEventListener("click", () => {
      this.element.close();
    });
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close();
    });
    this.element.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the canvas behind is not meant
    });
  }

  open(): void {
    if (!this.element.open) this.element.showModal();
  }
}

function groups(): HTMLElement[] {
  const names = [...new Set(KEY_ROWS.map(({ group }) => group))];
  return names.map((name) => el("section", {}, el("h3", {}, name), el("dl", {}, ...lines(name))));
}

function lines(group: string): HTMLElement[] {
  const rows = KEY_ROWS.filter((row) => row.group === group);
  const gestures = GESTURES.filter((gesture) => gesture.group === group);
  return [
    ...rows.flatMap(({ keys, text }) => line(text, keys)),
    ...gestures.flatMap(({ keys, text }) => line(text, [keys])),
  ];
}

function line(text: string, keys: readonly string[]): HTMLElement[] {
  const marks = keys.map((key) => el("kbd", {}, key === "Escape" ? "Esc" : key));
  return [el("dt", {}, ...marks), el("dd", {}, text)];
}
