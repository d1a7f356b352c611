import { describe, expect, it } from "vitest";

import { cellsOf, meet, repaint, rimOf, toCells, toPixels } from "../src/cells";
import { Patch } from "../src/patch";
import type { Crop } from "../src/raster";
import { encode } from "../src/rle";
import type { Rect } from "../src/types";
import { blots, type Dense, drawn, grid, lines, SEEDS, toCrop, toDense } from "./dense";
import { Random } from "./random";

const IMAGE = { width: 300, height: 270 }; // 2 x 2 tiles of a patch

function coarse(pixels: Dense, level: number): Dense {
  const side = 2 ** level;
  const size = { width: Math.ceil(IMAGE.width / side), height: Math.ceil(IMAGE.height / side) };
  const any = (x: number, y: number): number =>
    Number(
      pixels
        .slice(y * side, (y + 1) * side)
        .some((row) => row.slice(x * side, (x + 1) * side).includes(1)),
    );
  return grid(size, any);
}

function scattered(random: Random): Dense {
  const made = blots(random, { width: 75, height: 68 });
  return grid(IMAGE, (x, y) => made[Math.min(67, y >> 2)][Math.min(74, x >> 2)]);
}

function frameOf(random: Random, level: number): Rect {
  const whole = toCells({ x0: 0, y0: 0, x1: IMAGE.width, y1: IMAGE.height }, level);
  const [x0, y0] = [random.whole(0, whole.x1), random.whole(0, whole.y1)];
  return { x0, y0, x1: random.whole(x0, whole.x1) + 1, y1: random.whole(y0, whole.y1) + 1 };
}

function same(cells: Crop, wanted: Dense): boolean {
  return cells.data.every((value, at) => {
    const [x, y] = [cells.x + (at % cells.w), cells.y + Math.floor(at / cells.w)];
    return value === wanted[y][x];
  });
}

describe("the cells of a mask", () => {
  it.each(SEEDS.slice(0, 10))("are set where any of their pixels is (%i)", (seed) => {
    const random = new Random(seed);
    const pixels = scattered(random);
    const rle = encode(toCrop(pixels), IMAGE.height, IMAGE.width);
    for (const level of [0, 1, 2, 5]) {
      const cells = cellsOf(rle, null, level, frameOf(random, level));
      expect(same(cells, coarse(pixels, level))).toBe(true);
    }
  });

  it.each(SEEDS.slice(0, 10))("follow a stroke by what it touched (%i)", (seed) => {
    const random = new Random(seed);
    const rle = encode(toCrop(scattered(random)), IMAGE.height, IMAGE.width);
    for (const level of [0, 1, 3]) {
      const patch = new Patch(rle, IMAGE);
      const cells = cellsOf(rle, null, level, frameOf(random, level));
      for (let i = 0; i < 4; i++) {
        const at = [random.next() * IMAGE.width, random.next() * IMAGE.height] as const;
        const rect = patch.stamp(at, [at[0] + 30, at[1] + 9], 12, random.pick([0, 1] as const));
        repaint(cells, patch, level, toCells(rect, level));
      }
      const painted = toDense(cropOfPatch(patch), IMAGE);
      expect(same(cells, coarse(painted, level))).toBe(true);
      expect(cellsOf(rle, patch, level, rectOf(cells))).toEqual(cells);
    }
  });

  it("have a rim as wide as asked, the frame's edge counted as empty", () => {
    const cells = toCrop(
      drawn(
        "#######", //
        "#######",
        "#######",
        "#######",
        "#######",
      ),
    );
    expect(lines(toDense(rimOf(cells, 1), { width: 7, height: 5 }))).toEqual([
      "#######",
      "#.....#",
      "#.....#",
      "#.....#",
      "#######",
    ]);
    expect(lines(toDense(rimOf(cells, 2), { width: 7, height: 5 }))[2]).toBe("##...##");
  });
});

describe("rectangles of cells", () => {
  it("hold the pixels they were made of, and no whole cell more", () => {
    const random = new Random(1);
    for (let i = 0; i < 200; i++) {
      const [level, rect] = [random.whole(0, 7), frameOf(random, 0)];
      const back = toPixels(toCells(rect, level), level);
      expect(meet(back, rect)).toEqual(rect);
      const slack = [rect.x0 - back.x0, rect.y0 - back.y0, back.x1 - rect.x1, back.y1 - rect.y1];
      expect(Math.max(...slack)).toBeLessThan(2 ** level);
    }
  });
});

function rectOf({ x, y, w, h }: Crop): Rect {
  return { x0: x, y0: y, x1: x + w, y1: y + h };
}

function cropOfPatch(patch: Patch): Crop {
  const whole = { x0: 0, y0: 0, x1: IMAGE.width, y1: IMAGE.height };
  return cellsOf(patch.rle, null, 0, whole);
}
