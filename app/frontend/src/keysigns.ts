/** The person's own keys on everything that offers an action. */

import { setAttribute, setText } from "./dom";
import type { KeyMap } from "./keymap";
import { type Action, textOfAction } from "./keys";

/** The attributes of an element that offers an action, whose key its title is to show. */
export function signed(action: Action, name: string): Readonly<Record<string, string>> {
  return { title: name, "data-key-of": action, "data-name": name };
}

/** Show the keys on all that is signed: title, mark, and what a screen reader is told. */
export function showKeys(root: ParentNode, keys: KeyMap): void {
  for (const element of root.querySelectorAll<HTMLElement>("[data-key-of]")) {
    const { keyOf, name = "" } = element.dataset;
    const key = keys.keyOf(keyOf as Action);
    setAttribute(element, "title", key === "" ? name : `${name} (${shownKey(key)})`);
    const control = element.querySelector("input") ?? element;
    setAttribute(control, "aria-keyshortcuts", key === "" ? null : spokenKey(key));
    const mark = element.querySelector(":scope > kbd");
    if (mark) setText(mark, shownKey(key));
  }
}

/** Put a person's keys into a text: "{undo} takes it back" becomes "Ctrl+Z takes it back". */
export function withKeys(text: string, keys: KeyMap): string {
  return text.replace(/\{([a-z]+(?:\.[a-z]+)?)\}/g, (whole, action: string) => {
    const text = textOfAction(action as Action);
    if (text === action) return whole; // it only looks like one
    const key = keys.keyOf(action as Action);
    return key === "" ? `“${text}”` : shownKey(key);
  });
}

/** A key as people know it. */
export function shownKey(key: string): string {
  return key.replace("Escape", "Esc");
}

/** A key as `aria-keyshortcuts` wants it. */
function spokenKey(key: string): string {
  return key.replace(/^Ctrl\+/, "Control+").replace(/(^|\+)\+$/, "$1Plus");
}
