/** The line below the canvas, and the messages above it. */

import { el, setAttribute, setText } from "./dom";
import { icon } from "./icons";
import { KeyMap } from "./keymap";
import { withKeys } from "./keysigns";
import { hereText, type Other } from "./presence";
import type { SaveQueue } from "./saves";
import type { Orders } from "./view";

export class StatusLine {
  readonly element = el("div", { class: "mal-status" });
  private readonly spoken = el("span", { class: "mal-say", role: "status", "aria-live": "polite" });
  private readonly saved = el("button", { type: "button", class: "mal-saved" });

  private readonly company = el("span", { class: "mal-company" });
  private keys = new KeyMap();

  constructor(orders: Orders) {
    this.element.append(this.spoken, this.company, this.saved);
    this.saved.addEventListener("click", () => {
      orders.retry();
    });
  }

  /** Say what happened; keys stand in it as "{undo}". Said again, it is read out again. */
  say(text: string): void {
    const said = withKeys(text, this.keys);
    const isSame = this.spoken.textContent === said;
    setText(this.spoken, isSame ? `${said}\u00a0` : said);
  }

  update(saves: SaveQueue, keys: KeyMap, others: readonly Other[]): void {
    this.keys = keys;
    setText(this.company, hereText(others));
    setText(this.saved, savedText(saves));
    const state = saves.refused > 0 || saves.retrying > 0 ? "late" : "";
    setAttribute(this.saved, "data-state", saves.pending > 0 ? state || "busy" : "done");
    this.saved.disabled = saves.refused === 0;
  }
}

/** "All saved", or how much waits and why. */
export function savedText({ pending, retrying, refused }: SaveQueue): string {
  const changes = pending === 1 ? "1 change" : `${pending} changes`;
  if (pending === 0) return "All saved";
  if (refused > 0) return `${changes} not saved — try again`;
  if (retrying > 0) return `${changes} waiting — retrying`;
  return "Saving…";
}

/** What a person can do about a message. */
export interface Remedy {
  readonly label: string;
  act(): void;
}

/** Messages that stay until they are dismissed; the same text is not shown twice. */
export class Messages {
  readonly element = el("div", { class: "mal-messages" });
  private readonly boxes = new Map<string, HTMLElement>();

  get shown(): string[] {
    return [...this.boxes.keys()];
  }

  add(text: string, kind: "error" | "notice" = "error", remedy?: Remedy): void {
    if (this.boxes.has(text)) return;
    const close = el("button", { type: "button", class: "mal-close", "aria-label": "Dismiss" });
    close.append(icon("cross"));
    const message = el("div", { class: "mal-message", role: "alert", "data-kind": kind });
    message.append(el("span", {}, text), ...this.remedyOf(text, remedy), close);
    close.addEventListener("click", () => {
      this.remove(text);
    });
    this.boxes.set(text, message);
    this.element.append(message);
  }

  private remedyOf(text: string, remedy?: Remedy): HTMLElement[] {
    if (!remedy) return [];
    const button = el("button", { type: "button", class: "mal-button" }, remedy.label);
    button.addEventListener("click", () => {
      this.remove(text);
      remedy.act();
    });
    return [button];
  }

  remove(text: string): void {
    this.boxes.get(text)?.remove();
    this.boxes.delete(text);
  }
}
