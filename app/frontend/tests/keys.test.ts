import { describe, expect, it } from "vitest";

import { KeyMap } from "../src/keymap";
import { comboOf, GESTURES, KEY_ROWS } from "../src/keys";

const PLAIN = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: false };

describe("the table of keys", () => {
  it("gives each key to one action, and each action one line", () => {
    const keys = KEY_ROWS.flatMap((row) => row.keys);
    const actions = KEY_ROWS.map(({ action }) => action);
    expect(new Set(keys).size).toBe(keys.length);
    expect(new Set(actions).size).toBe(actions.length);
  });

  it("leaves digits, arrows and Tab to others", () => {
    const taken = KEY_ROWS.flatMap((row) => row.keys).join(" ");
    expect(taken).not.toMatch(/Tab|Arrow|\b[0-9]\b/);
  });

  it("puts gestures into groups that exist", () => {
    const groups = new Set(KEY_ROWS.map(({ group }) => group));
    expect(GESTURES.every(({ group }) => groups.has(group))).toBe(true);
  });
});

describe("a pressed key", () => {
  it.each([
    ["b", {}, "tool.box"],
    ["B", { shiftKey: true }, null],
    ["n", {}, "select.next"],
    ["N", { shiftKey: true }, "select.previous"],
    ["z", { ctrlKey: true }, "undo"],
    ["z", { metaKey: true }, "undo"],
    ["Z", { ctrlKey: true, shiftKey: true }, "redo"],
    ["?", { shiftKey: true }, "help"],
    ["+", { shiftKey: true }, "view.in"],
    ["Enter", {}, "confirm"],
    ["Enter", { shiftKey: true }, "box.start"],
    [" ", {}, "queue.next"],
    ["b", { ctrlKey: true }, null],
    ["Tab", {}, null],
  ] as const)("%j with %j means %j", (key, modifiers, action) => {
    expect(new KeyMap().actionOf(comboOf({ ...PLAIN, ...modifiers, key }))).toBe(action);
  });
});
