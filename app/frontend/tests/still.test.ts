import { expect, it } from "vitest";

import { exposed } from "../src/still";
import type { Rect, Size } from "../src/types";
import { Random } from "./random";

function holds({ x0, y0, x1, y1 }: Rect, x: number, y: number): boolean {
  return x >= x0 && x < x1 && y >= y0 && y < y1;
}

it("what comes into sight is painted, and the upper edge where labels stick to it", () => {
  const random = new Random(3);
  for (let i = 0; i < 300; i++) {
    const size = { width: random.whole(1, 30), height: random.whole(1, 30) };
    const [dx, dy, top] = [random.whole(-40, 41), random.whole(-40, 41), random.whole(0, 5)];
    const strips = exposed(size, dx, dy, top);
    const whole = { x0: 0, y0: 0, x1: size.width, y1: size.height };
    const missed: [number, number][] = [];
    const edge = { ...whole, y1: dy === 0 ? 0 : top };
    const isNeeded = (x: number, y: number): boolean =>
      !holds(whole, x - dx, y - dy) || holds(edge, x, y) || holds(edge, x - dx, y - dy);
    for (let at = 0; at < size.width * size.height; at++) {
      const [x, y] = [at % size.width, Math.floor(at / size.width)];
      if (isNeeded(x, y) && !strips.some((strip) => holds(strip, x, y))) missed.push([x, y]);
    }
    expect([dx, dy, missed]).toEqual([dx, dy, []]);
    expect(strips.every((strip) => cropped(strip, size))).toBe(true);
  }
});

function cropped({ x0, y0, x1, y1 }: Rect, { width, height }: Size): boolean {
  return Math.min(x0, y0) >= 0 && x1 <= width && y1 <= height;
}

it("a small move paints little", () => {
  const strips = exposed({ width: 1000, height: 800 }, 5, -3, 20);
  const painted = strips.reduce((sum, { x0, y0, x1, y1 }) => sum + (x1 - x0) * (y1 - y0), 0);
  expect(painted).toBe(5 * 800 + (20 + 3) * 1000);
});
