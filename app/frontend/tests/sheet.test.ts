import { beforeEach, describe, expect, it, vi } from "vitest";

import type { Pen } from "../src/pens";
import { TiledSheet } from "../src/sheet";
import { lastLevel, nameOf, type TileRef } from "../src/tiles";
import type { Rect } from "../src/types";

type Bitmap = ImageBitmap & { readonly tile: TileRef; isClosed: boolean };

const SIZE = { width: 2000, height: 1500 };
const LAST = lastLevel(SIZE);
const WHOLE: Rect = { x0: 0, y0: 0, x1: 2000, y1: 1500 };

let sheet: TiledSheet;
let asked: { readonly tile: TileRef; answer(): Promise<void>; fail(): Promise<void> }[];
let drawn: { readonly tile: TileRef; readonly from: readonly number[]; readonly to: number[] }[];
let bitmaps: Bitmap[];
let more: number;

function bitmapOf(tile: TileRef): Bitmap {
  const bitmap = { tile, isClosed: false, close: () => (bitmap.isClosed = true) };
  bitmaps.push(bitmap as unknown as Bitmap);
  return bitmap as unknown as Bitmap;
}

async function settle(): Promise<void> {
  for (let i = 0; i < 9; i++) await Promise.resolve();
}

function fetch(tile: TileRef): Promise<ImageBitmap> {
  return new Promise((resolve, reject) => {
    asked.push({
      tile,
      answer: () => {
        resolve(bitmapOf(tile));
        return settle();
      },
      fail: () => {
        reject(new Error("no"));
        return settle();
      },
    });
  });
}

function draw(rect: Rect, scale: number): void {
  drawn = [];
  const drawImage = ({ tile }: Bitmap, ...at: number[]): void => {
    drawn.push({ tile, from: at.slice(0, 4), to: at.slice(4) });
  };
  sheet.draw({ drawImage } as unknown as Pen, rect, scale);
}

beforeEach(() => {
  [asked, drawn, bitmaps, more] = [[], [], [], 0];
  sheet = new TiledSheet(SIZE, bitmapOf({ level: LAST, column: 0, row: 0 }), fetch);
  sheet.listen(() => (more += 1));
});

describe("a large image on screen", () => {
  it("shows its coarsest level at once, stretched to where finer tiles will be", () => {
    draw(WHOLE, 1);
    expect(drawn).toHaveLength(12);
    expect(new Set(drawn.map(({ tile }) => tile.level))).toEqual(new Set([LAST]));
    const covered = drawn.reduce((sum, { to }) => sum + to[2] * to[3], 0);
    expect(covered).toBe(SIZE.width * SIZE.height);
    for (const { from, to } of drawn) expect(from.map((at) => at * 2 ** LAST)).toEqual(to);
  });

  it("asks for what is missing, from the middle outwards, a few at once", async () => {
    draw(WHOLE, 1);
    expect(asked).toHaveLength(4);
    expect(asked.slice(0, 2).map(({ tile }) => [tile.column, tile.row])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    draw(WHOLE, 1);
    expect(asked).toHaveLength(4);
    await asked[0].answer();
    expect(more).toBe(1);
    draw(WHOLE, 1);
    expect(asked).toHaveLength(5);
    expect(new Set(asked.map(({ tile }) => nameOf(tile))).size).toBe(5);
  });

  it("draws a tile on its own pixels once it is here, and asks no more for it", async () => {
    const corner = { x0: 0, y0: 0, x1: 300, y1: 300 };
    draw(corner, 1);
    await asked[0].answer();
    draw(corner, 1);
    expect(asked).toHaveLength(1);
    expect(drawn).toEqual([
      { tile: { level: 0, column: 0, row: 0 }, from: [0, 0, 512, 512], to: [0, 0, 512, 512] },
    ]);
  });

  it("asks nothing where the coarsest level is enough", () => {
    draw(WHOLE, 2 ** -LAST);
    expect([asked, drawn.length]).toEqual([[], 1]);
  });

  it("asks again, a while after a tile failed to come", async () => {
    vi.useFakeTimers();
    draw({ x0: 0, y0: 0, x1: 9, y1: 9 }, 1);
    await asked[0].fail();
    draw({ x0: 0, y0: 0, x1: 9, y1: 9 }, 1);
    expect([asked.length, more]).toEqual([1, 0]);
    await vi.advanceTimersByTimeAsync(5000);
    expect(more).toBe(1);
    draw({ x0: 0, y0: 0, x1: 9, y1: 9 }, 1);
    expect(asked).toHaveLength(2);
    vi.useRealTimers();
  });

  it("keeps a limited number of tiles, and closes those drawn longest ago", async () => {
    sheet = new TiledSheet({ width: 16384, height: 16384 }, bitmaps[0], fetch);
    for (let row = 0; row < 32; row++) {
      for (let column = 0; column < 6; column++) {
        const [x0, y0] = [column * 512, row * 512];
        draw({ x0, y0, x1: x0 + 512, y1: y0 + 512 }, 1);
        await asked[asked.length - 1].answer();
      }
    }
    const open = bitmaps.filter(({ isClosed }) => !isClosed).map(({ tile }) => tile);
    expect(open.length - 1).toBe(160);
    expect(open.slice(1).map(nameOf)).toEqual(asked.slice(-160).map(({ tile }) => nameOf(tile)));
  });

  it("holds its coarsest level only while another is shown, and nothing when closed", async () => {
    draw({ x0: 0, y0: 0, x1: 9, y1: 9 }, 1);
    await asked[0].answer();
    draw({ x0: 600, y0: 0, x1: 700, y1: 9 }, 1);
    sheet.rest();
    expect(bitmaps.map(({ isClosed }) => isClosed)).toEqual([false, true]);
    sheet.close();
    await asked[1].answer();
    expect(bitmaps.every(({ isClosed }) => isClosed)).toBe(true);
  });
});
