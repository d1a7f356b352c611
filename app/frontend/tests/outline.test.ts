import { describe, expect, it } from "vitest";

import { outline } from "../src/outline";
import { decode } from "../src/rle";
import { dense, FIXTURES, rleOf } from "./masks";

/** Total length of the border pieces, and each must be straight. */
function lengthOf(pieces: readonly number[]): number {
  let length = 0;
  for (let i = 0; i < pieces.length; i += 4) {
    const [dx, dy] = [pieces[i + 2] - pieces[i], pieces[i + 3] - pieces[i + 1]];
    if (dx !== 0 && dy !== 0) throw new Error(`piece ${i / 4} is neither flat nor upright`);
    length += dx + dy;
  }
  return length;
}

describe("the border of a mask", () => {
  it.each(FIXTURES)("is as long as its pixels have free sides: $name", (fixture) => {
    const { w, h, data } = dense(fixture);
    const at = (x: number, y: number): number =>
      x >= 0 && y >= 0 && x < w && y < h ? data[y * w + x] : 0;
    let sides = 0;
    for (let y = 0; y <= h; y++) {
      for (let x = 0; x <= w; x++) {
        sides += Number(at(x, y) !== at(x - 1, y)) + Number(at(x, y) !== at(x, y - 1));
      }
    }
    expect(lengthOf(outline(decode(rleOf(fixture))))).toBe(sides);
  });

  it("is four pieces around a rectangle", () => {
    const pieces = outline({ x: 3, y: 4, w: 2, h: 3, data: new Uint8Array(6).fill(1) });
    expect(pieces).toHaveLength(16);
    expect(lengthOf(pieces)).toBe(10);
  });
});
