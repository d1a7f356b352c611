/** An image that can be put on screen: whole as one bitmap, or large in tiles as they are needed. */

import type { Pen } from "./pens";
import { lastLevel, levelFor, nameOf, parentOf, tileRect, tilesIn, type TileRef } from "./tiles";
import type { Rect, Size } from "./types";

export interface Sheet extends Size {
  readonly small: ImageBitmap; // of the whole image; any size
  /** Draw what a rectangle of the image needs at a zoom; the pen is in image pixels. */
  draw(pen: Pen, rect: Rect, scale: number): void;
  /** Have it told when more of the image is here than was drawn. */
  listen(onMore: () => void): void;
  /** Let go of what can be fetched again, while another image is shown. */
  rest(): void;
  close(): void;
}

export class WholeSheet implements Sheet {
  constructor(readonly small: ImageBitmap) {}

  get width(): number {
    return this.small.width;
  }

  get height(): number {
    return this.small.height;
  }

  draw(pen: Pen): void {
    pen.imageSmoothingQuality = "medium"; // it may be shrunk to any part
    pen.drawImage(this.small, 0, 0);
  }

  listen(): void {
    // It is all here.
  }

  rest(): void {
    // The bitmap is all there is.
  }

  close(): void {
    this.small.close();
  }
}

const MOST_TILES = 160; // in memory; a screen needs about 40
const AT_ONCE = 4; // requests
const AGAIN = 2000; // milliseconds until a tile that failed is asked for again

export class TiledSheet implements Sheet {
  readonly width: number;
  readonly height: number;
  private readonly tiles = new Map<string, ImageBitmap>(); // least recently drawn first
  private readonly asked = new Set<string>();
  private onMore: () => void = () => undefined;
  private isClosed = false;

  /** `small` is the only tile of the coarsest level, which stays. */
  constructor(
    size: Size,
    readonly small: ImageBitmap,
    private readonly fetch: (tile: TileRef) => Promise<ImageBitmap>,
  ) {
    this.width = size.width;
    this.height = size.height;
  }

  draw(pen: Pen, rect: Rect, scale: number): void {
    const level = Math.min(levelFor(scale), lastLevel(this));
    const wanted = tilesIn(this, rect, level);
    pen.imageSmoothingQuality = "low"; // their level fits the screen
    for (const tile of wanted) this.put(pen, tile);
    const missing = wanted.filter((tile) => this.bitmapOf(tile) === null);
    const middle = [(rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2] as const;
    const distance = (tile: TileRef): number => {
      const { x0, y0, x1, y1 } = tileRect(this, tile);
      return Math.hypot((x0 + x1) / 2 - middle[0], (y0 + y1) / 2 - middle[1]);
    };
    missing.sort((a, b) => distance(a) - distance(b));
    for (const tile of missing) void this.ask(tile);
  }

  listen(onMore: () => void): void {
    this.onMore = onMore;
  }

  rest(): void {
    for (const bitmap of this.tiles.values()) bitmap.close();
    this.tiles.clear();
  }

  close(): void {
    this.isClosed = true;
    this.rest();
    this.small.close();
  }

  private bitmapOf(tile: TileRef): ImageBitmap | null {
    return tile.level === lastLevel(this) ? this.small : (this.tiles.get(nameOf(tile)) ?? null);
  }

  /** Draw a tile, or the part of a coarser one that covers its place until it comes. */
  private put(pen: Pen, tile: TileRef): void {
    let at = tile;
    let bitmap = this.bitmapOf(at);
    for (; bitmap === null; bitmap = this.bitmapOf(at)) at = parentOf(at);
    this.used(nameOf(at));
    const [to, from, side] = [tileRect(this, tile), tileRect(this, at), 2 ** at.level];
    const [w, h] = [to.x1 - to.x0, to.y1 - to.y0];
    const [x, y] = [(to.x0 - from.x0) / side, (to.y0 - from.y0) / side];
    pen.drawImage(bitmap, x, y, w / side, h / side, to.x0, to.y0, w, h);
  }

  private async ask(tile: TileRef): Promise<void> {
    const name = nameOf(tile);
    if (this.asked.has(name) || this.asked.size >= AT_ONCE) return;
    this.asked.add(name);
    let bitmap: ImageBitmap | null = null;
    try {
      bitmap = await this.fetch(tile);
    } catch {
      await new Promise((done) => setTimeout(done, AGAIN)); // what is coarser stands until then
    }
    this.asked.delete(name);
    if (this.isClosed) bitmap?.close();
    else if (bitmap) this.keep(name, bitmap);
    if (!this.isClosed) this.onMore();
  }

  private keep(name: string, bitmap: ImageBitmap): void {
    this.tiles.set(name, bitmap);
    for (const [old, one] of [...this.tiles].slice(0, -MOST_TILES)) {
      this.tiles.delete(old);
      one.close();
    }
  }

  private used(name: string): void {
    const bitmap = this.tiles.get(name);
    if (!bitmap) return;
    this.tiles.delete(name);
    this.tiles.set(name, bitmap);
  }
}
