/** What lies over image and masks: boxes, labels, handles, points, the pointer. */

import { HANDLES, handlePoint } from "./boxes";
import type { Draft } from "./choice";
import { css, inkOn, type Rgb } from "./color";
import type { Editor } from "./editor";
import type { Instance } from "./instance";
import type { Pen } from "./pens";
import type { Scene } from "./scene";
import { takesPoints } from "./trail";
import type { Box, Point, Rect } from "./types";
import { toImage, toView } from "./viewport";

/** What the overlay asks of the renderer. */
export interface Colours {
  colorOf(of: { category_id: number; number: number }): Rgb;
  nameOf(categoryId: number): string;
}

const PULSE = 1400; // milliseconds
const LIGHT = "rgb(255 255 255 / 0.9)";
const DARK = "rgb(0 0 0 / 0.6)";
const LABEL = 20; // CSS pixels above its box
const LONGEST = 240; // CSS pixels a label may reach beyond its box
const DIMMED = 0.35; // how much of its strength a mask keeps that steps back

/** How strongly an instance is drawn, 0 to 1. */
export function strengthOf(item: Instance, editor: Editor, { look }: Scene): number {
  const steps = look.dim && editor.selected !== null && !editor.isChosen(item.id);
  return (item.state === "rejected" ? 0.45 : 1) * (steps ? DIMMED : 1);
}

export class Overlay {
  constructor(
    private readonly pen: Pen,
    private readonly editor: Editor,
    private readonly scene: Scene,
    private readonly colours: Colours,
  ) {}

  /** Draw everything in CSS pixels; `phase` is the pulse's, 0 to 1. */
  draw(phase: number): void {
    const { editor, scene } = this;
    const { selected } = editor;
    if (selected && editor.isShown(selected)) this.drawBox(selected);
    this.drawPlaceholders(phase);
    if (editor.draft) this.drawDraft(editor.draft);
    if (editor.trail.length > 0) this.drawTrail(editor.trail);
    const cursor = cursorOf(scene);
    if (cursor) this.drawCursor(cursor);
    if (cursor && scene.spot) this.drawSpot(cursor);
  }

  /** Draw boxes and labels in CSS pixels; those beside a rectangle of the screen are left out. */
  drawBoxes(items: readonly Instance[], rect: Rect, ratio: number): void {
    const [left, right] = [rect.x0 / ratio - LONGEST, rect.x1 / ratio + 2];
    const [top, bottom] = [rect.y0 / ratio - 2, rect.y1 / ratio + LABEL + 2];
    for (const item of items) {
      const [x0, y0, x1, y1] = this.viewBox(item.box);
      if (x0 < right && y0 < bottom && x1 > left && y1 > top) this.drawBox(item);
    }
  }

  private drawBox(item: Instance): void {
    const isChosen = this.editor.isChosen(item.id);
    const isSelected = item.id === this.editor.selectedId;
    if (isSelected && this.editor.draft?.id === item.id) return;
    const color = this.colours.colorOf(item);
    const strength = strengthOf(item, this.editor, this.scene);
    this.pen.globalAlpha = strength;
    if (isChosen) this.frameOf(item.box, "rgb(255 255 255 / 0.85)", 3.5);
    this.frameOf(item.box, css(color, isChosen ? 1 : 0.7), isChosen ? 1.5 : 1);
    this.pen.globalAlpha = 1;
    const isFree = isSelected && this.editor.obstacle === "";
    if (isFree && this.editor.tool === "select") this.drawHandles(item.box, color);
    this.drawLabel(item, color, isChosen, strength);
  }

  private drawLabel(item: Instance, color: Rgb, isChosen: boolean, strength: number): void {
    const [x0, y0, x1] = this.viewBox(item.box);
    if (!isChosen && x1 - x0 < 36) return;
    const name = this.colours.nameOf(item.category_id);
    const text = isChosen || x1 - x0 > 90 ? `${item.number} ${name}` : String(item.number);
    this.chip(text, [x0, Math.max(y0 - LABEL, 2)], color, strength);
  }

  /** A label with a halo, so that it stands off whatever lies behind it. */
  private chip(text: string, [x, y]: Point, color: Rgb, alpha: number): void {
    const { pen } = this;
    pen.font = "600 12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.globalAlpha = alpha;
    pen.beginPath();
    pen.roundRect(x, y, pen.measureText(text).width + 10, 18, 4);
    pen.strokeStyle = inkOn(color) === "#000" ? DARK : LIGHT;
    pen.lineWidth = 2.5;
    pen.stroke();
    pen.fillStyle = css(color);
    pen.fill();
    pen.fillStyle = inkOn(color);
    pen.fillText(text, x + 5, y + 9.5);
    pen.globalAlpha = 1;
  }

  private drawHandles(box: Box, color: Rgb): void {
    const { pen, scene } = this;
    for (const handle of HANDLES) {
      const [x, y] = toView(scene.port, handlePoint(box, handle));
      pen.beginPath();
      pen.roundRect(x - 4.5, y - 4.5, 9, 9, 2);
      pen.fillStyle = "#fff";
      pen.fill();
      pen.strokeStyle = css(color);
      pen.lineWidth = 2;
      pen.stroke();
    }
  }

  private drawPlaceholders(phase: number): void {
    const { pen, scene } = this;
    for (const { box, category_id } of scene.placeholders) {
      const color = this.colours.colorOf({ category_id, number: 0 });
      const [x0, y0, x1, y1] = this.viewBox(box);
      pen.fillStyle = css(color, 0.06 + 0.14 * phase);
      pen.fillRect(x0, y0, x1 - x0, y1 - y0);
      this.dashed(box, css(color));
    }
  }

