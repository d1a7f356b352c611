/**
 * Mouse, pen and touch on the canvas, turned into acts of the editor and moves of the view.
 *
 * One gesture runs at a time. A second finger aborts whatever the first one drew and pinches;
 * after a pinch nothing starts until all fingers are lifted.
 */

import { boxOf, dragHandle, type Handle, handleAt, inBox, isLargeEnough, moveBox } from "./boxes";
import type { Editor } from "./editor";
import { fromMap, mapFrame } from "./minimap";
import type { Scene } from "./scene";
import type { Box, Point } from "./types";
import { takesPoints, type Trail } from "./trail";
import { panBy, toImage, toView, type Viewport, zoomAt } from "./viewport";

export interface InputPorts {
  readonly canvas: HTMLCanvasElement;
  readonly editor: Editor;
  readonly scene: Scene;
  readonly trail: Trail;
  readonly setPort: (port: Viewport) => void;
  readonly request: () => void;
  readonly propose: (box: Box) => void;
  readonly changeBox: (id: number, box: Box) => void;
  readonly say: (text: string) => void;
}

type Gesture =
  | { kind: "pan"; last: Point }
  | { kind: "box"; from: Point }
  | { kind: "stroke" }
  | { kind: "handle"; id: number; box: Box; handle: Handle }
  | { kind: "move"; id: number; box: Box; from: Point }
  | { kind: "pick"; adds: boolean }
  | { kind: "point" }
  | { kind: "map"; frame: Box }
  | { kind: "pinch"; centre: Point; distance: number }
  | { kind: "spent" };

const SLIP = 3; // CSS pixels a click may wander
const REACH = { mouse: 8, touch: 20 }; // CSS pixels around a handle
const WHEEL_ZOOM = 0.0016; // per unit of wheel
const LINE = 33; // wheel units a line, where the browser counts lines

export class Input {
  isSpaceDown = false;
  spacePanned = false; // the space bar was used to pan, so its release means nothing else
  private gesture: Gesture | null = null;
  private start: Point = [0, 0]; // view pixels
  private wandered = false;
  private readonly pointers = new Map<number, Point>();
  private readonly listening = new AbortController();

  constructor(private readonly ports: InputPorts) {
    const { canvas } = ports;
    const on = <K extends keyof HTMLElementEventMap>(
      name: K,
      act: (event: HTMLElementEventMap[K]) => void,
    ): void => {
      canvas.addEventListener(name, act, { signal: this.listening.signal, passive: false });
    };
    on("pointerdown", this.down.bind(this));
    on("pointermove", this.move.bind(this));
    on("pointerup", this.up.bind(this));
    on("pointercancel", this.lost.bind(this));
    on("dblclick", () => {
      ports.trail.doubleClick();
    });
    on("pointerleave", this.hover.bind(this, null));
    on("wheel", this.wheel.bind(this));
    on("contextmenu", (event) => {
      event.preventDefault();
    });
    const letGo = (): void => {
      this.isSpaceDown = false; // its release goes to another window
    };
    window.addEventListener("blur", letGo, { signal: this.listening.signal });
  }

  stop(): void {
    this.listening.abort();
  }

  get isBusy(): boolean {
    return this.gesture !== null && this.gesture.kind !== "spent";
  }

  /** Leave the gesture in progress without any effect on masks; false when there is none. */
  cancel(): boolean {
    if (!this.isBusy) return false;
    this.abort();
    this.gesture = { kind: "spent" };
    return true;
  }

  // -- pointers ---------------------------------------------------------------------------------

  private down(event: PointerEvent): void {
    if (!this.ports.scene.image) return;
    const { canvas } = this.ports;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const at = this.pointOf(event);
    this.pointers.set(event.pointerId, at);
    if (event.pointerType === "touch" && this.pointers.size === 2) this.beginPinch();
    else if (this.gesture === null && !this.beginMap(at)) this.begin(event, at);
    this.ports.request();
  }

  private begin(event: PointerEvent, at: Point): void {
    this.start = at;
    this.wandered = false;
    const { editor, scene } = this.ports;
    const isBrush = editor.tool === "brush" || editor.tool === "eraser";
    if (event.button === 1 || editor.tool === "pan" || this.isSpaceDown) this.beginPan(at);
    else if (event.button === 2 && !isBrush) this.beginPan(at);
    else if (isBrush) this.beginStroke(at, event.altKey || event.button === 2);
    else if (takesPoints(editor.tool)) this.gesture = { kind: "point" };
    else if (editor.tool === "select") {
      this.gesture = event.shiftKey
        ? { kind: "pick", adds: true }
        : this.grab(at, event.pointerType);
    } else this.gesture = { kind: "box", from: toImage(scene.port, at) };
    this.hover(at);
  }

  private beginMap(at: Point): boolean {
    const frame = this.mapUnder(at);
    if (frame) this.gesture = { kind: "map", frame };
    return frame !== null;
  }

