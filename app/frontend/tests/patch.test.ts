import { describe, expect, it } from "vitest";

import { PATCH, Patch } from "../src/patch";
import { type Crop, stampCapsule } from "../src/raster";
import { boundsOf, cutRuns, decode, encode, holds, splice, textToRuns } from "../src/rle";
import type { Point, Rect, Rle } from "../src/types";
import { blots, SEEDS, toCrop } from "./dense";
import { dense, FIXTURES, rleOf } from "./masks";
import { Random } from "./random";

const IMAGE = { width: 2 * PATCH + 90, height: PATCH + 70 }; // 3 x 2 tiles
const SMALL = { width: 37, height: 29 };

function whole(rle: Rle): Crop {
  const [height, width] = rle.size;
  return cutRuns(textToRuns(rle.counts), height, { x0: 0, y0: 0, x1: width, y1: height });
}

function point(random: Random): Point {
  return [random.next() * (IMAGE.width + 80) - 40, random.next() * (IMAGE.height + 80) - 40];
}

describe("a mask that is painted tile by tile", () => {
  it.each(SEEDS.slice(0, 12))("equals one painted whole, byte for byte (%i)", (seed) => {
    const random = new Random(seed);
    const { width, height } = IMAGE;
    const plain: Crop = { x: 0, y: 0, w: width, h: height, data: new Uint8Array(width * height) };
    let rle: Rle | null = null;
    for (let stroke = 0; stroke < 3; stroke++) {
      const patch: Patch = new Patch(rle, IMAGE);
      let last = point(random);
      for (let move = 0; move < 4; move++) {
        const [to, radius, value] = [
          point(random),
          random.next() * 40,
          random.pick([0, 1] as const),
        ];
        const rect = patch.stamp(last, to, radius, value);
        const before = plain.data.slice();
        stampCapsule(plain, last, to, radius, value);
        expect(outside(rect, before, plain.data)).toBe(false);
        last = to;
      }
      ({ rle } = patch);
      expect(rle).toEqual(encode(plain, height, width));
    }
  });

  it("holds only the tiles that the strokes touched", () => {
    const patch = new Patch(null, { width: 16384, height: 16384 });
    patch.stamp([8000, 8000], [8010, 8000], 20, 1);
    patch.stamp([16383, 16383], [16383, 16383], 3, 1);
    const tiles = patch.under({ x0: 0, y0: 0, x1: 16384, y1: 16384 });
    expect(tiles).toHaveLength(2);
    expect(tiles.every(({ w, h }) => w <= PATCH && h <= PATCH)).toBe(true);
  });

  it("is left as it was by a stroke beside the image", () => {
    const rle = rleOf(FIXTURES[5]);
    const [height, width] = rle.size;
    const patch = new Patch(rle, { width, height });
    patch.stamp([-90, -90], [-50, -90], 20, 1);
    expect(patch.rle).toEqual(rle);
  });
});

/** Whether anything changed beyond a rectangle. */
function outside(rect: Rect, before: Uint8Array, after: Uint8Array): boolean {
  return after.some((value, at) => {
    const [x, y] = [at % IMAGE.width, Math.floor(at / IMAGE.width)];
    const isIn = x >= rect.x0 && x < rect.x1 && y >= rect.y0 && y < rect.y1;
    return !isIn && value !== before[at];
  });
}

describe("a part of a mask", () => {
  it.each(FIXTURES)("is cut from its runs: $name", (fixture) => {
    const { width, height } = fixture;
    const whole = dense(fixture);
    const runs = textToRuns(fixture.counts);
    const random = new Random(width * height);
    for (let i = 0; i < 5; i++) {
      const [x0, y0] = [random.whole(0, width), random.whole(0, height)];
      const [x1, y1] = [random.whole(x0, width) + 1, random.whole(y0, height) + 1];
      const part = cutRuns(runs, height, { x0, y0, x1, y1 });
      const differs = part.data.some((value, at) => {
        const [x, y] = [x0 + (at % part.w), y0 + Math.floor(at / part.w)];
        return value !== whole.data[y * width + x];
      });
      expect([part.w, part.h, differs]).toEqual([x1 - x0, y1 - y0, false]);
    }
  });

  it.each(SEEDS)("is replaced in its runs (%i)", (seed) => {
    const random = new Random(seed);
    const { width, height } = SMALL;
    const [old, fresh] = [blots(random, SMALL), blots(random, SMALL)].map(toCrop);
    const [before, other] = [old, fresh].map((crop) => encode(crop, height, width));
    const [x0, y0] = [random.whole(0, width), random.whole(0, height)];
    const rect = { x0, y0, x1: random.whole(x0, width) + 1, y1: random.whole(y0, height) + 1 };
    const part = cutRuns(textToRuns(other.counts), height, rect);
    const wanted = whole(before);
    for (let y = rect.y0; y < rect.y1; y++) {
      for (let x = rect.x0; x < rect.x1; x++) {
        wanted.data[y * width + x] = whole(other).data[y * width + x];
      }
    }
    const got = splice(textToRuns(before.counts), part, height);
    expect(got).toEqual(textToRuns(encode(wanted, height, width).counts));
  });
});

describe("what is asked of a code while the pointer moves", () => {
  it.each(FIXTURES)("is what its pixels say: $name", (fixture) => {
    const rle = rleOf(fixture);
    const { width, height } = fixture;
    const pixels = dense(fixture);
    const { x, y, w, h } = decode(rle);
    expect(boundsOf(rle)).toEqual({ x0: x, y0: y, x1: x + w, y1: y + h });
    const random = new Random(width);
    for (let i = 0; i < 40; i++) {
      const at: Point = [random.next() * width, random.next() * height];
      const value = pixels.data[Math.floor(at[1]) * width + Math.floor(at[0])];
      expect(holds(rle, at)).toBe(value === 1);
    }
    for (const at of [
      [-1, 0],
      [0, -1],
      [width, 0],
      [0, height],
    ] as const) {
      expect(holds(rle, at)).toBe(false);
    }
  });
});