  private drawDraft({ id, box }: Draft): void {
    const item = id === null ? null : this.editor.find(id);
    const category_id = item?.category_id ?? this.editor.categoryId;
    const color = this.colours.colorOf({ category_id, number: item?.number ?? 0 });
    this.dashed(box, css(color));
    if (item) this.drawHandles(box, color);
    const [x0, , , y1] = this.viewBox(box);
    this.chip(`${box[2] - box[0]} × ${box[3] - box[1]}`, [x0, y1 + 4], color, 1);
  }

  /** The points so far, the line through them and on to the pointer, and how it would close. */
  private drawTrail(trail: readonly Point[]): void {
    const { pen, scene, editor } = this;
    const points = trail.map((point) => toView(scene.port, point));
    const isLine = editor.tool === "split";
    const cursor = cursorOf(scene);
    const next = cursor ? [...points, cursor] : points;
    if (editor.tool !== "extreme") {
      const isOpen = isLine || next.length < 3;
      this.polyline(next, isOpen, DARK, 4);
      this.polyline(next, isOpen, "#fff", 1.75);
    }
    const each = isLine && points.length > 12 ? [points[0]] : points; // drawn by hand
    for (const [x, y] of each) {
      pen.beginPath();
      pen.arc(x, y, 4, 0, 2 * Math.PI);
      pen.fillStyle = "#fff";
      pen.fill();
      pen.strokeStyle = DARK;
      pen.lineWidth = 2;
      pen.stroke();
    }
  }

  private polyline(points: readonly Point[], isOpen: boolean, style: string, width: number): void {
    const { pen } = this;
    pen.beginPath();
    for (const [x, y] of points) pen.lineTo(x, y);
    if (!isOpen) pen.closePath();
    pen.lineJoin = "round";
    pen.strokeStyle = style;
    pen.lineWidth = width;
    pen.stroke();
  }

  private dashed(box: Box, style: string): void {
    this.frameOf(box, LIGHT, 3);
    this.pen.setLineDash([6, 4]);
    this.frameOf(box, style, 2);
    this.pen.setLineDash([]);
  }

  private drawCursor(at: Point): void {
    const { tool, brushRadius: radius, draft, paints } = this.editor;
    const isAiming = (tool === "box" && !draft) || tool === "extreme";
    if (this.scene.look.cross || isAiming) this.drawCross(at);
    if (paints) this.drawBrush(at, radius, tool === "eraser");
    else if (takesPoints(tool)) this.dot(at);
  }

  /** A cross that stands for the keyboard's cursor, seen on any ground. */
  private drawSpot([x, y]: Point): void {
    for (const [style, width] of [
      [DARK, 4],
      ["#fff", 1.75],
    ] as const) {
      this.polyline([[x - 9, y], [x + 9, y]], true, style, width); // prettier-ignore
      this.polyline([[x, y - 9], [x, y + 9]], true, style, width); // prettier-ignore
    }
  }

  private dot([x, y]: Point): void {
    this.pen.fillStyle = "#fff";
    this.pen.fillRect(x - 1, y - 1, 2, 2);
  }

  private drawBrush([x, y]: Point, radius: number, isEraser: boolean): void {
    const { pen, scene } = this;
    pen.beginPath();
    pen.arc(x, y, Math.max(radius * scene.port.scale, 1.5), 0, 2 * Math.PI);
    pen.strokeStyle = DARK;
    pen.lineWidth = 3;
    pen.stroke();
    if (isEraser) pen.setLineDash([4, 3]);
    pen.strokeStyle = "#fff";
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.setLineDash([]);
  }

  /** Thin lines through the cursor, to line a box up with what it must enclose. */
  private drawCross([x, y]: Point): void {
    const { pen, scene } = this;
    const [px, py] = toImage(scene.port, [x, y]);
    const { width, height } = scene.image ?? { width: 0, height: 0 };
    if (px < 0 || py < 0 || px >= width || py >= height) return;
    const [left, top] = toView(scene.port, [0, 0]);
    const [right, bottom] = toView(scene.port, [width, height]);
    for (const [style, shift] of [
      ["rgb(0 0 0 / 0.45)", 1],
      ["rgb(255 255 255 / 0.75)", 0],
    ] as const) {
      pen.fillStyle = style;
      pen.fillRect(left, Math.round(y) + shift, right - left, 1);
      pen.fillRect(Math.round(x) + shift, top, 1, bottom - top);
    }
  }

  private frameOf(box: Box, style: string, width: number): void {
    const [x0, y0, x1, y1] = this.viewBox(box);
    this.pen.strokeStyle = style;
    this.pen.lineWidth = width;
    this.pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }

  private viewBox([x0, y0, x1, y1]: Box): Box {
    const { port } = this.scene;
    return [...toView(port, [x0, y0]), ...toView(port, [x1, y1])];
  }
}

/** Where the pointer, or the keyboard's cursor in its place, is in the view. */
function cursorOf({ spot, port, cursor }: Scene): Point | null {
  return spot ? toView(port, spot) : cursor;
}

/** The pulse of a waiting box, 0 to 1, at a time in milliseconds. */
export function pulseAt(now: number): number {
  return (1 + Math.cos((now / PULSE) * 2 * Math.PI)) / 2;
}
