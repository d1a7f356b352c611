/**
 * A mask as coarse as the screen shows it: cells of 2^level pixels a side.
 *
 * A cell is set when any of its pixels is, so that nothing vanishes when one zooms out. A crop of
 * cells has cells for units, also in its place.
 */

import type { Patch } from "./patch";
import { type Crop, cropRect } from "./raster";
import { eachColumn, textToRuns } from "./rle";
import type { Rect, Rle } from "./types";

/** The cells of a mask in a frame of cells, with what is being painted on it. */
export function cellsOf(rle: Rle | null, patch: Patch | null, level: number, frame: Rect): Crop {
  const [w, h] = [frame.x1 - frame.x0, frame.y1 - frame.y0];
  const cells: Crop = { x: frame.x0, y: frame.y0, w, h, data: new Uint8Array(w * h) };
  if (rle) fillCells(cells, rle, level);
  if (patch) repaint(cells, patch, level, frame);
  return cells;
}

/** Bring the cells of a rectangle of cells up to date with what was painted there. */
export function repaint(cells: Crop, patch: Patch, level: number, rect: Rect): void {
  const pixels = toPixels(rect, level);
  for (const tile of patch.under(pixels)) {
    const own = meet(meet(toCells(cropRect(tile), level), rect), cropRect(cells));
    for (let y = own.y0; y < own.y1; y++) {
      for (let x = own.x0; x < own.x1; x++) {
        cells.data[(y - cells.y) * cells.w + x - cells.x] = anyOf(tile, x, y, level);
      }
    }
  }
}

/** The pixels of a rectangle of cells. */
export function toPixels({ x0, y0, x1, y1 }: Rect, level: number): Rect {
  const side = 2 ** level;
  return { x0: x0 * side, y0: y0 * side, x1: x1 * side, y1: y1 * side };
}

/** The cells that a rectangle of pixels touches. */
export function toCells({ x0, y0, x1, y1 }: Rect, level: number): Rect {
  const side = 2 ** level;
  return {
    x0: Math.floor(x0 / side),
    y0: Math.floor(y0 / side),
    x1: Math.ceil(x1 / side),
    y1: Math.ceil(y1 / side),
  };
}

/** The cells within so many steps, by a side each, of a cell that is not set. */
export function rimOf(cells: Crop, steps: number): Crop {
  let core = cells.data;
  for (let i = 0; i < steps; i++) core = eroded(core, cells.w, cells.h);
  return { ...cells, data: cells.data.map((value, at) => value - core[at]) };
}

/** What two rectangles share; one of no extent when they share nothing. */
export function meet(a: Rect, b: Rect): Rect {
  const [x0, y0] = [Math.max(a.x0, b.x0), Math.max(a.y0, b.y0)];
  return {
    x0,
    y0,
    x1: Math.max(x0, Math.min(a.x1, b.x1)),
    y1: Math.max(y0, Math.min(a.y1, b.y1)),
  };
}

export function isEmpty({ x0, y0, x1, y1 }: Rect): boolean {
  return x0 >= x1 || y0 >= y1;
}

function fillCells({ x, y, w, h, data }: Crop, rle: Rle, level: number): void {
  const rect = toPixels({ x0: x, y0: y, x1: x + w, y1: y + h }, level);
  eachColumn(textToRuns(rle.counts), rle.size[0], rect, (px, y0, y1) => {
    const last = ((y1 - 1) >> level) - y;
    for (let row = (y0 >> level) - y, at = row * w + (px >> level) - x; row <= last; row++) {
      data[at] = 1;
      at += w;
    }
  });
}

function anyOf({ x, y, w, h, data }: Crop, cellX: number, cellY: number, level: number): 0 | 1 {
  const [x0, y0, side] = [(cellX << level) - x, (cellY << level) - y, 1 << level];
  const [x1, y1] = [Math.min(w, x0 + side), Math.min(h, y0 + side)];
  for (let row = y0; row < y1; row++) {
    for (let at = row * w + x0; at < row * w + x1; at++) if (data[at] === 1) return 1;
  }
  return 0;
}

function eroded(data: Uint8Array, w: number, h: number): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(data.length);
  for (let y = 1; y < h - 1; y++) {
    for (let at = y * w + 1; at < y * w + w - 1; at++) {
      made[at] = data[at] & data[at - 1] & data[at + 1] & data[at - w] & data[at + w];
    }
  }
  return made;
}
