/** Drawing and changing boxes by keyboard alone. */

import { isLargeEnough, moveBox, resizeBox } from "./boxes";
import type { Editor } from "./editor";
import type { Instance } from "./instance";
import type { Box, Point } from "./types";

const ARROWS: Readonly<Record<string, Point>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const STEP = 8; // CSS pixels an arrow moves a new box
const SHARE = 0.25; // of the view's lesser side: a new box

/** Start a new box around a point; `scale` and `side` are the view's, in CSS pixels. */
export function startBox(editor: Editor, [x, y]: Point, side: number, scale: number): boolean {
  if (!editor.image) return false;
  const { width, height } = editor.image;
  const half = Math.max((side / scale) * SHARE * 0.5, 4);
  const [w, h] = [Math.min(half, width / 2), Math.min(half, height / 2)];
  const [cx, cy] = [middle(x, w, width), middle(y, h, height)];
  const box: Box = [Math.round(cx - w), Math.round(cy - h), Math.round(cx + w), Math.round(cy + h)];
  editor.setDraft({ id: null, box });
  return isLargeEnough(box);
}

/**
 * Move or resize the box at hand by an arrow key: a new box, or the selected instance's.
 *
 * Returns false when the key is no arrow, or there is no box at hand.
 */
export function arrowBox(editor: Editor, event: KeyboardEvent, scale: number): boolean {
  if (!arrowOf(event.key) || event.ctrlKey || event.metaKey) return false;
  if (editor.draft?.id === null) return arrowNew(editor, event, editor.draft.box, scale);
  if (editor.tool !== "select" || !editor.selected || editor.obstacle !== "") return false;
  return arrowSelected(editor, event, editor.selected);
}

/** A new box moves by what the eye can see, or with Alt by one pixel; Shift resizes it. */
function arrowNew(editor: Editor, event: KeyboardEvent, box: Box, scale: number): boolean {
  const step = event.altKey ? 1 : Math.max(1, Math.round(STEP / scale));
  return put(editor, null, box, event.shiftKey ? resizeBox : moveBox, arrow(event, step));
}

/** The box of the selected instance moves by 1 pixel, with Shift by 10; Alt resizes it. */
function arrowSelected(editor: Editor, event: KeyboardEvent, { id, box }: Instance): boolean {
  const change = event.altKey ? resizeBox : moveBox;
  return put(editor, id, editor.draft?.box ?? box, change, arrow(event, event.shiftKey ? 10 : 1));
}

function put(
  editor: Editor,
  id: number | null,
  box: Box,
  change: typeof moveBox,
  by: Point,
): boolean {
  if (editor.image) editor.setDraft({ id, box: change(box, by, editor.image) });
  return editor.image !== null;
}

/** The direction of an arrow key; null for any other. */
export function arrowOf(key: string): Point | null {
  return Object.hasOwn(ARROWS, key) ? ARROWS[key] : null;
}

function arrow(event: KeyboardEvent, step: number): Point {
  const [dx, dy] = ARROWS[event.key];
  return [dx * step, dy * step];
}

function middle(at: number, half: number, side: number): number {
  return Math.min(Math.max(at, half), side - half);
}
