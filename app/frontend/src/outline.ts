/** The border of a mask as straight pieces along pixel edges, for drawing at any zoom. */

import type { Crop } from "./raster";

/**
 * List the border pieces of a mask, in image pixels.
 *
 * Works on the columns where each row changes its value, so that the cost follows the border and
 * not the area.
 *
 * Returns flat [x0, y0, x1, y1, ...]; each piece is horizontal or vertical and as long as it can be.
 */
export function outline(crop: Crop): number[] {
  const pieces: number[] = [];
  const open = new Map<number, number>(); // column of an upright piece -> row where it began
  let above: readonly number[] = [];
  for (let y = 0; y <= crop.h; y++) {
    const here = y < crop.h ? turns(crop, y) : [];
    addFlat(pieces, above, here, crop.x, crop.y + y);
    addUpright(pieces, open, here, crop.x, crop.y + y);
    above = here;
  }
  return pieces;
}

/** The columns where a row changes between 0 and 1, the row's ends counted as 0. */
function turns({ w, data }: Crop, y: number): number[] {
  const row = data.subarray(y * w, (y + 1) * w);
  const found: number[] = [];
  for (let x = row.indexOf(1), value = 1; x >= 0; value = 1 - value) {
    found.push(x);
    x = row.indexOf(1 - value, x);
  }
  if (found.length % 2 === 1) found.push(w);
  return found;
}

/** Pieces between two rows: where exactly one of them is set, by merging their turns. */
function addFlat(
  pieces: number[],
  above: readonly number[],
  below: readonly number[],
  left: number,
  y: number,
): void {
  const merged = [...above, ...below].sort((a, b) => a - b);
  for (let i = 0; i + 1 < merged.length; i += 2) {
    if (merged[i] < merged[i + 1]) pieces.push(left + merged[i], y, left + merged[i + 1], y);
  }
}

/** End the upright pieces that do not go on in this row, and begin those that are new. */
function addUpright(
  pieces: number[],
  open: Map<number, number>,
  here: readonly number[],
  left: number,
  y: number,
): void {
  const going = new Set(here);
  for (const [x, from] of open) {
    if (going.has(x)) continue;
    pieces.push(left + x, from, left + x, y);
    open.delete(x);
  }
  for (const x of here) if (!open.has(x)) open.set(x, y);
}
