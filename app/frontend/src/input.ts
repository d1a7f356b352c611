/**
 * Mouse, pen and touch on the canvas, turned into acts of the editor and moves of the view.
 *
 * One gesture runs at a time. A second finger aborts whatever the first one drew and pinches;
 * after a pinch nothing starts until all fingers are lifted.
 */

import { isLargeEnough } from "./boxes";
import type { Editor } from "./editor";
import { dragGrip, type Grip, gripAt, selectCursor } from "./grips";
import type { Habits } from "./habits";
import { KeyCursor } from "./keycursor";
import { radiusUnder } from "./pressure";
import type { Scene } from "./scene";
import { Travel } from "./travel";
import type { Box, Point } from "./types";
import { takesPoints, type Trail } from "./trail";
import { toImage, type Viewport } from "./viewport";

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
  readonly habits: () => Habits;
}

type Gesture =
  | Grip
  | { kind: "pan"; last: Point }
  | { kind: "stroke" }
  | { kind: "pick"; adds: boolean }
  | { kind: "point" }
  | { kind: "map"; frame: Box }
  | { kind: "pinch"; centre: Point; distance: number }
  | { kind: "spent" };

const SLIP = 3; // CSS pixels a click may wander
const WHEEL_ZOOM = 0.0016; // per unit of wheel
const LINE = 33; // wheel units a line, where the browser counts lines

export class Input {
  isSpaceDown = false;
  spacePanned = false; // the space bar was used to pan, so its release means nothing else
  readonly travel: Travel;
  readonly keyCursor: KeyCursor;
  private gesture: Gesture | null = null;
  private start: Point = [0, 0]; // view pixels
  private wandered = false;
  private readonly pointers = new Map<number, Point>();
  private readonly listening = new AbortController();

  constructor(private readonly ports: InputPorts) {
    this.travel = new Travel(ports);
    this.keyCursor = new KeyCursor(ports, this.travel);
    this.listen();
  }

  stop(): void {
    this.listening.abort();
  }

  get isBusy(): boolean {
    return this.gesture !== null && this.gesture.kind !== "spent";
  }

  /** Leave what is in progress without any effect on masks; false when there is nothing. */
  cancel(): boolean {
    if (this.keyCursor.cancel()) return true;
    if (!this.isBusy) return false;
    this.abort();
    this.gesture = { kind: "spent" };
    return true;
  }

  /** Let go of every key that is held: its release goes elsewhere. */
  letGo(): void {
    this.isSpaceDown = false;
    this.keyCursor.release();
  }

  private listen(): void {
    const { canvas, trail } = this.ports;
    const { signal } = this.listening;
    const on = <K extends keyof HTMLElementEventMap>(
      name: K,
      act: (event: HTMLElementEventMap[K]) => void,
    ): void => {
      canvas.addEventListener(name, act, { signal, passive: false });
    };
    on("pointerdown", this.down.bind(this));
    on("pointermove", this.move.bind(this));
    on("pointerup", this.up.bind(this));
    on("pointercancel", this.lost.bind(this));
    on("dblclick", () => {
      trail.doubleClick();
    });
    on("pointerleave", this.hover.bind(this, null));
    on("wheel", this.wheel.bind(this));
    on("contextmenu", (event) => {
      event.preventDefault();
    });
    on("blur", this.letGo.bind(this));
    window.addEventListener("blur", this.letGo.bind(this), { signal });
  }

  // -- pointers ---------------------------------------------------------------------------------

  private down(event: PointerEvent): void {
    if (!this.ports.scene.image) return;
    const { canvas } = this.ports;
    this.keyCursor.leave();
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
    if (event.button === 1 || editor.tool === "pan" || this.isSpaceDown) this.beginPan(at);
    else if (event.button === 2 && !editor.paints) this.beginPan(at);
    else if (editor.paints) this.beginStroke(event, at);
    else if (takesPoints(editor.tool)) this.gesture = { kind: "point" };
    else if (editor.tool === "select") {
      const pick = { kind: "pick", adds: event.shiftKey } as const;
      this.gesture = pick.adds ? pick : (gripAt(editor, scene, at, event.pointerType) ?? pick);
    } else this.gesture = { kind: "box", from: toImage(scene.port, at) };
    this.hover(at);
  }

  private beginMap(at: Point): boolean {
    const frame = this.travel.mapUnder(at);
    if (frame) this.gesture = { kind: "map", frame };
    return frame !== null;
  }

  private beginPan(at: Point): void {
    this.gesture = { kind: "pan", last: at };
    this.spacePanned = this.isSpaceDown;
    this.setCursor("grabbing");
  }

  private beginStroke(event: PointerEvent, at: Point): void {
    const { editor, scene } = this.ports;
    const isInverted = event.altKey || event.button === 2;
    const value = (editor.tool === "brush") === isInverted ? 0 : 1;
    const radius = this.radiusOf(event);
    if (editor.beginStroke(toImage(scene.port, at), value, radius)) {
      this.gesture = { kind: "stroke" };
    } else this.ports.say(editor.obstacle);
  }

