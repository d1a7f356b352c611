/** Whole masks as text or arrays, for references that are slow and plain. */

import { type Crop, trim } from "../src/raster";
import type { Size } from "../src/types";
import type { Random } from "./random";

export type Dense = readonly (readonly number[])[]; // rows of 0 or 1

export function toDense(crop: Crop, { width, height }: Size): Dense {
  return grid({ width, height }, (x, y) => {
    const [cx, cy] = [x - crop.x, y - crop.y];
    return cx >= 0 && cy >= 0 && cx < crop.w && cy < crop.h ? crop.data[cy * crop.w + cx] : 0;
  });
}

export function toCrop(dense: Dense): Crop {
  return trim({
    x: 0,
    y: 0,
    w: dense[0].length,
    h: dense.length,
    data: Uint8Array.from(dense.flat()),
  });
}

export function grid({ width, height }: Size, value: (x: number, y: number) => number): number[][] {
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => value(x, y)),
  );
}

/** Read "#" as set: one line a row. */
export function drawn(...rows: string[]): Dense {
  return rows.map((row) => Array.from(row, (sign) => Number(sign === "#")));
}

export function lines(dense: Dense): string[] {
  return dense.map((row) => row.map((value) => (value === 1 ? "#" : ".")).join(""));
}

/** A mask of random rectangles, some taken away again, so that it has holes, parts and borders. */
export function blots(random: Random, image: Size): Dense {
  const made = grid(image, () => 0);
  for (let i = 0; i < 6; i++) {
    const value = Number(random.next() < 0.7);
    const [x0, y0] = [random.whole(-3, image.width), random.whole(-3, image.height)];
    const [w, h] = [random.whole(1, 10), random.whole(1, 10)];
    for (let y = Math.max(0, y0); y < Math.min(image.height, y0 + h); y++) {
      for (let x = Math.max(0, x0); x < Math.min(image.width, x0 + w); x++) made[y][x] = value;
    }
  }
  return made;
}

export const SEEDS = Array.from({ length: 40 }, (_, seed) => seed);
