/**
 * Dense crops of masks, and the brush.
 *
 * A pixel belongs to a stroke when its centre lies within the radius of the stroke's line. The
 * order of operations is part of the contract: Python repeats it in float64, bit for bit.
 */

import type { Point, Rect, Size } from "./types";

/** A rectangle of a mask at (x, y) in the image; `data` is row-major, 0 or 1. */
export interface Crop {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
  readonly data: Uint8Array;
}

export const EMPTY: Crop = { x: 0, y: 0, w: 0, h: 0, data: new Uint8Array(0) };

export function cropRect(crop: Crop): Rect {
  return { x0: crop.x, y0: crop.y, x1: crop.x + crop.w, y1: crop.y + crop.h };
}

/** The pixels that a capsule from a to b can reach, clipped to the image. */
export function capsuleReach(a: Point, b: Point, radius: number, image: Size): Rect {
  return {
    x0: Math.max(0, Math.floor(Math.min(a[0], b[0]) - radius)),
    y0: Math.max(0, Math.floor(Math.min(a[1], b[1]) - radius)),
    x1: Math.min(image.width, Math.ceil(Math.max(a[0], b[0]) + radius) + 1),
    y1: Math.min(image.height, Math.ceil(Math.max(a[1], b[1]) + radius) + 1),
  };
}

/**
 * Widen a crop to hold a rectangle, with some slack so that a long stroke seldom copies.
 *
 * Returns the crop itself when it already holds the rectangle, or the rectangle is empty.
 */
export function grow(crop: Crop, rect: Rect, image: Size, slack = 0): Crop {
  if (rect.x1 <= rect.x0 || rect.y1 <= rect.y0 || holds(crop, rect)) return crop;
  const old = crop.w > 0 && crop.h > 0 ? cropRect(crop) : rect;
  const x = Math.max(0, Math.min(old.x0, rect.x0 - slack));
  const y = Math.max(0, Math.min(old.y0, rect.y0 - slack));
  const w = Math.min(image.width, Math.max(old.x1, rect.x1 + slack)) - x;
  const h = Math.min(image.height, Math.max(old.y1, rect.y1 + slack)) - y;
  return cut(crop, { x0: x, y0: y, x1: x + w, y1: y + h });
}

/** Set every pixel whose centre is within `radius` of the segment a-b; returns what it touched. */
export function stampCapsule(crop: Crop, a: Point, b: Point, radius: number, value: 0 | 1): Rect {
  const reach = capsuleReach(a, b, radius, { width: crop.x + crop.w, height: crop.y + crop.h });
  const [x0, y0] = [Math.max(crop.x, reach.x0), Math.max(crop.y, reach.y0)];
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const [lengthSquared, radiusSquared] = [dx * dx + dy * dy, radius * radius];
  for (let y = y0; y < reach.y1; y++) {
    const py = y + 0.5 - a[1];
    const row = (y - crop.y) * crop.w - crop.x;
    for (let x = x0; x < reach.x1; x++) {
      const px = x + 0.5 - a[0];
      let t = lengthSquared > 0 ? (px * dx + py * dy) / lengthSquared : 0;
      t = t < 0 ? 0 : t > 1 ? 1 : t;
      const ex = px - t * dx;
      const ey = py - t * dy;
      if (ex * ex + ey * ey <= radiusSquared) crop.data[row + x] = value;
    }
  }
  return { x0, y0, x1: Math.max(x0, reach.x1), y1: Math.max(y0, reach.y1) };
}

/** The pixels that either mask has. */
export function union(a: Crop, b: Crop, image: Size): Crop {
  if (b.w === 0 || b.h === 0) return a;
  const wide = grow(a, cropRect(b), image);
  const made = wide === a ? { ...a, data: a.data.slice() } : wide;
  overlay(made, b, (to) => {
    made.data[to] = 1;
  });
  return made;
}

/** The pixels that the first mask has and the second has not. */
export function minus(a: Crop, b: Crop): Crop {
  const made = { ...a, data: a.data.slice() };
  overlay(made, b, (to) => {
    made.data[to] = 0;
  });
  return trim(made);
}

/** Number of pixels of a mask. */
export function areaOfCrop({ data }: Crop): number {
  let sum = 0;
  for (const value of data) sum += value;
  return sum;
}

/** Cut away empty rows and columns; a mask of no pixels becomes EMPTY. */
export function trim(crop: Crop): Crop {
  const { w, h, data } = crop;
  let [x0, x1] = [w, 0];
  let [y0, y1] = [h, 0];
  for (let y = 0; y < h; y++) {
    const row = data.subarray(y * w, (y + 1) * w);
    const first = row.indexOf(1);
    if (first < 0) continue;
    x0 = Math.min(x0, first);
    x1 = Math.max(x1, row.lastIndexOf(1) + 1);
    y0 = Math.min(y0, y);
    y1 = y + 1;
  }
  if (y1 === 0) return EMPTY;
  if (x0 === 0 && y0 === 0 && x1 === w && y1 === h) return crop;
  return cut(crop, { x0: crop.x + x0, y0: crop.y + y0, x1: crop.x + x1, y1: crop.y + y1 });
}

/** True when the pixel that holds the point belongs to the mask. */
export function hit(crop: Crop, [px, py]: Point): boolean {
  const [x, y] = [Math.floor(px) - crop.x, Math.floor(py) - crop.y];
  if (x < 0 || y < 0 || x >= crop.w || y >= crop.h) return false;
  return crop.data[y * crop.w + x] === 1;
}

/** Visit the place in `on` of every pixel that `b` has there. */
function overlay(on: Crop, b: Crop, visit: (at: number) => void): void {
  const [x0, x1] = [Math.max(on.x, b.x), Math.min(on.x + on.w, b.x + b.w)];
  const y1 = Math.min(on.y + on.h, b.y + b.h);
  for (let y = Math.max(on.y, b.y); y < y1; y++) {
    const to = (y - on.y) * on.w - on.x;
    const from = (y - b.y) * b.w - b.x;
    for (let x = x0; x < x1; x++) if (b.data[from + x] === 1) visit(to + x);
  }
}

function holds(crop: Crop, rect: Rect): boolean {
  const own = cropRect(crop);
  return rect.x0 >= own.x0 && rect.y0 >= own.y0 && rect.x1 <= own.x1 && rect.y1 <= own.y1;
}

/** The same mask seen through another rectangle; pixels outside the crop are zero. */
export function cut(crop: Crop, to: Rect): Crop {
  const [w, h] = [to.x1 - to.x0, to.y1 - to.y0];
  const data = new Uint8Array(w * h);
  const x0 = Math.max(to.x0, crop.x);
  const x1 = Math.min(to.x1, crop.x + crop.w);
  const y1 = Math.min(to.y1, crop.y + crop.h);
  for (let y = Math.max(to.y0, crop.y); y < y1 && x0 < x1; y++) {
    const from = (y - crop.y) * crop.w - crop.x;
    data.set(crop.data.subarray(from + x0, from + x1), (y - to.y0) * w + x0 - to.x0);
  }
  return { x: to.x0, y: to.y0, w, h, data };
}
