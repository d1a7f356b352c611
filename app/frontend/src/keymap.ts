/**
 * A person's own keys: the table of keys, and what they changed of it.
 *
 * A value that is never changed. Each key belongs to one action at most, whatever was read.
 */

import { type Action, KEY_ROWS } from "./keys";

/** The keys of the actions whose keys are not those of the table. */
export type KeyChanges = Readonly<Partial<Record<Action, readonly string[]>>>;

/** A key that is wanted for one action and belongs to another. */
export interface Clash {
  readonly key: string;
  readonly action: Action;
}

const MOST_KEYS = 4; // of an action
const FIXED: readonly Action[] = ["cancel"]; // Esc leaves everything, dialogs too
const COMBO = /^(Ctrl\+)?(Alt\+)?(Shift\+(?=[A-Z]))?([!-`{-~]|[A-Z][A-Za-z0-9]{1,23}|[^\s!-~])$/u;
const DEFAULTS: ReadonlyMap<Action, readonly string[]> = new Map(
  KEY_ROWS.map(({ action, keys }) => [action, keys]),
);
/** What keys mean whatever a person likes. */
const RESERVED: readonly (readonly [RegExp, string])[] = [
  [/^[1-9]$/, "Digits choose categories."],
  [/Arrow(Left|Right|Up|Down)$/, "Arrows move boxes and the cursor."],
  [/(^|\+)Tab$/, "Tab goes from one part of the page to the next."],
  [/(^|\+)Escape$/, "Esc leaves what is open, always."],
  [/^Ctrl\+(Shift\+)?[NTW]$|^(Alt\+F4|F11|F12)$/, "The browser keeps this key for itself."],
];
const MODIFIERS =
  /^(Shift|Control|Alt|AltGraph|Meta|CapsLock|NumLock|Fn|Dead|Process|Unidentified)$/;

/** Whether a key alone does nothing yet: it goes with others, or has no name. */
export function isModifier(key: string): boolean {
  return MODIFIERS.test(key);
}

/** Why a key can be no action's, in words; "" when it can. */
export function refusalOf(combo: string): string {
  const reserved = RESERVED.find(([keys]) => keys.test(combo));
  if (reserved) return reserved[1];
  const isKey = COMBO.test(combo) && !isModifier(combo.split("+").at(-1) ?? "");
  return isKey ? "" : "This key has no name.";
}

/** Whether a person can give an action other keys. */
export function isEditable(action: Action): boolean {
  return DEFAULTS.has(action) && !FIXED.includes(action);
}

export class KeyMap {
  /** Only what differs from the table, in its order. */
  readonly changes: KeyChanges;
  private readonly byKey: ReadonlyMap<string, Action>;

  constructor(changes: KeyChanges = {}) {
    const differing = [...DEFAULTS].flatMap(([action, plain]) => {
      const own = changes[action];
      return own && own.join(" ") !== plain.join(" ") ? [[action, own] as const] : [];
    });
    this.changes = Object.fromEntries(differing);
    const owned = [...DEFAULTS.keys()].flatMap((action) =>
      this.keysOf(action).map((key) => [key, action] as const),
    );
    this.byKey = new Map(owned);
  }

  keysOf(action: Action): readonly string[] {
    return this.changes[action] ?? DEFAULTS.get(action) ?? [];
  }

  /** The first key of an action, for titles; "" when it has none. */
  keyOf(action: Action): string {
    return this.keysOf(action).at(0) ?? "";
  }

  actionOf(combo: string): Action | null {
    return this.byKey.get(combo) ?? null;
  }

  isChanged(action: Action): boolean {
    return this.changes[action] !== undefined;
  }

  /** What stands in the way of giving an action some keys. */
  clashes(action: Action, keys: readonly string[]): readonly Clash[] {
    return keys.flatMap((key) => {
      const owner = this.actionOf(key);
      return owner && owner !== action ? [{ key, action: owner }] : [];
    });
  }

  /** Give an action these keys and no others; those who had them lose them. */
  give(action: Action, keys: readonly string[]): KeyMap {
    const made: Partial<Record<Action, readonly string[]>> = { ...this.changes };
    for (const { action: owner } of this.clashes(action, keys)) {
      made[owner] = this.keysOf(owner).filter((key) => !keys.includes(key));
    }
    return new KeyMap({ ...made, [action]: keys });
  }

  /** Give an action these keys; the first who loses any gets the action's old ones. */
  swap(action: Action, keys: readonly string[]): KeyMap {
    const [first] = this.clashes(action, keys);
    const given = this.give(action, keys);
    const old = this.keysOf(action).filter((key) => !keys.includes(key));
    return given.give(first.action, [...given.keysOf(first.action), ...old].slice(0, MOST_KEYS));
  }

  /** The keys that the table gives an action. */
  plain(action: Action): readonly string[] {
    return DEFAULTS.get(action) ?? [];
  }
}

/** Read the keys somebody stored; what cannot be is left out, and so are keys claimed twice. */
export function readKeys(value: unknown): KeyMap {
  const found = Object.entries(Object(value) as Record<string, unknown>);
  let changes = Object.fromEntries(found.filter(isChange)) as KeyChanges;
  for (;;) {
    const map = new KeyMap(changes);
    const twice = doubled(map);
    if (twice.size === 0) return map;
    const isClean = (keys: readonly string[]): boolean => !keys.some((key) => twice.has(key));
    const kept = Object.entries(map.changes).filter(([, keys]) => isClean(keys));
    changes = Object.fromEntries(kept);
  }
}

function isChange([name, keys]: [string, unknown]): boolean {
  if (!isEditable(name as Action) || !Array.isArray(keys) || keys.length > MOST_KEYS) return false;
  return keys.every((key) => typeof key === "string" && refusalOf(key) === "");
}

/** The keys that more than one action has, or one action twice. */
function doubled(map: KeyMap): ReadonlySet<string> {
  const [seen, twice] = [new Set<string>(), new Set<string>()];
  for (const action of DEFAULTS.keys()) {
    for (const key of map.keysOf(action)) (seen.has(key) ? twice : seen).add(key);
  }
  return twice;
}
