import { describe, expect, it } from "vitest";

import { findCategories } from "../src/finder";
import { adjusted, PLAIN_LOOK, RANGES, readLook, type Slide } from "../src/look";
import { fromStep, toStep } from "../src/menus";
import { fromMap, mapFrame, sightOn } from "../src/minimap";
import { applyTones, isPlain, toneRange, toneTable } from "../src/tones";
import { Random } from "./random";

describe("a look", () => {
  it("comes back from its text", () => {
    const look = adjusted(PLAIN_LOOK, { gamma: 2, outline: true, opacity: 0.2 });
    expect(readLook(JSON.stringify(look))).toEqual(look);
  });

  it.each([null, "", "{", "7", '"x"', "null", "[]", '{"gamma":"2","outline":1,"other":true}'])(
    "is the plain one where the text %j says nothing of it",
    (text) => {
      expect(readLook(text)).toEqual(PLAIN_LOOK);
    },
  );

  it("stays inside the sliders' ranges", () => {
    expect(adjusted(PLAIN_LOOK, { contrast: 99, opacity: -1 })).toMatchObject({
      contrast: RANGES.contrast[1],
      opacity: 0,
    });
  });

  it.each(Object.keys(RANGES) as Slide[])(
    "has a slider for %s that comes back to its value",
    (name) => {
      const [low, high] = RANGES[name];
      for (const value of [low, high, PLAIN_LOOK[name]]) {
        expect(fromStep(name, toStep(name, value))).toBeCloseTo(value, 2);
      }
    },
  );
});

describe("tones", () => {
  it("of the plain look change nothing", () => {
    const table = toneTable(PLAIN_LOOK, [10, 90]);
    expect([...table]).toEqual(Array.from({ length: 256 }, (_, value) => value));
    expect(isPlain(PLAIN_LOOK)).toBe(true);
    expect(isPlain({ ...PLAIN_LOOK, gamma: 1.1 })).toBe(false);
  });

  it.each([
    ["stretch", { stretch: true }, (v: number) => ((v - 50) / 100) * 255],
    ["gamma", { gamma: 2 }, (v: number) => 255 * (v / 255) ** 0.5],
    ["contrast", { contrast: 2 }, (v: number) => (v - 127.5) * 2 + 127.5],
    ["brightness", { brightness: -0.25 }, (v: number) => v - 0.25 * 255],
  ] as const)("follow the formula of %s, clamped", (_name, part, formula) => {
    const table = toneTable({ ...PLAIN_LOOK, ...part }, [50, 150]);
    for (let value = 0; value < 256; value++) {
      const exact = Math.min(255, Math.max(0, formula(value)));
      expect(Math.abs(table[value] - exact)).toBeLessThanOrEqual(0.5 + 1e-9);
    }
  });

  it("never turn round: a darker value stays darker", () => {
    const random = new Random(3);
    for (let i = 0; i < 50; i++) {
      const look = adjusted(PLAIN_LOOK, {
        gamma: random.next() * 4,
        contrast: random.next() * 4,
        brightness: random.next() - 0.5,
        stretch: random.next() < 0.5,
      });
      const table = [...toneTable(look, [random.whole(0, 100), random.whole(101, 256)])];
      expect([...table].sort((a, b) => a - b)).toEqual(table);
    }
  });

  it("go to the three channels and leave alpha", () => {
    const table = toneTable({ ...PLAIN_LOOK, brightness: 0.5, contrast: 0.25 }, [0, 255]);
    const pixels = Uint8ClampedArray.from([0, 128, 255, 0, 7, 8, 9, 255]);
    applyTones(pixels, table);
    expect([...pixels]).toEqual([
      table[0],
      table[128],
      table[255],
      0,
      table[7],
      table[8],
      table[9],
      255,
    ]);
  });

  it("reach over all but a small tail of an image's values", () => {
    const grey = (value: number): number[] => [value, value, value, 255];
    const many = Array.from({ length: 600 }, (_, i) => grey(60 + (i % 100))).flat();
    const pixels = Uint8ClampedArray.from([...grey(0), ...grey(255), ...many]);
    expect(toneRange(pixels)).toEqual([60, 159]);
    expect(toneRange(Uint8ClampedArray.from(grey(9)))).toEqual([0, 255]);
  });
});

describe("the map", () => {
  const image = { width: 400, height: 200 };
  const view = { width: 800, height: 600 };

  it("is away while all of the image is in sight", () => {
    expect(mapFrame(image, view, { scale: 2, x: 0, y: 100 })).toBeNull();
    expect(mapFrame(image, view, { scale: 2.1, x: 0, y: 100 })).not.toBeNull();
  });

  it("has the image's shape in the view's corner, and leads back to the image", () => {
    const port = { scale: 8, x: -800, y: -400 };
    const frame = mapFrame(image, view, port) ?? [0, 0, 0, 0];
    expect((frame[2] - frame[0]) / (frame[3] - frame[1])).toBeCloseTo(2);
    expect([frame[0], frame[3]]).toEqual([12, 588]);
    const sight = sightOn(frame, image, view, port);
    const [left, top] = fromMap(frame, image, [sight[0], sight[1]]);
    const [right, bottom] = fromMap(frame, image, [sight[2], sight[3]]);
    [left, top, right, bottom].forEach((value, i) => {
      expect(value).toBeCloseTo([100, 50, 200, 125][i]);
    });
  });
});

describe("finding a category", () => {
  const categories = ["red cell", "cell", "dog", "Cellar"].map((name, index) => ({
    ...{ id: index + 1, number: index + 1, name, color: "#123456" },
  }));
  const names = (recent: number[], query: string): string[] =>
    findCategories(categories, recent, query).map(({ name }) => name);

  it("shows those used last first", () => {
    expect(names([3, 1], "")).toEqual(["dog", "red cell", "cell", "Cellar"]);
  });

  it("puts beginnings before words, and words before middles, whatever the case", () => {
    expect(names([], " CELL")).toEqual(["cell", "Cellar", "red cell"]);
    expect(names([], "el")).toEqual(["red cell", "cell", "Cellar"]);
    expect(names([], "cat")).toEqual([]);
  });
});