  private move(event: PointerEvent): void {
    if (this.pointers.has(event.pointerId) && event.buttons === 0) {
      this.up(event); // it was lifted where nobody told us, such as over a dialog of the system
      return;
    }
    const at = this.pointOf(event);
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, at);
    else this.keyCursor.leave();
    if (Math.hypot(at[0] - this.start[0], at[1] - this.start[1]) >= SLIP) this.wandered = true;
    this.hover(event.pointerType === "touch" && this.gesture?.kind !== "stroke" ? null : at);
    const gesture = this.gesture;
    if (gesture === null) this.showCursor(at);
    else this.follow(gesture, event, at);
  }

  private follow(gesture: Gesture, event: PointerEvent, at: Point): void {
    const { editor, scene } = this.ports;
    if (gesture.kind === "pinch") this.pinch(gesture);
    else if (gesture.kind === "pan") this.pan(gesture, at);
    else if (gesture.kind === "stroke") this.draw(event);
    else if (gesture.kind === "point") this.cutOn(at);
    else if (gesture.kind === "map") this.travel.goTo(gesture.frame, at);
    else if (gesture.kind !== "pick" && gesture.kind !== "spent" && this.wandered) {
      dragGrip(editor, gesture, toImage(scene.port, at));
    }
  }

  private draw(event: PointerEvent): void {
    const coalesced = event.getCoalescedEvents();
    const { editor, scene } = this.ports;
    for (const one of coalesced.length > 0 ? coalesced : [event]) {
      editor.extendStroke(toImage(scene.port, this.pointOf(one)), this.radiusOf(one));
    }
  }

  /** The radius of the brush: a pen may set it by its pressure. */
  private radiusOf({ pointerType, pressure }: PointerEvent): number {
    const { editor, habits } = this.ports;
    const follows = pointerType === "pen" && habits().pressure;
    return follows ? radiusUnder(pressure, editor.radius) : editor.radius;
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

  /** The system took the pointer: a stroke stays as far as it came, but of a finger that strayed. */
  private lost(event: PointerEvent): void {
    const isStroke = this.gesture?.kind === "stroke" && event.pointerType !== "touch";
    this.pointers.delete(event.pointerId);
    if (isStroke) this.ports.editor.endStroke();
    else this.abort();
    this.gesture = this.pointers.size > 0 ? { kind: "spent" } : null;
    this.ports.request();
  }

  private finish(gesture: Gesture, at: Point): void {
    const { editor, scene } = this.ports;
    if (gesture.kind === "pan") return;
    if (gesture.kind === "stroke") editor.endStroke();
    else if (gesture.kind === "map") this.travel.goTo(gesture.frame, at);
    else if (gesture.kind === "point") this.point(toImage(scene.port, at));
    else if (this.wandered && gesture.kind !== "pick") this.dropBox();
    else if (!editor.draft) {
      this.pick(toImage(scene.port, at), gesture.kind === "pick" && gesture.adds);
    }
  }

  private point(at: Point): void {
    const { editor, scene, trail } = this.ports;
    if (editor.tool === "split" && this.wandered) trail.finish();
    else trail.click(at, scene.port.scale);
  }

  private dropBox(): void {
    const { editor, propose, changeBox } = this.ports;
    const { draft } = editor;
    editor.setDraft(null);
    if (!draft || !isLargeEnough(draft.box)) return;
    if (draft.id === null) propose(draft.box);
    else changeBox(draft.id, draft.box);
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
    this.travel.shift([centre[0] - gesture.centre[0], centre[1] - gesture.centre[1]]);
    this.travel.zoom(distance / gesture.distance, centre);
    gesture.centre = centre;
    gesture.distance = distance;
  }

  private pan(gesture: { last: Point }, at: Point): void {
    this.travel.shift([at[0] - gesture.last[0], at[1] - gesture.last[1]]);
    gesture.last = at;
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const { editor } = this.ports;
    const by = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? LINE : 1);
    const factor = Math.exp(-by * WHEEL_ZOOM);
    if (editor.paints && (event.ctrlKey || event.altKey)) editor.setRadius(editor.radius * factor);
    else this.travel.zoom(factor, this.pointOf(event));
  }

  // -- the cursor -------------------------------------------------------------------------------

  private hover(at: Point | null): void {
    this.ports.scene.cursor = at;
    this.ports.request();
  }

  private showCursor(at: Point): void {
    const { editor, scene } = this.ports;
    if (this.travel.mapUnder(at)) this.setCursor("pointer");
    else if (this.isSpaceDown || editor.tool === "pan") this.setCursor("grab");
    else if (editor.tool === "select") this.setCursor(selectCursor(editor, scene, at));
    else this.setCursor(editor.paints && scene.image ? "none" : "crosshair");
  }

  private setCursor(cursor: string): void {
    this.ports.canvas.style.cursor = cursor;
  }

  private pointOf(event: MouseEvent): Point {
    const rect = this.ports.canvas.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  }
}
