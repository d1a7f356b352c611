/** Every key of the canvas in one table: what it does, what the help says, what buttons show. */

export type Action =
  | "tool.box"
  | "tool.brush"
  | "tool.eraser"
  | "tool.select"
  | "tool.pan"
  | "brush.smaller"
  | "brush.larger"
  | "undo"
  | "redo"
  | "view.fit"
  | "view.in"
  | "view.out"
  | "box.start"
  | "confirm"
  | "cancel"
  | "accept"
  | "reject"
  | "next.proposed"
  | "repropose"
  | "delete"
  | "select.next"
  | "select.previous"
  | "image.next"
  | "image.previous"
  | "help";

/** One action and the keys that do it; a key is its modifiers and name, as `comboOf` writes it. */
export interface KeyRow {
  readonly action: Action;
  readonly keys: readonly string[];
  readonly text: string;
  readonly group: string;
}

/** A line of the help for what a pointer or a family of keys does. */
export interface Gesture {
  readonly keys: string;
  readonly text: string;
  readonly group: string;
}

function row(group: string, action: Action, text: string, ...keys: string[]): KeyRow {
  return { action, keys, text, group };
}

export const KEY_ROWS: readonly KeyRow[] = [
  row("Tools", "tool.box", "Box", "B"),
  row("Tools", "tool.brush", "Brush", "P"),
  row("Tools", "tool.eraser", "Eraser", "E"),
  row("Tools", "tool.select", "Select", "V"),
  row("Tools", "tool.pan", "Pan", "H"),
  row("Tools", "brush.smaller", "Smaller brush", "["),
  row("Tools", "brush.larger", "Larger brush", "]"),
  row("Masks", "confirm", "Accept, or propose a mask", "Enter"),
  row("Masks", "cancel", "Cancel, or else reject", "Escape"),
  row("Masks", "repropose", "Propose the mask anew", "R"),
  row("Masks", "delete", "Delete", "Delete", "Backspace"),
  row("Masks", "undo", "Undo", "Ctrl+Z"),
  row("Masks", "redo", "Redo", "Ctrl+Shift+Z", "Ctrl+Y"),
  row("Masks", "next.proposed", "Next to review", "Space"),
  row("Masks", "select.next", "Next mask", "N"),
  row("Masks", "select.previous", "Previous mask", "Shift+N"),
  row("Boxes by keyboard", "box.start", "New box at the centre", "Shift+Enter"),
  row("View", "view.fit", "Fit the image", "F"),
  row("View", "view.in", "Zoom in", "+", "="),
  row("View", "view.out", "Zoom out", "-"),
  row("View", "image.next", "Next image", "PageDown", "."),
  row("View", "image.previous", "Previous image", "PageUp", ","),
  row("View", "help", "Show the keys", "?"),
];

export const GESTURES: readonly Gesture[] = [
  { group: "Tools", keys: "1 – 9", text: "Category" },
  { group: "Tools", keys: "Alt or right button", text: "Brush erases, eraser paints" },
  { group: "Tools", keys: "Ctrl or Alt + wheel", text: "Size of the brush" },
  { group: "Boxes by keyboard", keys: "Arrows", text: "Move the new or selected box" },
  {
    group: "Boxes by keyboard",
    keys: "Shift + arrows",
    text: "New box: resize; selected: by 10 px",
  },
  { group: "Boxes by keyboard", keys: "Alt + arrows", text: "New box: by 1 px; selected: resize" },
  { group: "Boxes by keyboard", keys: "Enter / Esc", text: "Get the mask / leave the box" },
  { group: "View", keys: "Wheel, pinch", text: "Zoom where the pointer is" },
  { group: "View", keys: "Space + drag, middle button", text: "Pan" },
];

const NAMES: Readonly<Record<string, string>> = { " ": "Space" };

/** Write a pressed key as the table does: "Ctrl+Shift+Z", "?", "PageDown". */
export function comboOf(event: {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
}): string {
  const isLetter = /^[a-z]$/i.test(event.key);
  const isNamed = event.key.length > 1 || event.key === " ";
  const parts: string[] = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && (isLetter || isNamed)) parts.push("Shift");
  parts.push(NAMES[event.key] ?? (isLetter ? event.key.toUpperCase() : event.key));
  return parts.join("+");
}

const BY_COMBO: ReadonlyMap<string, Action> = new Map(
  KEY_ROWS.flatMap(({ keys, action }) => keys.map((key) => [key, action] as const)),
);

export function actionOf(combo: string): Action | null {
  return BY_COMBO.get(combo) ?? null;
}

/** The first key of an action, for titles. */
export function keyOf(action: Action): string {
  return KEY_ROWS.find((one) => one.action === action)?.keys[0] ?? "";
}
