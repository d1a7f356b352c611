import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { capsuleReach, type Crop, EMPTY, grow, hit, stampCapsule, trim } from "../src/raster";
import type { Point } from "../src/types";

const IMAGE = { width: 40, height: 30 };
const point = fc.tuple(
  fc.double({ min: -10, max: 50, noNaN: true }),
  fc.double({ min: -10, max: 40, noNaN: true }),
);
const radius = fc.double({ min: 0.5, max: 20, noNaN: true });

function blank(): Crop {
  return { x: 0, y: 0, w: IMAGE.width, h: IMAGE.height, data: new Uint8Array(40 * 30) };
}

function isSame(a: Crop, b: Crop): boolean {
  return a.x === b.x && a.y === b.y && a.w === b.w && Buffer.compare(a.data, b.data) === 0;
}

/** Whether the pixel's centre is within the radius of the segment, by plain geometry. */
function isInside(x: number, y: number, a: Point, b: Point, r: number): boolean {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const along = length > 0 ? ((x + 0.5 - a[0]) * dx + (y + 0.5 - a[1]) * dy) / length : 0;
  const t = Math.min(Math.max(along, 0), 1);
  return (x + 0.5 - a[0] - t * dx) ** 2 + (y + 0.5 - a[1] - t * dy) ** 2 <= r * r;
}

describe("the brush", () => {
  it("sets exactly the pixels whose centre lies within the radius", () => {
    fc.assert(
      fc.property(point, point, radius, (a, b, r) => {
        const crop = blank();
        stampCapsule(crop, a, b, r, 1);
        const expected = crop.data.map((_, i) =>
          Number(isInside(i % IMAGE.width, Math.floor(i / IMAGE.width), a, b, r)),
        );
        expect(Buffer.compare(crop.data, expected)).toBe(0);
      }),
    );
  });

  it("says where it painted: no pixel changes outside", () => {
    fc.assert(
      fc.property(point, point, radius, (a, b, r) => {
        const crop = blank();
        const rect = stampCapsule(crop, a, b, r, 1);
        const outside = crop.data.filter((value, i) => {
          const [x, y] = [i % IMAGE.width, Math.floor(i / IMAGE.width)];
          const isIn = x >= rect.x0 && x < rect.x1 && y >= rect.y0 && y < rect.y1;
          return value === 1 && !isIn;
        });
        expect(outside).toHaveLength(0);
      }),
    );
  });

  it("gives the same mask in a grown crop as in the whole image", () => {
    fc.assert(
      fc.property(point, point, radius, fc.nat(9), (a, b, r, slack) => {
        const whole = blank();
        stampCapsule(whole, a, b, r, 1);
        const crop = grow(EMPTY, capsuleReach(a, b, r, IMAGE), IMAGE, slack);
        stampCapsule(crop, a, b, r, 1);
        expect(isSame(trim(crop), trim(whole))).toBe(true);
      }),
    );
  });

  it("erases what it painted", () => {
    fc.assert(
      fc.property(point, point, radius, (a, b, r) => {
        const crop = blank();
        stampCapsule(crop, a, b, r, 1);
        stampCapsule(crop, a, b, r, 0);
        expect(trim(crop)).toBe(EMPTY);
      }),
    );
  });
});

describe("crops", () => {
  const dot: Crop = { x: 5, y: 6, w: 1, h: 1, data: Uint8Array.of(1) };

  it("keep their pixels when they grow, and get back by trimming", () => {
    const grown = grow(dot, { x0: 0, y0: 2, x1: 3, y1: 4 }, IMAGE, 2);
    expect([grown.x, grown.y, grown.x + grown.w, grown.y + grown.h]).toEqual([0, 0, 6, 7]);
    expect(hit(grown, [5.5, 6.5])).toBe(true);
    expect(trim(grown)).toEqual(dot);
  });

  it("stay themselves when they already hold the rectangle", () => {
    expect(grow(dot, { x0: 5, y0: 6, x1: 6, y1: 7 }, IMAGE, 9)).toBe(dot);
    expect(grow(dot, { x0: 9, y0: 9, x1: 9, y1: 12 }, IMAGE)).toBe(dot);
  });

  it("are hit on their pixels and nowhere else", () => {
    expect(hit(dot, [5, 6])).toBe(true);
    expect(hit(dot, [5.99, 6.99])).toBe(true);
    expect(hit(dot, [6, 6])).toBe(false);
    expect(hit(dot, [4.99, 6])).toBe(false);
    expect(hit(EMPTY, [0, 0])).toBe(false);
  });
});
