/** Giving an action another key, step by step: choose it, press the key, decide about a clash. */

import { type Clash, isEditable, isModifier, KeyMap, refusalOf } from "./keymap";
import type { Action } from "./keys";

export type Step =
  | { readonly kind: "idle" }
  | { readonly kind: "press"; readonly action: Action; readonly refusal: string }
  | {
      readonly kind: "clash";
      readonly action: Action;
      readonly keys: readonly string[];
      readonly clashes: readonly Clash[];
    };

export interface KeyEditorPorts {
  keys(): KeyMap;
  setKeys(keys: KeyMap): void;
  onStep(): void;
}

const IDLE: Step = { kind: "idle" };

export class KeyEditor {
  step: Step = IDLE;

  constructor(private readonly ports: KeyEditorPorts) {}

  /** Wait for the new key of an action. */
  choose(action: Action): void {
    if (isEditable(action)) this.go({ kind: "press", action, refusal: "" });
  }

  /** Take a pressed key; false when none is waited for. */
  press(combo: string): boolean {
    const { step } = this;
    if (step.kind !== "press") return false;
    if (combo === "Escape") this.leave();
    else if (!isModifier(combo.split("+").at(-1) ?? "")) {
      const refusal = refusalOf(combo);
      if (refusal === "") this.want(step.action, [combo]);
      else this.go({ ...step, refusal });
    }
    return true;
  }

  /** Bring the table's keys of one action back. */
  reset(action: Action): void {
    this.want(action, this.ports.keys().plain(action));
  }

  resetAll(): void {
    this.finish(new KeyMap());
  }

  /** Decide a clash: the action gets the keys, and the others lose them. */
  take(): void {
    const { step } = this;
    if (step.kind === "clash") this.finish(this.ports.keys().give(step.action, step.keys));
  }

  /** Decide a clash: the other gets the action's old keys. */
  swap(): void {
    const { step } = this;
    if (step.kind === "clash") this.finish(this.ports.keys().swap(step.action, step.keys));
  }

  /** Leave everything as it is. */
  leave(): void {
    this.go(IDLE);
  }

  private want(action: Action, keys: readonly string[]): void {
    const map = this.ports.keys();
    const clashes = map.clashes(action, keys);
    if (clashes.length > 0) this.go({ kind: "clash", action, keys, clashes });
    else this.finish(map.give(action, keys));
  }

  private finish(keys: KeyMap): void {
    this.ports.setKeys(keys);
    this.go(IDLE);
  }

  private go(step: Step): void {
    this.step = step;
    this.ports.onStep();
  }
}
