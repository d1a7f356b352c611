/**
 * Polygons as pixels: one belongs to it when its centre lies inside by the even-odd rule.
 *
 * The order of operations is part of the contract: Python repeats it in float64, bit for bit.
 */

import { clamp } from "./boxes";
import { type Crop, EMPTY, trim } from "./raster";
import type { Point, Rect, Size } from "./types";

/**
 * Fill a polygon that closes by itself; it may cross itself and leave the image.
 *
 * A row's centre line meets an edge when exactly one end lies at or above it, and a pixel is
 * inside when an odd number of edges is met at or left of its centre.
 */
export function fillPolygon(points: readonly Point[], image: Size): Crop {
  const { x0, y0, x1, y1 } = reach(points, image);
  if (points.length < 3 || x1 <= x0 || y1 <= y0) return EMPTY;
  const crop = {
    x: x0,
    y: y0,
    w: x1 - x0,
    h: y1 - y0,
    data: new Uint8Array((x1 - x0) * (y1 - y0)),
  };
  for (let y = y0; y < y1; y++) {
    const met = meetings(points, y + 0.5);
    const row = crop.data.subarray((y - y0) * crop.w, (y - y0 + 1) * crop.w);
    for (let i = 0; i + 1 < met.length; i += 2) {
      const from = clamp(firstFrom(met[i]) - x0, 0, crop.w);
      const to = clamp(firstFrom(met[i + 1]) - x0, 0, crop.w);
      for (let x = from; x < to; x++) row[x] = 1 - row[x];
    }
  }
  return trim(crop);
}

/** Where the edges meet a horizontal line, from left to right. */
function meetings(points: readonly Point[], y: number): number[] {
  const found: number[] = [];
  points.forEach(([bx, by], i) => {
    const [ax, ay] = points[(i + points.length - 1) % points.length];
    if (ay <= y !== by <= y) found.push(ax + ((y - ay) * (bx - ax)) / (by - ay));
  });
  return found.sort((a, b) => a - b);
}

/** The first column whose centre is not left of x, whatever rounding does. */
function firstFrom(x: number): number {
  let column = Math.ceil(x - 0.5);
  while (column - 0.5 >= x) column--;
  while (column + 0.5 < x) column++;
  return column;
}

function reach(points: readonly Point[], image: Size): Rect {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  return {
    x0: Math.max(0, Math.floor(Math.min(...xs))),
    y0: Math.max(0, Math.floor(Math.min(...ys))),
    x1: Math.min(image.width, Math.ceil(Math.max(...xs)) + 1),
    y1: Math.min(image.height, Math.ceil(Math.max(...ys)) + 1),
  };
}
