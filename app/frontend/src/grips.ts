/** What a press of the select tool takes hold of, what dragging makes of it, and how it looks. */

import { boxOf, dragHandle, type Handle, handleAt, inBox, moveBox } from "./boxes";
import type { Editor } from "./editor";
import type { Scene } from "./scene";
import type { Box, Point } from "./types";
import { toImage } from "./viewport";

/** A box in hand: a new one, a handle of the selected instance's, or all of that. */
export type Grip =
  | { readonly kind: "box"; readonly from: Point }
  | { readonly kind: "handle"; readonly id: number; readonly box: Box; readonly handle: Handle }
  | { readonly kind: "move"; readonly id: number; readonly box: Box; readonly from: Point };

const REACH = { mouse: 8, touch: 20 }; // CSS pixels around a handle

/** The handle or the box of the selected instance at a point of the view, if any. */
export function gripAt(editor: Editor, scene: Scene, at: Point, pointer: string): Grip | null {
  const item = editor.selected;
  if (!item || editor.obstacle !== "") return null;
  const point = toImage(scene.port, at);
  const box = editor.draft?.id === item.id ? editor.draft.box : item.box;
  const reach = pointer === "touch" ? REACH.touch : REACH.mouse;
  const handle = handleAt(box, point, reach / scene.port.scale);
  if (handle) return { kind: "handle", id: item.id, box, handle };
  return inBox(box, point) ? { kind: "move", id: item.id, box, from: point } : null;
}

/** Show the box as it is once its grip was dragged to a point of the image. */
export function dragGrip(editor: Editor, grip: Grip, to: Point): void {
  const { image } = editor;
  if (!image) return;
  if (grip.kind === "box") editor.setDraft({ id: null, box: boxOf(grip.from, to, image) });
  else if (grip.kind === "handle") {
    editor.setDraft({ id: grip.id, box: dragHandle(grip.box, grip.handle, to, image) });
  } else {
    const by: Point = [to[0] - grip.from[0], to[1] - grip.from[1]];
    editor.setDraft({ id: grip.id, box: moveBox(grip.box, by, image) });
  }
}

/** The pointer's look over what the select tool would take hold of. */
export function selectCursor(editor: Editor, scene: Scene, at: Point): string {
  const grip = gripAt(editor, scene, at, "mouse");
  if (grip?.kind === "handle") return handleCursor(grip.handle);
  if (editor.at(toImage(scene.port, at))) return "pointer";
  return grip ? "move" : "default";
}

function handleCursor([x, y]: Handle): string {
  if (x === 0) return "ns-resize";
  if (y === 0) return "ew-resize";
  return x === y ? "nwse-resize" : "nesw-resize";
}
