/**
 * The keyboard's own cursor on the image: arrows move it, a key presses with the tool at hand.
 *
 * Held down or switched on, the press paints and erases; with tools that take points it sets one.
 * What was painted is kept however the press ends, but for Escape.
 */

import { arrowOf } from "./boxkeys";
import { clamp } from "./boxes";
import type { Editor } from "./editor";
import type { Scene } from "./scene";
import { takesPoints, type Trail } from "./trail";
import type { Travel } from "./travel";
import type { Point, Size } from "./types";

export interface KeyCursorPorts {
  readonly editor: Editor;
  readonly scene: Scene;
  readonly trail: Trail;
  readonly request: () => void;
  readonly say: (text: string) => void;
}

type Press = Pick<KeyboardEvent, "key" | "altKey" | "shiftKey" | "ctrlKey" | "metaKey">;

const STEP = 8; // CSS pixels an arrow goes with tools that have no size
const FAR = 4; // steps that Shift makes of one
const PAN = 60; // CSS pixels an arrow pans by

/** Image pixels that an arrow goes: the brush's radius, or what the eye can see; Alt one pixel. */
export function stepOf(editor: Editor, scale: number, { altKey, shiftKey }: Press): number {
  if (altKey) return 1;
  const step = editor.paints ? editor.radius : STEP / scale;
  return Math.max(1, Math.round(step)) * (shiftKey ? FAR : 1);
}

/** A point moved by whole steps, to the centre of a pixel of the image. */
export function moved([x, y]: Point, [dx, dy]: Point, { width, height }: Size): Point {
  return [centred(x + dx, width), centred(y + dy, height)];
}

function centred(at: number, side: number): number {
  return clamp(Math.floor(at), 0, side - 1) + 0.5;
}

export class KeyCursor {
  private imageId = 0; // where `at` is
  private at: Point = [0, 0];
  private heldBy: string | null = null; // the key that presses; "" when it is switched on

  constructor(
    private readonly ports: KeyCursorPorts,
    private readonly travel: Travel,
  ) {}

  /** Move by an arrow key, or pan the view where that is the tool; false when it is no arrow. */
  arrow(event: Press): boolean {
    const { editor, scene } = this.ports;
    const way = event.ctrlKey || event.metaKey ? null : arrowOf(event.key);
    if (!way || !editor.image || !(editor.tool === "pan" || isUsable(editor))) return false;
    if (editor.tool === "pan") {
      const by = event.altKey ? 1 : PAN * (event.shiftKey ? FAR : 1);
      this.travel.shift([-way[0] * by, -way[1] * by]);
      return true;
    }
    const step = stepOf(editor, scene.port.scale, event);
    this.put(moved(this.spot(), [way[0] * step, way[1] * step], editor.image));
    if (this.heldBy === null) this.tellPlace();
    else editor.extendStroke(this.at);
    return true;
  }

  /** Press with the tool at hand; `by` is the key that is held, "" for until it is pressed again. */
  press(by: string): void {
    const { editor, scene, trail, say } = this.ports;
    if (this.heldBy !== null) {
      if (by === "") this.release();
      return;
    }
    if (!editor.image || !isUsable(editor)) {
      say("Take the brush, the eraser, a polygon, points or the knife first.");
      return;
    }
    this.put(this.spot());
    if (takesPoints(editor.tool)) trail.click(this.at, scene.port.scale);
    else if (!editor.beginStroke(this.at, editor.tool === "brush" ? 1 : 0)) say(editor.obstacle);
    else {
      this.heldBy = by;
      if (by === "") say(`${editor.tool === "brush" ? "Brush" : "Eraser"} down: arrows draw.`);
    }
  }

  /** The key that presses was let go of. */
  keyUp(code: string): boolean {
    const isHeld = code !== "" && code === this.heldBy;
    if (isHeld) this.release();
    return isHeld;
  }

  /** Lift what is down; the stroke is kept. */
  release(): void {
    if (this.heldBy === null) return;
    const { editor, say } = this.ports;
    const isSwitch = this.heldBy === "";
    this.heldBy = null;
    editor.endStroke();
    if (isSwitch) say("Lifted.");
  }

  /** Take back what is being drawn; false when nothing is. */
  cancel(): boolean {
    if (this.heldBy === null) return false;
    this.heldBy = null;
    this.ports.editor.cancelStroke();
    return true;
  }

  /** The pointer is used again: lift what is down, and show the pointer's place instead. */
  leave(): void {
    this.release();
    this.ports.scene.spot = null;
  }

  /** Where the cursor is, or begins: on the selected mask, else in the middle of the view. */
  private spot(): Point {
    const { image, selected } = this.ports.editor;
    if (!image || image.id === this.imageId) return this.at;
    const [x0, y0, x1, y1] = selected?.box ?? [...this.travel.centre, ...this.travel.centre];
    return moved([(x0 + x1) / 2, (y0 + y1) / 2], [0, 0], image);
  }

  private put(at: Point): void {
    const { editor, scene, request } = this.ports;
    this.at = at;
    this.imageId = editor.image?.id ?? 0;
    scene.spot = at;
    this.travel.follow(at);
    request();
  }

  private tellPlace(): void {
    const { editor, say } = this.ports;
    const item = editor.at(this.at);
    const [x, y] = this.at.map(Math.floor);
    say(`At ${x}, ${y}${item ? `, on mask ${item.number}` : ""}.`);
  }
}

function isUsable(editor: Editor): boolean {
  return editor.paints || takesPoints(editor.tool);
}
