import { describe, expect, it } from "vitest";

import { fillPolygon } from "../src/polygon";
import { EMPTY } from "../src/raster";
import { encode } from "../src/rle";
import type { Point, Size } from "../src/types";
import { lines, toDense } from "./dense";
import { Random } from "./random";

const IMAGE = { width: 12, height: 9 };

/** Points in and around an image; some on pixel borders or centres, some twice. */
function randomPolygon(random: Random, { width, height }: Size): Point[] {
  const at = (side: number): number => {
    const value = random.next() * (side + 8) - 4;
    return random.next() < 0.3 ? Math.round(value * 2) / 2 : Number(value.toFixed(3));
  };
  const points = Array.from({ length: random.whole(1, 9) }, (): Point => [at(width), at(height)]);
  return random.next() < 0.2 ? [...points, points[0]] : points;
}

it("fills the polygons that Python repeats (tests/core/test_rle_fixtures.py)", async () => {
  const cases = Array.from({ length: 120 }, (_, seed) => {
    const random = new Random(seed + 1);
    const image = { width: random.whole(1, 50), height: random.whole(1, 40) };
    const points = randomPolygon(random, image);
    const result = encode(fillPolygon(points, image), image.height, image.width);
    return JSON.stringify({ points, result });
  });
  const text = `[\n${cases.join(",\n")}\n]\n`;
  await expect(text).toMatchFileSnapshot("../fixtures/polygons.json");
});

describe("a polygon", () => {
  it("along pixel borders holds exactly the pixels inside", () => {
    const square: readonly Point[] = [
      [2, 1],
      [5, 1],
      [5, 4],
      [2, 4],
    ];
    expect(lines(toDense(fillPolygon(square, IMAGE), IMAGE)).slice(0, 5)).toEqual([
      "............",
      "..###.......",
      "..###.......",
      "..###.......",
      "............",
    ]);
  });

  it("beside another shares no pixel with it and leaves none out, wherever the seam runs", () => {
    const random = new Random(5);
    for (let i = 0; i < 60; i++) {
      const [top, bottom] = [
        Math.round(random.next() * 24) / 2,
        Math.round(random.next() * 24) / 2,
      ];
      const left = fillPolygon(
        [
          [0, 0],
          [top, 0],
          [bottom, 9],
          [0, 9],
        ],
        IMAGE,
      );
      const right = fillPolygon(
        [
          [12, 0],
          [top, 0],
          [bottom, 9],
          [12, 9],
        ],
        IMAGE,
      );
      const [a, b] = [toDense(left, IMAGE), toDense(right, IMAGE)];
      expect(a.flatMap((row, y) => row.map((value, x) => value + b[y][x]))).toEqual(
        Array(12 * 9).fill(1),
      );
    }
  });

  it("that crosses itself is hollow where it lies twice", () => {
    const star: readonly Point[] = [
      [0, 0],
      [9, 0],
      [9, 9],
      [3, 9],
      [3, 3],
      [6, 3],
      [6, 6],
      [0, 6],
    ];
    const filled = toDense(fillPolygon(star, IMAGE), IMAGE);
    expect([filled[1][1], filled[4][4], filled[7][7]]).toEqual([1, 0, 1]);
  });

  it.each([
    [[]],
    [[[1, 1]]],
    [
      [
        [1, 1],
        [5, 5],
      ],
    ],
    [
      [
        [-9, -9],
        [-5, -9],
        [-5, -2],
      ],
    ],
  ] as Point[][][])("of %j holds nothing", (points) => {
    expect(fillPolygon(points, IMAGE)).toEqual(EMPTY);
  });
});
