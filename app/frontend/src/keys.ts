/** Every key of the canvas in one table: what it does, what the help says, what buttons show. */

import type { Switch } from "./look";

export type Action =
  | "tool.box"
  | "tool.extreme"
  | "tool.polygon"
  | "tool.cut"
  | "tool.brush"
  | "tool.eraser"
  | "tool.split"
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
  | "cursor.press"
  | "cursor.lock"
  | "confirm"
  | "cancel"
  | "accept"
  | "reject"
  | "repropose"
  | "delete"
  | "select.next"
  | "select.previous"
  | "select.all"
  | "select.none"
  | MaskAction
  | LookAction
  | QueueAction
  | "category.search"
  | "menu.mask"
  | "menu.view"
  | "image.next"
  | "image.previous"
  | "conflict"
  | "hand.left"
  | "hand.pressure"
  | "help";

/** What is switched on and off in the look of image and masks. */
export type LookAction = `look.${Switch}`;

/** What leads through the queue and belongs to reviewing. */
export type QueueAction =
  | "queue.next"
  | "queue.previous"
  | "queue.filter"
  | "accept.next"
  | "accept.above"
  | "send.back"
  | "comment"
  | "reviewer";

/** What is done to the shape and the place of whole masks. */
export type MaskAction =
  | "shape.fill"
  | "shape.largest"
  | "shape.smooth"
  | "shape.grow"
  | "shape.shrink"
  | "separate"
  | "merge"
  | "overlap"
  | "copy.next"
  | "order.forward"
  | "order.back"
  | "lock"
  | "hide"
  | "alone"
  | "show.all";

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
  row("Tools", "tool.extreme", "Four extreme points", "X"),
  row("Tools", "tool.polygon", "Polygon, adds", "G"),
  row("Tools", "tool.cut", "Polygon, cuts out", "Shift+G"),
  row("Tools", "tool.brush", "Brush", "P"),
  row("Tools", "tool.eraser", "Eraser", "E"),
  row("Tools", "tool.split", "Knife: split a mask", "K"),
  row("Tools", "tool.select", "Select", "V"),
  row("Tools", "tool.pan", "Pan", "H"),
  row("Tools", "brush.smaller", "Smaller brush", "["),
  row("Tools", "brush.larger", "Larger brush", "]"),
  row("Tools", "look.assist", "Assist: the model carries strokes on", "A"),
  row("Masks", "confirm", "Accept; get the mask, close, cut", "Enter"),
  row("Masks", "cancel", "Leave it, or else reject", "Escape"),
  row("Masks", "repropose", "Propose the mask anew", "R"),
  row("Masks", "delete", "Delete, or the last point", "Delete", "Backspace"),
  row("Masks", "undo", "Undo", "Ctrl+Z"),
  row("Masks", "redo", "Redo", "Ctrl+Shift+Z", "Ctrl+Y"),
  row("Queue", "queue.next", "Next of the queue", "Space"),
  row("Queue", "queue.previous", "Previous of the queue", "Shift+Space"),
  row("Queue", "accept.next", "Accept and go on", "Y"),
  row("Queue", "queue.filter", "Open the filter of the queue", "Shift+Q"),
  row("Queue", "accept.above", "Accept all above a score", "Shift+Y"),
  row("Queue", "comment", "Comment", "Shift+U"),
  row("Queue", "send.back", "Send back with a comment", "U"),
  row("Queue", "reviewer", "Review, or annotate", "Shift+R"),
  row("Masks", "select.next", "Next mask", "N"),
  row("Masks", "select.previous", "Previous mask", "Shift+N"),
  row("Masks", "select.all", "Choose all masks", "Ctrl+A"),
  row("Masks", "select.none", "Choose none", "Ctrl+Shift+A"),
  row("Masks", "category.search", "Find a category", "/"),
  row("Shape", "shape.fill", "Fill holes", "Shift+F"),
  row("Shape", "shape.largest", "Keep the largest part", "Shift+K"),
  row("Shape", "shape.smooth", "Smooth", "S"),
  row("Shape", "shape.grow", "Grow by one pixel", ">"),
  row("Shape", "shape.shrink", "Shrink by one pixel", "<"),
  row("Shape", "separate", "Each part a mask", "Shift+S"),
  row("Shape", "merge", "Merge the chosen masks", "M"),
  row("Shape", "overlap", "Remove overlap", "Shift+O"),
  row("Shape", "copy.next", "Copy to the next image", "C"),
  row("Order", "order.forward", "Bring forward", "}"),
  row("Order", "order.back", "Send back", "{"),
  row("Order", "lock", "Lock or unlock", "L"),
  row("Order", "hide", "Hide or show", "Shift+H"),
  row("Order", "alone", "Hide all others", "I"),
  row("Order", "show.all", "Show all", "Shift+I"),
  row("Boxes by keyboard", "box.start", "New box at the centre", "Shift+Enter"),
  row("Drawing by keyboard", "cursor.press", "Hold to paint or erase; sets a point", "J"),
  row("Drawing by keyboard", "cursor.lock", "Paint or erase until pressed again", "Shift+J"),
  row("Shape", "menu.mask", "Open the menu of masks", "Q"),
  row("View", "menu.view", "Open the menu of the view", "W"),
  row("View", "look.outline", "Outline only", "O"),
  row("View", "look.dim", "Dim the others", "Shift+D"),
  row("View", "look.difference", "Difference from the proposal", "D"),
  row("View", "look.stretch", "Stretch the tones", "T"),
  row("View", "look.cross", "Cross-hair", "Shift+C"),
  row("View", "look.map", "Map while zoomed in", "Shift+M"),
  row("View", "look.grid", "Pixel grid", "#"),
  row("Masks", "conflict", "Compare with who saved first", "!"),
  row("View", "view.fit", "Fit the image", "F"),
  row("View", "view.in", "Zoom in", "+", "="),
  row("View", "view.out", "Zoom out", "-"),
  row("View", "image.next", "Next image", "PageDown", "."),
  row("View", "image.previous", "Previous image", "PageUp", ","),
  row("View", "help", "Keys and hands", "?"),
  row("Tools", "hand.pressure", "Pen pressure on or off", "Shift+P"),
  row("View", "hand.left", "Left-handed layout", "Shift+L"),
];

export const GESTURES: readonly Gesture[] = [
  { group: "Tools", keys: "1 – 9", text: "Category" },
  { group: "Tools", keys: "Alt or right button", text: "Brush erases, eraser paints" },
  { group: "Tools", keys: "Ctrl or Alt + wheel", text: "Size of the brush" },
  { group: "Tools", keys: "Double click", text: "Close the polygon, make the cut" },
  { group: "Masks", keys: "Shift + click", text: "Choose several masks" },
  { group: "Boxes by keyboard", keys: "Arrows", text: "Move the new or selected box" },
  {
    group: "Boxes by keyboard",
    keys: "Shift + arrows",
    text: "New box: resize; selected: by 10 px",
  },
  { group: "Boxes by keyboard", keys: "Alt + arrows", text: "New box: by 1 px; selected: resize" },
  { group: "Drawing by keyboard", keys: "Arrows", text: "Move by the brush's radius" },
  { group: "Drawing by keyboard", keys: "Alt + arrows", text: "Move by 1 pixel" },
  { group: "Drawing by keyboard", keys: "Shift + arrows", text: "Move four steps" },
  { group: "View", keys: "Arrows", text: "Pan, with the tool Pan" },
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

/** What an action does, in a few words. */
export function textOfAction(action: Action): string {
  return KEY_ROWS.find((row) => row.action === action)?.text ?? action;
}
