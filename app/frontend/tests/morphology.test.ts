import { describe, expect, it } from "vitest";

import { dilate, erode, fillHoles, smooth } from "../src/morphology";
import { areaOfCrop, type Crop, EMPTY, minus, union } from "../src/raster";
import type { Size } from "../src/types";
import { blots, type Dense, drawn, grid, lines, SEEDS, toCrop, toDense } from "./dense";
import { Random } from "./random";

const SIDES = [
  [-1, 0],
  [1, 0],
  [0, -1],
  [0, 1],
] as const;

function at(dense: Dense, x: number, y: number): number | undefined {
  return dense.at(y < 0 ? dense.length : y)?.at(x < 0 ? dense[0].length : x);
}

function sizeOf(dense: Dense): Size {
  return { width: dense[0].length, height: dense.length };
}

function beside(dense: Dense, x: number, y: number): number[] {
  return SIDES.map(([dx, dy]) => at(dense, x + dx, y + dy)).filter((v) => v !== undefined);
}

/** Each operation as its definition says, over the whole image. */
const REFERENCES: Readonly<Record<string, (mask: Dense) => Dense>> = {
  dilate: (mask) =>
    grid(sizeOf(mask), (x, y) => Number(mask[y][x] === 1 || beside(mask, x, y).includes(1))),
  erode: (mask) =>
    grid(sizeOf(mask), (x, y) => Number(mask[y][x] === 1 && !beside(mask, x, y).includes(0))),
  smooth: (mask) =>
    grid(sizeOf(mask), (x, y) => {
      const votes: number[] = [];
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) {
          const vote = at(mask, x + dx, y + dy);
          if (vote !== undefined) votes.push(vote);
        }
      }
      const share = votes.reduce((sum, vote) => sum + vote, 0) / votes.length;
      return share === 0.5 ? mask[y][x] : Number(share > 0.5);
    }),
  fillHoles: (mask) => {
    const { width, height } = sizeOf(mask);
    const outside = grid({ width, height }, (x, y) => {
      const isBorder = x === 0 || y === 0 || x === width - 1 || y === height - 1;
      return Number(isBorder && mask[y][x] === 0);
    });
    for (let changed = true; changed;) {
      changed = false;
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          if (outside[y][x] === 1 || mask[y][x] === 1) continue;
          if (!beside(outside, x, y).includes(1)) continue;
          outside[y][x] = 1;
          changed = true;
        }
      }
    }
    return grid({ width, height }, (x, y) => 1 - outside[y][x]);
  },
};
const OPERATIONS: Readonly<Record<string, (crop: Crop, image: Size) => Crop>> = {
  dilate,
  erode,
  smooth,
  fillHoles,
};

describe.each(Object.keys(OPERATIONS))("%s", (name) => {
  it.each(SEEDS)("does to every pixel what its definition says (seed %i)", (seed) => {
    const random = new Random(seed);
    const image = { width: random.whole(1, 24), height: random.whole(1, 24) };
    const mask = blots(random, image);
    const got = toDense(OPERATIONS[name](toCrop(mask), image), image);
    expect(lines(got)).toEqual(lines(REFERENCES[name](mask)));
  });

  it("leaves the mask it is given alone, and an empty one empty", () => {
    const crop = toCrop(drawn(".###.", ".#.#.", ".###."));
    const before = crop.data.slice();
    OPERATIONS[name](crop, { width: 5, height: 3 });
    expect(crop.data).toEqual(before);
    expect(OPERATIONS[name](EMPTY, { width: 5, height: 3 })).toEqual(EMPTY);
  });
});

it("an object cut by the image's border is not eaten from there", () => {
  const whole = drawn("###", "###");
  const image = { width: 3, height: 2 };
  expect(lines(toDense(erode(toCrop(whole), image), image))).toEqual(lines(whole));
});

describe("two masks", () => {
  it.each(SEEDS)("are joined and taken from each other pixel by pixel (seed %i)", (seed) => {
    const random = new Random(seed + 100);
    const image = { width: 20, height: 15 };
    const [a, b] = [blots(random, image), blots(random, image)];
    const both = grid(image, (x, y) => Math.max(a[y][x], b[y][x]));
    const rest = grid(image, (x, y) => Number(a[y][x] === 1 && b[y][x] === 0));
    const [first, second] = [toCrop(a), toCrop(b)];
    expect(lines(toDense(union(first, second, image), image))).toEqual(lines(both));
    expect(lines(toDense(minus(first, second), image))).toEqual(lines(rest));
    expect(lines(toDense(first, image))).toEqual(lines(a));
    expect(areaOfCrop(first)).toBe(a.flat().filter((value) => value === 1).length);
  });
});
