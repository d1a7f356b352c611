import { describe, expect, it } from "vitest";

import {
  boxOf,
  dragHandle,
  HANDLES,
  handleAt,
  handlePoint,
  isLargeEnough,
  moveBox,
  resizeBox,
} from "../src/boxes";
import type { Box } from "../src/types";

const IMAGE = { width: 100, height: 80 };
const BOX: Box = [10, 20, 40, 60];

describe("boxes", () => {
  it("are ordered, in whole pixels, and inside the image", () => {
    expect(boxOf([120, 70.4], [-5, 10.6], IMAGE)).toEqual([0, 11, 100, 70]);
  });

  it("move without changing their size, and stop at the border", () => {
    expect(moveBox(BOX, [5, -7], IMAGE)).toEqual([15, 13, 45, 53]);
    expect(moveBox(BOX, [500, -500], IMAGE)).toEqual([70, 0, 100, 40]);
    expect(moveBox(BOX, [-500, 500], IMAGE)).toEqual([0, 40, 30, 80]);
  });

  it("grow and shrink at the low-right corner down to the least size", () => {
    expect(resizeBox(BOX, [5, 5], IMAGE)).toEqual([10, 20, 45, 65]);
    expect(resizeBox(BOX, [-500, 500], IMAGE)).toEqual([10, 20, 13, 80]);
  });

  it("below three pixels are slips of the hand", () => {
    expect(isLargeEnough([0, 0, 3, 3])).toBe(true);
    expect(isLargeEnough([0, 0, 2, 30])).toBe(false);
  });
});

describe("handles", () => {
  it.each(HANDLES)(
    "(%i, %i) is found where it is drawn, and dragging it there changes nothing",
    (x, y) => {
      const point = handlePoint(BOX, [x, y]);
      expect(handleAt(BOX, point, 2)).toEqual([x, y]);
      expect(dragHandle(BOX, [x, y], point, IMAGE)).toEqual(BOX);
    },
  );

  it("move only their own sides", () => {
    expect(dragHandle(BOX, [1, 0], [50, 0], IMAGE)).toEqual([10, 20, 50, 60]);
    expect(dragHandle(BOX, [-1, -1], [5, 6], IMAGE)).toEqual([5, 6, 40, 60]);
  });

  it("may pass the opposite side", () => {
    expect(dragHandle(BOX, [-1, 0], [70, 0], IMAGE)).toEqual([40, 20, 70, 60]);
  });

  it("are out of reach elsewhere", () => {
    expect(handleAt(BOX, [25, 40], 5)).toBeNull();
  });
});
