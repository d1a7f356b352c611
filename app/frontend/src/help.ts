/** The dialog of keys and hands: every action with its keys, which can be given others here. */

import { el, setAttribute, setText } from "./dom";
import { type Habit, PLAIN_HABITS } from "./habits";
import { KeyEditor, type Step } from "./keyeditor";
import { isEditable } from "./keymap";
import { type Action, comboOf, GESTURES, KEY_ROWS, type KeyRow, textOfAction } from "./keys";
import { shownKey } from "./keysigns";
import type { Orders, View } from "./view";

const HABITS: readonly (readonly [Habit, string])[] = [
  ["leftHanded", "Left-handed: the panels change sides"],
  ["pressure", "The pen's pressure sets the brush's size"],
];

interface Line {
  readonly element: HTMLElement;
  readonly button: HTMLButtonElement;
  readonly marks: HTMLElement;
  readonly reset: HTMLButtonElement;
}

export class HelpDialog {
  readonly element: HTMLDialogElement;
  private readonly lines = new Map<Action, Line>();
  private readonly boxes = new Map<Habit, HTMLInputElement>();
  private readonly told = el("p", { class: "mal-keys-told", role: "status" });
  private readonly answers = el("div", { class: "mal-answers" });
  private readonly resetAll = button("Reset all keys");
  private readonly editor: KeyEditor;
  private keys = PLAIN_HABITS.keys;

  constructor(private readonly orders: Orders) {
    this.editor = new KeyEditor({
      keys: () => this.keys,
      setKeys: (keys) => {
        orders.setHabits({ keys });
      },
      onStep: this.show.bind(this),
    });
    this.element = el("dialog", { class: "mal-help mal-keys", "aria-label": "Keys and hands" });
    this.element.append(
      this.head(),
      ...this.habits(),
      el("div", { class: "mal-help-groups" }, ...this.groups()),
    );
    this.listen();
  }

  open(): void {
    if (this.element.open) return;
    this.editor.leave();
    this.element.showModal();
  }

  update(view: View): void {
    this.keys = view.habits.keys;
    for (const [habit, box] of this.boxes) box.checked = view.habits[habit];
    if (this.element.open) this.show();
  }

  // -- parts ------------------------------------------------------------------------------------

  private head(): HTMLElement {
    const close = button("Close");
    close.addEventListener("click", () => {
      this.element.close();
    });
    this.resetAll.addEventListener("click", () => {
      this.editor.resetAll();
      close.focus();
    });
    const buttons = el("div", { class: "mal-cluster mal-keys-buttons" }, this.resetAll, close);
    const line = el("div", { class: "mal-help-head" }, el("h2", {}, "Keys and hands"), buttons);
    return el("div", { class: "mal-keys-top" }, line, this.told, this.answers);
  }

  private habits(): HTMLElement[] {
    return HABITS.map(([habit, text]) => {
      const box = el("input", { type: "checkbox", class: "mal-check" });
      box.addEventListener("change", () => {
        this.orders.setHabits({ [habit]: box.checked });
      });
      this.boxes.set(habit, box);
      return el("label", { class: "mal-pop-line" }, box, el("span", {}, text));
    });
  }

  private groups(): HTMLElement[] {
    const names = [...new Set(KEY_ROWS.map(({ group }) => group))];
    return names.map((name) => {
      const rows = KEY_ROWS.filter(({ group }) => group === name).map((row) => this.line(row));
      const gestures = GESTURES.filter(({ group }) => group === name);
      const others = gestures.flatMap(({ keys, text }) => [
        el("dt", {}, el("kbd", {}, keys)),
        el("dd", {}, text),
      ]);
      const list = el("ul", {}, ...rows);
      const rest = others.length > 0 ? [el("dl", {}, ...others)] : [];
      return el("section", {}, el("h3", {}, name), list, ...rest);
    });
  }

  private line({ action, text }: KeyRow): HTMLElement {
    const marks = el("span", { class: "mal-keys-marks" });
    const choose = el("button", { type: "button", class: "mal-keys-row" }, marks, text);
    choose.disabled = !isEditable(action);
    choose.addEventListener("click", () => {
      this.editor.choose(action);
    });
    const reset = button("Reset");
    setAttribute(reset, "aria-label", `Reset the keys of ${text}`);
    reset.addEventListener("click", () => {
      this.editor.reset(action);
      if (this.editor.step.kind === "idle") choose.focus();
    });
    const element = el("li", {}, choose, reset);
    this.lines.set(action, { element, button: choose, marks, reset });
    return element;
  }

  // -- keys of the dialog itself ------------------------------------------------------------------

  private listen(): void {
    this.element.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the canvas behind is not meant
      const isWaiting = this.editor.step.kind !== "idle";
      if (isWaiting && event.key === "Escape") this.back(event);
      else if (event.repeat || this.editor.press(comboOf(event))) event.preventDefault();
    });
    this.element.addEventListener("keyup", (event) => {
      event.stopPropagation();
    });
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close();
    });
  }

  /** Leave the step at hand, and not the dialog. */
  private back(event: Event): void {
    const { step } = this.editor;
    event.preventDefault();
    this.editor.leave();
    if (step.kind !== "idle") this.lines.get(step.action)?.button.focus();
  }

  // -- what it shows ------------------------------------------------------------------------------

  private show(): void {
    const { keys } = this;
    const { step } = this.editor;
    for (const [action, { element, marks, reset }] of this.lines) {
      const own = keys.keysOf(action);
      const shown = own.map((key) => el("kbd", {}, shownKey(key)));
      const none = el("span", { class: "mal-muted" }, "no key");
      const text = own.join(" ");
      if (marks.dataset["keys"] !== text)
        marks.replaceChildren(...(own.length > 0 ? shown : [none]));
      marks.dataset["keys"] = text;
      reset.hidden = !keys.isChanged(action);
      const isAt = step.kind !== "idle" && step.action === action;
      setAttribute(element, "data-at", isAt ? "" : null);
    }
    this.resetAll.disabled = Object.keys(keys.changes).length === 0;
    setText(this.told, told(step));
    this.ask(step);
  }

  /** The answers to a clash. */
  private ask(step: Step): void {
    const wasAsking = this.answers.childElementCount > 0;
    if (step.kind !== "clash") this.answers.replaceChildren();
    else if (!wasAsking) {
      const answer = (text: string, act: () => void): HTMLElement => {
        const made = button(text);
        made.addEventListener("click", () => {
          act();
          this.lines.get(step.action)?.button.focus();
        });
        return made;
      };
      const { editor } = this;
      const take = answer("Take the key", editor.take.bind(editor));
      const swap = answer("Swap the keys", editor.swap.bind(editor));
      this.answers.append(take, swap, answer("Leave as it is", editor.leave.bind(editor)));
      take.focus();
    }
  }
}

function told(step: Step): string {
  if (step.kind === "idle") return "Choose an action, then press its new key.";
  const name = textOfAction(step.action);
  if (step.kind === "clash") {
    const of = step.clashes.map(
      ({ key, action }) => `${shownKey(key)} is the key of “${textOfAction(action)}”`,
    );
    return `${of.join(" and ")}. Is “${name}” to have it?`;
  }
  const refusal = step.refusal === "" ? "" : `${step.refusal} `;
  return `${refusal}Press the new key of “${name}”. Esc leaves it.`;
}

function button(text: string): HTMLButtonElement {
  return el("button", { type: "button", class: "mal-button" }, text);
}