  /** The map's place in the view, when the pointer is on it. */
  private mapUnder(at: Point): Box | null {
    const { editor, scene } = this.ports;
    if (!editor.image || !scene.look.map) return null;
    const frame = mapFrame(editor.image, scene.size, scene.port);
    return frame && inBox(frame, at) ? frame : null;
  }

  /** Bring the image point under a point of the map to the middle of the view. */
  private goTo(frame: Box, at: Point): void {
    const { editor, scene } = this.ports;
    if (!editor.image) return;
    const [x, y] = toView(scene.port, fromMap(frame, editor.image, at));
    this.shift([scene.size.width / 2 - x, scene.size.height / 2 - y]);
  }

  private beginPan(at: Point): void {
    this.gesture = { kind: "pan", last: at };
    this.spacePanned = this.isSpaceDown;
    this.setCursor("grabbing");
  }

  private beginStroke(at: Point, isInverted: boolean): void {
    const { editor, scene } = this.ports;
    const value = (editor.tool === "brush") === isInverted ? 0 : 1;
    if (editor.beginStroke(toImage(scene.port, at), value)) this.gesture = { kind: "stroke" };
    else this.ports.say(editor.obstacle);
  }

  /** What a press in the select tool takes hold of: a handle, the box, or nothing yet. */
  private grab(at: Point, pointer: string): Gesture {
    const { editor, scene } = this.ports;
    const item = editor.selected;
    if (!item || editor.obstacle !== "") return { kind: "pick", adds: false };
    const point = toImage(scene.port, at);
    const box = editor.draft?.id === item.id ? editor.draft.box : item.box;
    const reach = pointer === "touch" ? REACH.touch : REACH.mouse;
    const handle = handleAt(box, point, reach / scene.port.scale);
    if (handle) return { kind: "handle", id: item.id, box, handle };
    if (inBox(box, point)) return { kind: "move", id: item.id, box, from: point };
    return { kind: "pick", adds: false };
  }

