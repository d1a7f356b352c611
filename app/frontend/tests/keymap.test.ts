import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { PLAIN_HABITS, readHabits, toStored } from "../src/habits";
import { KeyEditor } from "../src/keyeditor";
import { isEditable, KeyMap, readKeys, refusalOf } from "../src/keymap";
import { type Action, comboOf, KEY_ROWS } from "../src/keys";
import { withKeys } from "../src/keysigns";

const ACTIONS = KEY_ROWS.map(({ action }) => action).filter(isEditable);
const PLAIN = KEY_ROWS.flatMap(({ keys }) => keys);
const anAction = fc.constantFrom(...ACTIONS);
const aKey = fc.constantFrom(
  ...PLAIN.filter((key) => refusalOf(key) === ""),
  "F2",
  "Alt+Q",
  "ß",
  "0",
);
const someKeys = fc.uniqueArray(aKey, { minLength: 1, maxLength: 3 });
const aDeed = fc.tuple(fc.constantFrom("give", "swap"), anAction, someKeys);
const aMap = fc.array(aDeed, { maxLength: 12 }).map((deeds) =>
  deeds.reduce((map, [how, action, keys]) => {
    const isFree = map.clashes(action, keys).length === 0;
    return how === "give" || isFree ? map.give(action, keys) : map.swap(action, keys);
  }, new KeyMap()),
);

function owners(map: KeyMap): Map<string, Action[]> {
  const found = new Map<string, Action[]>();
  for (const { action } of KEY_ROWS) {
    for (const key of map.keysOf(action)) found.set(key, [...(found.get(key) ?? []), action]);
  }
  return found;
}

describe("whatever a person does, a map of keys", () => {
  it("gives each key to one action, and finds it", () => {
    fc.assert(
      fc.property(aMap, (map) => {
        for (const [key, actions] of owners(map)) expect(actions).toEqual([map.actionOf(key)]);
      }),
    );
  });

  it("leaves Esc alone", () => {
    fc.assert(fc.property(aMap, (map) => map.actionOf("Escape") === "cancel"));
  });

  it("comes back from the server as it was", () => {
    fc.assert(
      fc.property(aMap, fc.boolean(), fc.boolean(), (keys, leftHanded, pressure) => {
        const habits = { keys, leftHanded, pressure };
        expect(readHabits(JSON.parse(JSON.stringify(toStored(habits))))).toEqual(habits);
      }),
    );
  });

  it("names every clash, and after giving there is none", () => {
    fc.assert(
      fc.property(aMap, anAction, someKeys, (map, action, keys) => {
        const others = keys.filter((key) => ![null, action].includes(map.actionOf(key)));
        expect(map.clashes(action, keys).map(({ key }) => key)).toEqual(others);
        const given = map.give(action, keys);
        expect([given.keysOf(action), given.clashes(action, keys)]).toEqual([keys, []]);
      }),
    );
  });

  it("swaps two keys there and back", () => {
    fc.assert(
      fc.property(anAction, anAction, (one, other) => {
        const map = new KeyMap();
        const [a, b] = [map.keysOf(one), map.keysOf(other)];
        fc.pre(one !== other && a.length === 1 && b.length === 1);
        const swapped = map.swap(one, b);
        expect([swapped.keysOf(one), swapped.keysOf(other)]).toEqual([b, a]);
        expect(swapped.swap(one, a).changes).toEqual({});
      }),
    );
  });
});

