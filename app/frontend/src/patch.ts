/**
 * A mask that is being painted: the tiles that strokes touched as pixels, the rest as its code.
 *
 * So a stroke costs what it covers, however large image and mask are.
 */

import { capsuleReach, type Crop, stampCapsule } from "./raster";
import { cutRuns, runsToText, splice, textToRuns } from "./rle";
import type { Point, Rect, Rle, Size } from "./types";

export const PATCH = 256; // pixels of a tile's side; a multiple of every cell (see cells.ts)

export class Patch {
  private readonly tiles = new Map<number, Crop>(); // by place in the grid
  private readonly runs: readonly number[];

  constructor(
    rle: Rle | null,
    private readonly image: Size,
  ) {
    this.runs = rle ? textToRuns(rle.counts) : [image.width * image.height];
  }

  /** Set or clear every pixel within `radius` of the segment a-b; returns what it may touch. */
  stamp(a: Point, b: Point, radius: number, value: 0 | 1): Rect {
    const reach = capsuleReach(a, b, radius, this.image);
    for (const [column, row] of places(reach)) {
      stampCapsule(this.tile(column, row), a, b, radius, value);
    }
    return reach;
  }

  /** The painted tiles that overlap a rectangle. */
  under(rect: Rect): readonly Crop[] {
    return [...this.tiles.values()].filter(
      ({ x, y, w, h }) => x < rect.x1 && y < rect.y1 && x + w > rect.x0 && y + h > rect.y0,
    );
  }

  /** The whole mask as it is now. */
  get rle(): Rle {
    const { width, height } = this.image;
    const tiles = [...this.tiles.values()];
    const runs = tiles.reduce((sum, tile) => splice(sum, tile, height), this.runs);
    return { size: [height, width], counts: runsToText(runs) };
  }

  private tile(column: number, row: number): Crop {
    const key = row * 2 ** 16 + column;
    const { width, height } = this.image;
    const [x0, y0] = [column * PATCH, row * PATCH];
    const rect = { x0, y0, x1: Math.min(x0 + PATCH, width), y1: Math.min(y0 + PATCH, height) };
    const tile = this.tiles.get(key) ?? cutRuns(this.runs, height, rect);
    this.tiles.set(key, tile);
    return tile;
  }
}

function places({ x0, y0, x1, y1 }: Rect): [column: number, row: number][] {
  const found: [number, number][] = [];
  for (let row = Math.floor(y0 / PATCH); row * PATCH < y1; row++) {
    for (let column = Math.floor(x0 / PATCH); column * PATCH < x1; column++) {
      found.push([column, row]);
    }
  }
  return x0 < x1 ? found : [];
}
