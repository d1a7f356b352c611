import { expect, it } from "vitest";

import { Editor } from "../src/editor";
import type { Point, Rle } from "../src/types";
import { annotation, FIXTURES, rleOf } from "./masks";
import { Random } from "./random";

interface Stroke {
  readonly points: readonly Point[];
  readonly radius: number;
  readonly value: 0 | 1;
}

interface Case {
  readonly base: Rle;
  readonly strokes: readonly Stroke[];
  readonly results: readonly Rle[]; // after each stroke
}

const RADII = [0.5, 1, 2.5, 7, 13.5, 40];

function randomStroke(random: Random, width: number, height: number): Stroke {
  const at = (side: number): number => Number((random.next() * (side + 20) - 10).toFixed(3));
  const points = Array.from({ length: random.whole(1, 6) }, (): Point => [at(width), at(height)]);
  return { points, radius: random.pick(RADII), value: random.pick([0, 1]) };
}

function draw(editor: Editor, { points, radius, value }: Stroke): Rle | null {
  editor.setRadius(radius);
  editor.beginStroke(points[0], value);
  for (const point of points.slice(1)) editor.extendStroke(point);
  editor.endStroke();
  return editor.instances[0].rle;
}

function play(base: Rle, seed: number): Case {
  const random = new Random(seed);
  const item = annotation({ rle: base });
  const editor = new Editor(() => undefined);
  const [height, width] = base.size;
  editor.open({ id: item.image_id, width, height }, [item]);
  editor.select(item.id);
  const strokes = Array.from({ length: 4 }, () => randomStroke(random, width, height));
  const results = strokes.map((stroke) => draw(editor, stroke) ?? base);
  return { base, strokes, results };
}

it("paints the strokes that Python repeats (tests/core/test_rle_fixtures.py)", async () => {
  const bases = FIXTURES.filter(({ height, width }) => height * width > 500);
  const cases = bases.map((fixture, index) => JSON.stringify(play(rleOf(fixture), index + 1)));
  const text = `[\n${cases.join(",\n")}\n]\n`;
  await expect(text).toMatchFileSnapshot("../fixtures/strokes.json");
});
