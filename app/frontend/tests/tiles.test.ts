import { describe, expect, it } from "vitest";

import { inSight, lastLevel, levelFor, parentOf, TILE, tileRect, tilesIn } from "../src/tiles";
import type { Rect, Size } from "../src/types";
import { fit } from "../src/viewport";
import { Random } from "./random";

const VIEW = { width: 1100, height: 780 };
const random = new Random(7);
const SIZES: readonly Size[] = Array.from({ length: 30 }, () => ({
  width: random.whole(1, 16385),
  height: random.whole(1, 16385),
}));

function area({ x0, y0, x1, y1 }: Rect): number {
  return (x1 - x0) * (y1 - y0);
}

function part({ width, height }: Size): Rect {
  const [x0, y0] = [random.whole(0, width), random.whole(0, height)];
  return { x0, y0, x1: random.whole(x0, width) + 1, y1: random.whole(y0, height) + 1 };
}

describe.each(SIZES)("the pyramid of a $width x $height image", (image) => {
  const whole = { x0: 0, y0: 0, x1: image.width, y1: image.height };

  it("ends in the first level that is one tile", () => {
    const last = lastLevel(image);
    expect(tilesIn(image, whole, last)).toEqual([{ level: last, column: 0, row: 0 }]);
    if (last > 0) expect(tilesIn(image, whole, last - 1).length).toBeGreaterThan(1);
  });

  it("covers every pixel once at each level", () => {
    for (let level = 0; level <= lastLevel(image); level++) {
      const rects = tilesIn(image, whole, level).map((tile) => tileRect(image, tile));
      expect(rects.reduce((sum, rect) => sum + area(rect), 0)).toBe(area(whole));
      expect(rects.every((rect) => area(rect) > 0)).toBe(true);
    }
  });

  it("needs those tiles for a part of it that overlap the part", () => {
    for (let level = 0; level <= lastLevel(image); level++) {
      const wanted = part(image);
      const meets = ({ x0, y0, x1, y1 }: Rect): boolean =>
        x0 < wanted.x1 && y0 < wanted.y1 && x1 > wanted.x0 && y1 > wanted.y0;
      const all = tilesIn(image, whole, level).filter((tile) => meets(tileRect(image, tile)));
      expect(tilesIn(image, wanted, level)).toEqual(all);
    }
  });

  it("has each tile inside its parent", () => {
    for (const tile of tilesIn(image, part(image), 0)) {
      const [own, parent] = [tileRect(image, tile), tileRect(image, parentOf(tile))];
      const isInside = own.x0 >= parent.x0 && own.y0 >= parent.y0;
      expect(isInside && own.x1 <= parent.x1 && own.y1 <= parent.y1).toBe(true);
    }
  });

  it("takes a number of tiles for the screen that does not grow with the image", () => {
    const port = fit(image, VIEW);
    for (const factor of [1, 2.9, 40]) {
      const near = { ...port, scale: port.scale * factor };
      const level = Math.min(levelFor(near.scale), lastLevel(image));
      const most = ((2 * VIEW.width) / TILE + 2) * ((2 * VIEW.height) / TILE + 2);
      expect(tilesIn(image, inSight(image, VIEW, near), level).length).toBeLessThan(most);
    }
  });
});

it("a level has a pixel for each of the screen, and the next coarser one has not", () => {
  for (let i = 0; i < 100; i++) {
    const scale = 2 ** (6 - 13 * random.next());
    const level = levelFor(scale);
    expect(scale * 2 ** level <= 1 || level === 0).toBe(true);
    expect(scale * 2 ** (level + 1)).toBeGreaterThan(1);
  }
});

it("nothing is in sight when the image lies beside the view", () => {
  const image = { width: 100, height: 80 };
  const { x0, x1 } = inSight(image, VIEW, { scale: 1, x: 2000, y: 0 });
  expect(x1 - x0).toBe(0);
  expect(tilesIn(image, { x0, x1, y0: 0, y1: 9 }, 0)).toEqual([]);
});
