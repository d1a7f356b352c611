/**
 * The pyramid of an image: level 0 is the image, each next one has half its sides.
 *
 * Every level is cut into square tiles from its upper left corner; the server cuts the same ones.
 */

import { isEmpty, meet, toCells, toPixels } from "./cells";
import type { Rect, Size } from "./types";
import { toImage, type Viewport } from "./viewport";

export const TILE = 512; // pixels of a tile's side, on its own level

export interface TileRef {
  readonly level: number;
  readonly column: number;
  readonly row: number;
}

/** The coarsest level of an image: the first that is a single tile. */
export function lastLevel({ width, height }: Size): number {
  return Math.max(0, Math.ceil(Math.log2(Math.max(width, height) / TILE)));
}

/** The coarsest level that has a pixel for each of the screen; `scale` is in screen pixels. */
export function levelFor(scale: number): number {
  return Math.max(0, Math.floor(-Math.log2(scale)));
}

/** The pixels of an image that are in sight, grown by a share of its sides. */
export function inSight(image: Size, view: Size, port: Viewport, margin = 0): Rect {
  const [left, top] = toImage(port, [-margin * view.width, -margin * view.height]);
  const corner = [(1 + margin) * view.width, (1 + margin) * view.height] as const;
  const [right, bottom] = toImage(port, corner);
  const rect = {
    x0: Math.floor(left),
    y0: Math.floor(top),
    x1: Math.ceil(right),
    y1: Math.ceil(bottom),
  };
  return meet({ x0: 0, y0: 0, x1: image.width, y1: image.height }, rect);
}

/** The tiles of a level that a rectangle of the image needs. */
export function tilesIn(image: Size, rect: Rect, level: number): TileRef[] {
  const whole = { x0: 0, y0: 0, x1: image.width, y1: image.height };
  const shared = meet(whole, rect);
  if (isEmpty(shared)) return [];
  const { x0, y0, x1, y1 } = toCells(shared, level + Math.log2(TILE));
  const found: TileRef[] = [];
  for (let row = y0; row < y1; row++) {
    for (let column = x0; column < x1; column++) found.push({ level, column, row });
  }
  return found;
}

/** The pixels of the image that a tile shows. */
export function tileRect(image: Size, { level, column, row }: TileRef): Rect {
  const place = { x0: column, y0: row, x1: column + 1, y1: row + 1 };
  const rect = toPixels(place, level + Math.log2(TILE));
  return meet(rect, { x0: 0, y0: 0, x1: image.width, y1: image.height });
}

/** The tile of the next coarser level that a tile is a quarter of. */
export function parentOf({ level, column, row }: TileRef): TileRef {
  return { level: level + 1, column: column >> 1, row: row >> 1 };
}

export function nameOf({ level, column, row }: TileRef): string {
  return `${level}/${column}/${row}`;
}
