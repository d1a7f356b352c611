import { describe, expect, it } from "vitest";

import { inkOn, parseHex, shadeOf } from "../src/color";
import { History } from "../src/history";
import { radiusToSlider, sliderToRadius } from "../src/toolbar";

describe("colours", () => {
  it("read the category's hex text", () => {
    expect(parseHex("#ff8000")).toEqual([255, 128, 0]);
  });

  it("differ between neighbours of one category", () => {
    const shades = [1, 2, 3, 4, 5].map((number) => shadeOf("#3366cc", number).join());
    expect(new Set(shades).size).toBe(5);
  });

  it("carry black or white text, whichever reads better", () => {
    expect([inkOn([255, 255, 0]), inkOn([0, 0, 128])]).toEqual(["#000", "#fff"]);
  });
});

describe("the size slider", () => {
  it.each([0.5, 1, 10, 64, 256])("comes back to a radius of %d", (radius) => {
    expect(sliderToRadius(radiusToSlider(radius)) / radius).toBeCloseTo(1, 2);
  });

  it("is logarithmic: half way is the geometric mean", () => {
    expect(sliderToRadius(500)).toBeCloseTo(Math.sqrt(0.5 * 256), 6);
  });
});

describe("history", () => {
  it("forgets the oldest steps beyond five hundred", () => {
    const history = new History();
    for (let id = 0; id < 600; id++) history.record(1, [{ id, before: null, after: null }]);
    expect(history.undoable(1)).toBe(500);
    expect(history.undo(1)?.[0].id).toBe(599);
  });
});