describe("stored keys that no person chose", () => {
  it("of any shape make a map in which each key has one action", () => {
    const value = fc.oneof(fc.anything(), fc.array(fc.oneof(fc.string(), aKey, fc.anything())));
    const names = fc.oneof(
      anAction,
      fc.string(),
      fc.constantFrom("__proto__", "cancel", "toString"),
    );
    fc.assert(
      fc.property(fc.oneof(fc.dictionary(names, value), fc.anything()), (stored) => {
        const map = readKeys(stored);
        for (const [key, actions] of owners(map)) {
          expect([key, actions.length]).toEqual([key, 1]);
          expect(actions[0] === "cancel" || refusalOf(key) === "").toBe(true);
        }
      }),
    );
  });

  it.each([
    [null],
    ["keys"],
    [{ "tool.box": "B" }],
    [{ "tool.box": ["ArrowUp"] }],
    [{ "tool.box": ["Tab"] }],
    [{ "tool.box": ["5"] }],
    [{ "tool.box": ["Ctrl+W"] }],
    [{ "tool.box": ["b"] }],
    [{ "tool.box": ["<img src=x>"] }],
    [{ "tool.box": ["F2", "F3", "F4", "F6", "F7"] }],
    [{ "tool.box": ["F2", "F2"] }],
    [{ "tool.box": ["P"] }], // the brush has it
    [{ "tool.box": ["F2"], undo: ["F2"] }],
    [{ cancel: ["F2"] }],
    [{ nothing: ["F2"] }],
  ])("%j are ignored", (stored) => {
    expect(readKeys(stored).changes).toEqual({});
  });

  it("are ignored one by one: what is right of them counts", () => {
    const stored = { "tool.box": ["Ctrl+W"], undo: ["F2"], nonsense: 3, redo: ["F4", "P"] };
    expect(readKeys(stored).changes).toEqual({ undo: ["F2"] });
    expect(readHabits({ keys: 7, left_handed: "yes", pressure: 1 })).toEqual(PLAIN_HABITS);
  });
});

it("every key of the table can be pressed and stored", () => {
  const refused = PLAIN.filter((key) => refusalOf(key) !== "");
  expect(refused).toEqual(["Escape"]);
});

it.each(["Shift", "Control", "Alt", "Meta", "Dead"])("%s alone is no key yet", (key) => {
  const flags = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: key === "Shift" };
  expect(refusalOf(comboOf({ key, ...flags }))).not.toBe("");
});

it("texts show the person's keys, and the action's name where there is none", () => {
  const keys = new KeyMap({ confirm: ["F2"], undo: [] });
  expect(withKeys("{confirm} or {undo}; {no.such} stays", keys)).toBe(
    "F2 or “Undo”; {no.such} stays",
  );
});

describe("editing a key", () => {
  function editing(): { editor: KeyEditor; keys: () => KeyMap } {
    let map = new KeyMap();
    const setKeys = (made: KeyMap): void => {
      map = made;
    };
    const editor = new KeyEditor({ keys: () => map, setKeys, onStep: () => undefined });
    return { editor, keys: () => map };
  }

  it.each([
    [["choose", "press F2"], { "tool.box": ["F2"] }, "idle"],
    [["press F2"], {}, "idle"],
    [["choose", "press Shift", "press Shift+Shift", "press F2"], { "tool.box": ["F2"] }, "idle"],
    [["choose", "press 5"], {}, "press"],
    [["choose", "press 5", "press F2"], { "tool.box": ["F2"] }, "idle"],
    [["choose", "press Escape", "press F2"], {}, "idle"],
    [["choose", "press P"], {}, "clash"],
    [["choose", "press P", "press F2"], {}, "clash"],
    [["choose", "press P", "leave"], {}, "idle"],
    [["choose", "press P", "take"], { "tool.box": ["P"], "tool.brush": [] }, "idle"],
    [["choose", "press P", "swap"], { "tool.box": ["P"], "tool.brush": ["B"] }, "idle"],
    [["choose", "press B"], {}, "idle"],
    [["take", "swap"], {}, "idle"],
    [["choose", "press F2", "reset"], {}, "idle"],
    [["choose", "press P", "take", "resetAll"], {}, "idle"],
    [["choose", "press P", "swap", "reset"], { "tool.box": ["P"], "tool.brush": ["B"] }, "clash"],
    [["choose", "press P", "swap", "reset", "take"], { "tool.brush": [] }, "idle"],
  ] as const)("%j makes %j and ends %s", (deeds, changes, kind) => {
    const { editor, keys } = editing();
    for (const deed of deeds) {
      if (deed === "choose") editor.choose("tool.box");
      else if (deed === "reset") editor.reset("tool.box");
      else if (deed === "take" || deed === "swap" || deed === "leave") editor[deed]();
      else if (deed === "resetAll") editor.resetAll();
      else editor.press(deed.slice(6));
    }
    expect([keys().changes, editor.step.kind]).toEqual([changes, kind]);
  });
});
