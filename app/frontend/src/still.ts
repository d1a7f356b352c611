/**
 * The part of the canvas that strokes leave alone: painted once, and moved along with the view.
 *
 * Where the view moves by whole screen pixels only the strips that come into sight are painted.
 */

import { fitCanvas, type Pen, penOf } from "./pens";
import type { Sheet } from "./sheet";
import type { Rect, Size } from "./types";
import type { Viewport } from "./viewport";

/** What the picture depends on; with the same key, image and scale it is only moved. */
export interface StillOf {
  readonly key: string;
  readonly image: Sheet;
  readonly port: Viewport;
  readonly size: Size; // CSS pixels
  readonly ratio: number;
  readonly isMovable: boolean;
}

const WHOLE = 1e-6; // screen pixels by which a move may miss a whole number
const TOP = 24; // CSS pixels in which labels stick to the upper edge

export class Still {
  readonly pen: Pen = penOf(document.createElement("canvas"));
  private last: StillOf | null = null;

  /** Bring the picture up to date; `paint` fills a rectangle of it, in screen pixels. */
  update(now: StillOf, paint: (rect: Rect) => void): void {
    const { last, pen } = this;
    this.last = now;
    if (last && isLike(last, now)) {
      const dx = (now.port.x - last.port.x) * now.ratio;
      const dy = (now.port.y - last.port.y) * now.ratio;
      if (dx === 0 && dy === 0) return;
      if (now.isMovable && isWhole(dx) && isWhole(dy)) {
        this.move(Math.round(dx), Math.round(dy), now.ratio, paint);
        return;
      }
    }
    fitCanvas(pen.canvas, now.size, now.ratio);
    this.paint({ x0: 0, y0: 0, x1: pen.canvas.width, y1: pen.canvas.height }, paint);
  }

  private move(dx: number, dy: number, ratio: number, paint: (rect: Rect) => void): void {
    const { canvas } = this.pen;
    this.pen.setTransform(1, 0, 0, 1, 0, 0);
    this.pen.globalCompositeOperation = "copy";
    this.pen.drawImage(canvas, dx, dy);
    this.pen.globalCompositeOperation = "source-over";
    for (const rect of exposed(canvas, dx, dy, Math.ceil(TOP * ratio))) this.paint(rect, paint);
  }

  private paint(rect: Rect, paint: (rect: Rect) => void): void {
    const { pen } = this;
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.beginPath();
    pen.rect(rect.x0, rect.y0, rect.x1 - rect.x0, rect.y1 - rect.y0);
    pen.clip();
    pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
    paint(rect);
    pen.restore();
  }
}

/**
 * The strips to be painted after everything moved by (dx, dy).
 *
 * With a move up or down also the upper edge, `top` pixels of it, since labels stick to it.
 */
export function exposed({ width, height }: Size, dx: number, dy: number, top: number): Rect[] {
  const strips: Rect[] = [];
  const clamp = (at: number, most: number): number => Math.min(Math.max(at, 0), most);
  const [x0, x1] = dx > 0 ? [0, clamp(dx, width)] : [clamp(width + dx, width), width];
  if (dx !== 0) strips.push({ x0, y0: 0, x1, y1: height });
  if (dy !== 0) strips.push({ x0: 0, y0: 0, x1: width, y1: clamp(Math.max(dy, 0) + top, height) });
  if (dy < 0) strips.push({ x0: 0, y0: clamp(height + dy, height), x1: width, y1: height });
  return strips;
}

function isLike(a: StillOf, b: StillOf): boolean {
  const isSame = a.key === b.key && a.image === b.image && a.port.scale === b.port.scale;
  const isSized = a.size.width === b.size.width && a.size.height === b.size.height;
  return isSame && isSized && a.ratio === b.ratio;
}

function isWhole(by: number): boolean {
  return Math.abs(by - Math.round(by)) < WHOLE;
}
