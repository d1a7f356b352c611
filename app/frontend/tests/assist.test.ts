import { beforeEach, describe, expect, it } from "vitest";

import { repainted, strokesOf, thinned } from "../src/assist";
import { Editor } from "../src/editor";
import { encode } from "../src/rle";
import type { Annotation, Change, Point, Stroke } from "../src/types";
import { blots, lines, SEEDS, toCrop, toDense } from "./dense";
import { annotation } from "./masks";
import { Random } from "./random";

const IMAGE = { id: 1, width: 24, height: 16 };

let changes: Change[];
let editor: Editor;

function answer(seed: number, part: Partial<Annotation> = {}): Annotation {
  const rle = encode(toCrop(blots(new Random(seed), IMAGE)), IMAGE.height, IMAGE.width);
  return annotation({ rle, version: 7, state: "proposed", ...part });
}

function paint(value: 0 | 1, ...points: Point[]): void {
  editor.setRadius(1.5);
  editor.beginStroke(points[0], value);
  for (const point of points.slice(1)) editor.extendStroke(point);
  editor.endStroke();
}

function strokes(): readonly Stroke[] {
  return strokesOf(editor.steps, 1);
}

beforeEach(() => {
  changes = [];
  editor = new Editor((event) => {
    if (event.kind === "edit") changes.push(event.change);
  });
  editor.open(IMAGE, [answer(1, { version: 1 })]);
  editor.select(1);
});

describe("the strokes so far", () => {
  it("are those that stand, in order; undo takes one out, redo brings it back", () => {
    paint(1, [3, 3], [9, 3]);
    paint(0, [6, 3]);
    expect(strokes().map(({ adds, points }) => [adds, points.length])).toEqual([
      [true, 2],
      [false, 1],
    ]);
    editor.undo();
    expect(strokes()).toHaveLength(1);
    editor.redo();
    expect(strokes()).toHaveLength(2);
  });

  it("go on over answers and reviews, and begin anew with another mask", () => {
    paint(1, [3, 3], [9, 3]);
    editor.assist(answer(2), strokes());
    editor.accept();
    paint(1, [20, 3]);
    expect(strokes()).toHaveLength(2);
    editor.propose(answer(3), false);
    expect(strokes()).toEqual([]);
  });

  it("leave out what was painted before somebody else saved", () => {
    paint(1, [3, 3], [9, 3]);
    editor.receive(answer(4));
    paint(1, [20, 3]);
    expect(strokes().map(({ points }) => points)).toEqual([[[20, 3]]]);
  });
});

describe("an answer", () => {
  it.each(SEEDS)("never changes a pixel under the person's strokes (seed %i)", (seed) => {
    const random = new Random(seed);
    const at = (): Point => [random.next() * 28 - 2, random.next() * 20 - 2];
    const drawn = Array.from({ length: 3 }, (): Stroke => {
      return {
        adds: random.next() < 0.5,
        radius: 1 + random.next() * 3,
        points: [at(), at(), at()],
      };
    });
    const base = toCrop(blots(random, IMAGE));
    const full = { x: 0, y: 0, w: 24, h: 16, data: new Uint8Array(24 * 16) };
    const [zeros, ones] = [full, { ...full, data: full.data.slice().fill(1) }].map((crop) =>
      toDense(repainted(crop, drawn, IMAGE), IMAGE),
    );
    const before = toDense(base, IMAGE);
    const got = toDense(repainted(base, drawn, IMAGE), IMAGE);
    const free = before.map((row, y) =>
      row.map((value, x) => (zeros[y][x] === ones[y][x] ? zeros[y][x] : value)),
    );
    expect(lines(got)).toEqual(lines(free));
  });

  it("is one step of undo of its own: back to the plain stroke, then to what was", () => {
    const first = editor.find(1)?.rle;
    paint(1, [3, 3], [9, 3]);
    const plain = editor.find(1)?.rle;
    editor.assist(answer(5), strokes());
    expect(editor.undoable).toBe(2);
    expect(editor.find(1)).toMatchObject({ state: "corrected", version: 7 });
    editor.undo();
    expect(editor.find(1)?.rle).toEqual(plain);
    editor.undo();
    expect(editor.find(1)?.rle).toEqual(first);
  });

  it("is saved where it differs from what the server holds, and only there", () => {
    paint(1, [3, 3], [9, 3]);
    const count = changes.length;
    editor.assist(answer(5), strokes());
    expect(changes.slice(count)).toMatchObject([{ id: 1, reason: "assist" }]);
    const now = editor.find(1);
    editor.assist(answer(5, { rle: now?.rle ?? null, state: "corrected" }), strokes());
    expect(changes).toHaveLength(count + 1);
  });

  it("is dropped while the next stroke is being drawn: a newer answer will come", () => {
    paint(1, [3, 3], [9, 3]);
    editor.beginStroke([6, 3], 0);
    editor.assist(answer(5), strokes());
    editor.endStroke();
    expect(strokes()).toHaveLength(2);
    expect(editor.find(1)?.version).toBe(1);
  });

  it("for an image that was left meanwhile is saved with the strokes, without a step here", () => {
    paint(1, [3, 3], [9, 3]);
    const [drawn, count] = [strokes(), changes.length];
    editor.open({ ...IMAGE, id: 9 }, []);
    editor.assist(answer(5), drawn);
    expect(changes.slice(count)).toMatchObject([
      { id: 1, image_id: 1, after: { state: "corrected" } },
    ]);
    expect([editor.instances, editor.undoable]).toEqual([[], 0]);
  });
});

it("a thinned stroke keeps its ends and covers nearly the same", () => {
  const points = Array.from({ length: 200 }, (_, i): Point => [3 + i * 0.09, 8 + Math.sin(i / 20)]);
  const stroke = { adds: true, radius: 2.5, points };
  const few = thinned(stroke);
  expect([few.points[0], few.points.at(-1)]).toEqual([points[0], points.at(-1)]);
  expect(few.points.length).toBeLessThan(50);
  const nothing = { x: 0, y: 0, w: 0, h: 0, data: new Uint8Array(0) };
  const [all, some] = [stroke, few].map((one) => toDense(repainted(nothing, [one], IMAGE), IMAGE));
  const differing = all.flat().filter((value, i) => value !== some.flat()[i]).length;
  expect(differing).toBeLessThanOrEqual(2);
});
