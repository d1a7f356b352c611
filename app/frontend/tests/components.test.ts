import { describe, expect, it } from "vitest";

import { largestPart, partsOf, separate, split } from "../src/components";
import { areaOfCrop, EMPTY, union } from "../src/raster";
import type { Point } from "../src/types";
import { blots, type Dense, drawn, lines, SEEDS, toCrop, toDense } from "./dense";
import { Random } from "./random";

const IMAGE = { width: 22, height: 18 };

/** Sizes of the parts by merging labels of touching pixels until nothing changes. */
function sizes(mask: Dense): number[] {
  const labels = mask.map((row, y) => row.map((value, x) => (value === 1 ? y * 100 + x + 1 : 0)));
  for (let changed = true; changed;) {
    changed = false;
    labels.forEach((row, y) => {
      row.forEach((label, x) => {
        if (label === 0) return;
        const near = [-1, 0, 1].flatMap((dy) =>
          labels.at(y + dy)?.slice(Math.max(0, x - 1), x + 2),
        );
        const close = y === 0 || y === labels.length - 1 ? inside(labels, x, y) : near;
        const most = Math.max(...close.map((one) => one ?? 0));
        if (most > label) {
          row[x] = most;
          changed = true;
        }
      });
    });
  }
  const counts = new Map<number, number>();
  for (const label of labels.flat()) if (label > 0) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts.values()].sort((a, b) => b - a);
}

function inside(labels: readonly (readonly number[])[], x: number, y: number): number[] {
  return labels
    .slice(Math.max(0, y - 1), y + 2)
    .flatMap((row) => row.slice(Math.max(0, x - 1), x + 2));
}

describe("parts", () => {
  it.each(SEEDS)("are pixels that touch by side or corner (seed %i)", (seed) => {
    const mask = blots(new Random(seed), IMAGE);
    const parts = separate(toCrop(mask));
    expect(parts.map(areaOfCrop)).toEqual(sizes(mask));
    const whole = parts.reduce((sum, part) => union(sum, part, IMAGE), EMPTY);
    expect(lines(toDense(whole, IMAGE))).toEqual(lines(mask));
    if (parts.length > 0) expect(largestPart(toCrop(mask))).toEqual(parts[0]);
  });

  it("count a corner as touching", () => {
    expect(partsOf(toCrop(drawn("#.", ".#"))).areas).toEqual([2]);
    expect(partsOf(toCrop(drawn("#.#"))).areas).toEqual([1, 1]);
  });

  it("of an empty mask are none", () => {
    expect([separate(EMPTY), largestPart(EMPTY)]).toEqual([[], EMPTY]);
  });
});

describe("a cut", () => {
  const across: readonly Point[] = [
    [-2, 3.2],
    [30, 5.7],
  ];

  it.each(SEEDS)("loses no pixel and gives none twice (seed %i)", (seed) => {
    const random = new Random(seed + 7);
    const mask = blots(random, IMAGE);
    const corner = (): Point => [random.next() * 30 - 4, random.next() * 26 - 4];
    const pieces = split(toCrop(mask), [corner(), corner(), corner()]);
    const whole = pieces.reduce((sum, part) => union(sum, part, IMAGE), EMPTY);
    expect(lines(toDense(whole, IMAGE))).toEqual(lines(mask));
    const area = pieces.reduce((sum, part) => sum + areaOfCrop(part), 0);
    expect(area).toBe(areaOfCrop(toCrop(mask)));
    expect(pieces.slice(1).every((piece) => areaOfCrop(piece) > 0)).toBe(true);
  });

  it("parts a disc into two halves of touching pixels, the larger first", () => {
    const disc = drawn(
      "..####..",
      ".######.",
      "########",
      "########",
      "########",
      "########",
      ".######.",
      "..####..",
    );
    const pieces = split(toCrop(disc), across);
    expect(pieces.map((piece) => partsOf(piece).areas.length)).toEqual([1, 1]);
    const [first, second] = pieces.map(areaOfCrop);
    expect(first).toBeGreaterThanOrEqual(second);
    expect(second).toBeGreaterThan(15);
  });

  it("that does not go through divides nothing", () => {
    const block = toCrop(drawn("######", "######", "######", "######"));
    const notch: readonly Point[] = [
      [2, -1],
      [2, 2],
    ];
    expect(split(block, notch)).toEqual([block]);
    expect(split(block, [[40, 40]])).toEqual([block]);
    expect(split(EMPTY, across)).toEqual([EMPTY]);
  });

  it("leaves other parts with the first piece", () => {
    const mask = drawn("########", "########", "........", "........", "........", "#.......");
    const pieces = split(toCrop(mask), [
      [5, -1],
      [5, 3],
    ]);
    const shown = pieces.map((piece) => lines(toDense(piece, { width: 8, height: 6 })));
    expect(shown[0][5]).toBe("#.......");
    expect(pieces.map(areaOfCrop).reduce((a, b) => a + b)).toBe(17);
    expect(pieces).toHaveLength(2);
  });

  it("gives a crumb to its neighbour instead of making it a piece", () => {
    const rows = Array.from({ length: 30 }, () => "#".repeat(30));
    const pieces = split(toCrop(drawn(...rows)), [
      [-1, 2.5],
      [2.5, -1],
    ]);
    expect(pieces).toHaveLength(1);
  });
});
