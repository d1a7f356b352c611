/** A toolbar is one stop of the Tab key; inside it arrows, Home and End move the focus. */

import { setAttribute } from "./dom";

const STEPS: Readonly<Record<string, 1 | -1>> = {
  ...{ ArrowDown: 1, ArrowRight: 1 },
  ...{ ArrowUp: -1, ArrowLeft: -1 },
};

export class Roving {
  private at: HTMLButtonElement | null = null; // where Tab arrives

  constructor(private readonly toolbar: HTMLElement) {
    toolbar.addEventListener("focusin", ({ target }) => {
      if (target instanceof HTMLButtonElement) this.at = target;
      this.update();
    });
    toolbar.addEventListener("keydown", this.key.bind(this));
  }

  /** Let Tab arrive where the focus was last, or at the first button that can be used. */
  update(): void {
    const all = this.buttons;
    if (!this.at || !all.includes(this.at)) this.at = all.at(0) ?? null;
    for (const button of this.toolbar.querySelectorAll("button")) {
      setAttribute(button, "tabindex", button === this.at ? "0" : "-1");
    }
  }

  private get buttons(): readonly HTMLButtonElement[] {
    return [...this.toolbar.querySelectorAll<HTMLButtonElement>("button:enabled")];
  }

  private key(event: KeyboardEvent): void {
    const all = this.buttons;
    const by = Object.hasOwn(STEPS, event.key) ? STEPS[event.key] : 0;
    const at = all.findIndex((button) => button === event.target) + by;
    const ends: Readonly<Record<string, number>> = { Home: 0, End: all.length - 1 };
    if (by === 0 && !Object.hasOwn(ends, event.key)) return;
    event.preventDefault();
    event.stopPropagation(); // the canvas's arrows are not meant
    all.at(ends[event.key] ?? at % all.length)?.focus();
  }
}