  private move(event: PointerEvent): void {
    const at = this.pointOf(event);
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, at);
    if (Math.hypot(at[0] - this.start[0], at[1] - this.start[1]) >= SLIP) this.wandered = true;
    this.hover(event.pointerType === "touch" && this.gesture?.kind !== "stroke" ? null : at);
    const gesture = this.gesture;
    if (gesture === null) this.showCursor(at);
    else if (gesture.kind === "pinch") this.pinch(gesture);
    else if (gesture.kind === "pan") this.pan(gesture, at);
    else if (gesture.kind === "stroke") this.draw(event);
    else if (gesture.kind === "point") this.cutOn(at);
    else if (gesture.kind === "map") this.goTo(gesture.frame, at);
    else this.drag(gesture, toImage(this.ports.scene.port, at));
  }

  private drag(gesture: Gesture, to: Point): void {
    const { editor } = this.ports;
    const image = editor.image;
    if (!image || !this.wandered) return;
    if (gesture.kind === "box") {
      editor.setDraft({ id: null, box: boxOf(gesture.from, to, image) });
    } else if (gesture.kind === "handle") {
      editor.setDraft({
        id: gesture.id,
        box: dragHandle(gesture.box, gesture.handle, to, image),
      });
    } else if (gesture.kind === "move") {
      const by: Point = [to[0] - gesture.from[0], to[1] - gesture.from[1]];
      editor.setDraft({ id: gesture.id, box: moveBox(gesture.box, by, image) });
    }
  }

  private draw(event: PointerEvent): void {
    const coalesced = event.getCoalescedEvents();
    const { editor, scene } = this.ports;
    for (const one of coalesced.length > 0 ? coalesced : [event]) {
      editor.extendStroke(toImage(scene.port, this.pointOf(one)));
    }
  }

  /** A knife that is dragged draws its line by hand. */
  private cutOn(at: Point): void {
    const { editor, scene, trail } = this.ports;
    if (editor.tool !== "split" || !this.wandered) return;
    if (!trail.isOpen) trail.extend(toImage(scene.port, this.start), scene.port.scale);
    trail.extend(toImage(scene.port, at), scene.port.scale);
  }

  private up(event: PointerEvent): void {
    if (!this.pointers.delete(event.pointerId)) return;
    const gesture = this.gesture;
    if (gesture?.kind === "pinch") this.gesture = { kind: "spent" };
    else if (gesture && gesture.kind !== "spent") {
      this.gesture = null;
      this.finish(gesture, this.pointOf(event));
    }
    if (this.pointers.size === 0) this.gesture = null;
    if (event.pointerType === "touch") this.hover(null);
    else this.showCursor(this.pointOf(event));
    this.ports.request();
  }

  private lost(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    this.abort();
    this.gesture = this.pointers.size > 0 ? { kind: "spent" } : null;
    this.ports.request();
  }

  private finish(gesture: Gesture, at: Point): void {
    const { editor, scene } = this.ports;
    if (gesture.kind === "stroke") {
      editor.endStroke();
      return;
    }
    if (gesture.kind === "pan") return;
    if (gesture.kind === "map") {
      this.goTo(gesture.frame, at);
      return;
    }
    if (gesture.kind === "point") {
      this.point(toImage(scene.port, at));
      return;
    }
    const draft = editor.draft;
    if (!this.wandered || gesture.kind === "pick") {
      const adds = gesture.kind === "pick" && gesture.adds;
      if (!draft) this.pick(toImage(scene.port, at), adds);
      return;
    }
    editor.setDraft(null);
    if (!draft || !isLargeEnough(draft.box)) return;
    if (draft.id === null) this.ports.propose(draft.box);
    else this.ports.changeBox(draft.id, draft.box);
  }

  private point(at: Point): void {
    const { editor, scene, trail } = this.ports;
    if (editor.tool === "split" && this.wandered) trail.finish();
    else trail.click(at, scene.port.scale);
  }

  private pick(point: Point, adds: boolean): void {
    const { editor } = this.ports;
    const item = editor.at(point);
    if (!adds) editor.select(item?.id ?? null);
    else if (item) editor.toggle(item.id);
  }

  private abort(): void {
    const gesture = this.gesture;
    this.gesture = null;
    if (gesture?.kind === "stroke") this.ports.editor.cancelStroke();
    else if (gesture && gesture.kind !== "pan" && gesture.kind !== "pinch") {
      this.ports.editor.setDraft(null);
      const isKnife = gesture.kind === "point" && this.ports.editor.tool === "split";
      if (isKnife && this.wandered) this.ports.trail.cancel();
    }
  }

  // -- the view ---------------------------------------------------------------------------------

  private beginPinch(): void {
    this.abort();
    this.gesture = { kind: "pinch", ...this.spread() };
  }

  private spread(): { centre: Point; distance: number } {
    const [a, b] = [...this.pointers.values()];
    const centre: Point = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    return { centre, distance: Math.max(Math.hypot(a[0] - b[0], a[1] - b[1]), 1) };
  }

  private pinch(gesture: { centre: Point; distance: number }): void {
    if (this.pointers.size < 2) return;
    const { centre, distance } = this.spread();
    this.shift([centre[0] - gesture.centre[0], centre[1] - gesture.centre[1]]);
    this.zoom(centre, distance / gesture.distance);
    gesture.centre = centre;
    gesture.distance = distance;
  }

  private pan(gesture: { last: Point }, at: Point): void {
    this.shift([at[0] - gesture.last[0], at[1] - gesture.last[1]]);
    gesture.last = at;
  }

  private shift(by: Point): void {
    const { editor, scene } = this.ports;
    if (editor.image) this.ports.setPort(panBy(scene.port, by, editor.image, scene.size));
  }

  private zoom(at: Point, factor: number): void {
    const { editor, scene } = this.ports;
    if (editor.image) this.ports.setPort(zoomAt(scene.port, at, factor, editor.image, scene.size));
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const { editor } = this.ports;
    const by = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? LINE : 1);
    const isBrush = editor.tool === "brush" || editor.tool === "eraser";
    if (isBrush && (event.ctrlKey || event.altKey)) {
      editor.setRadius(editor.radius * Math.exp(-by * WHEEL_ZOOM));
    } else this.zoom(this.pointOf(event), Math.exp(-by * WHEEL_ZOOM));
  }

  // -- the cursor -------------------------------------------------------------------------------

  private hover(at: Point | null): void {
    this.ports.scene.cursor = at;
    this.ports.request();
  }

  private showCursor(at: Point): void {
    const { editor, scene } = this.ports;
    if (this.mapUnder(at)) this.setCursor("pointer");
    else if (this.isSpaceDown || editor.tool === "pan") this.setCursor("grab");
    else if (editor.tool === "select") this.setCursor(this.selectCursor(at));
    else {
      const isBrush = editor.tool === "brush" || editor.tool === "eraser";
      this.setCursor(isBrush && scene.image ? "none" : "crosshair");
    }
  }

  private selectCursor(at: Point): string {
    const { editor, scene } = this.ports;
    const gesture = this.grab(at, "mouse");
    if (gesture.kind === "handle") return cursorOf(gesture.handle);
    if (editor.at(toImage(scene.port, at))) return "pointer";
    return gesture.kind === "move" ? "move" : "default";
  }

  private setCursor(cursor: string): void {
    this.ports.canvas.style.cursor = cursor;
  }

  private pointOf(event: MouseEvent): Point {
    const rect = this.ports.canvas.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  }
}

function cursorOf([x, y]: Handle): string {
  if (x === 0) return "ns-resize";
  if (y === 0) return "ew-resize";
  return x === y ? "nwse-resize" : "nesw-resize";
}

/** The image point at the middle of the view. */
export function centreOf(scene: Scene): Point {
  return toImage(scene.port, [scene.size.width / 2, scene.size.height / 2]);
}
