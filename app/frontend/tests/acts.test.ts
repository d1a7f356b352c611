import { beforeEach, describe, expect, it } from "vitest";

import { merge, removeOverlap, reshape, SHAPES } from "../src/acts";
import { Editor } from "../src/editor";
import { cropOf, snapshotOf } from "../src/instance";
import { encode } from "../src/rle";
import type { Annotation, Change } from "../src/types";
import { type Dense, drawn, lines, toCrop, toDense } from "./dense";
import { annotation } from "./masks";

const IMAGE = { id: 1, width: 8, height: 4 };

let changes: Change[];
let editor: Editor;

function mask(id: number, dense: Dense, part: Partial<Annotation> = {}): Annotation {
  const rle = encode(toCrop(dense), IMAGE.height, IMAGE.width);
  return annotation({ id, number: id, rle, box: [id, 0, id + 2, 3], ...part });
}

function shown(id: number): string[] {
  const item = editor.find(id);
  return item ? lines(toDense(cropOf(item.rle), IMAGE)) : [];
}

/** Undo must bring back exactly what was, in one step, and redo what came. */
function isOneStep(act: () => unknown): void {
  const look = (): unknown => editor.instances.map((item) => [item.id, snapshotOf(item)]);
  const [before, depth] = [look(), editor.undoable];
  act();
  const after = look();
  expect(after).not.toEqual(before);
  expect(editor.undoable).toBe(depth + 1);
  editor.undo();
  expect(look()).toEqual(before);
  editor.redo();
  expect(look()).toEqual(after);
}

const LEFT = drawn("####....", "#..#....", "####....", "........");
const RIGHT = drawn("...###..", "...###..", "...###..", "......#.");

beforeEach(() => {
  changes = [];
  editor = new Editor((event) => {
    if (event.kind === "edit") changes.push(event.change);
  });
  editor.open(IMAGE, [mask(1, LEFT), mask(2, RIGHT, { category_id: 7 }), mask(3, LEFT)]);
});

describe("another shape", () => {
  it("is a correction that is saved and can be undone, for all chosen at once", () => {
    editor.select(1);
    editor.toggle(3);
    isOneStep(() => {
      expect(reshape(editor, SHAPES.fill)).toBe("Holes filled.");
    });
    expect(shown(1)).toEqual(["####....", "####....", "####....", "........"]);
    expect(shown(3)).toEqual(shown(1));
    expect(changes[0]).toMatchObject({
      id: 1,
      reason: "fill holes",
      after: { state: "corrected" },
    });
  });

  it.each([
    ["fill", drawn("####....", "####....", "........", "........"), "There is no hole."],
    ["largest", drawn("##......", "##......", "........", "........"), "The mask is one part."],
    ["shrink", drawn("......##", ".....##.", "........", "........"), "Nothing would be left."],
  ] as const)("%s says when there is nothing to do, and saves nothing", (name, dense, text) => {
    editor.open(IMAGE, [mask(1, dense)]);
    editor.select(1);
    expect(reshape(editor, SHAPES[name])).toBe(text);
    expect([changes, editor.undoable]).toEqual([[], 0]);
  });

  it("needs a mask that is selected and free", () => {
    expect(reshape(editor, SHAPES.grow)).toBe("Select a mask first.");
    editor.select(1);
    editor.place(1, { locked: true });
    expect(reshape(editor, SHAPES.grow)).toMatch(/locked/);
    expect(changes).toEqual([]);
  });
});

describe("merging", () => {
  it("joins pixels and boxes, keeps number and category of the selected, in one step", () => {
    editor.select(2);
    editor.toggle(1);
    isOneStep(() => {
      expect(merge(editor)).toBe("2 masks merged into mask 2.");
    });
    expect(shown(2)).toEqual(["######..", "#..###..", "######..", "......#."]);
    expect(editor.find(2)).toMatchObject({ box: [1, 0, 4, 3], category_id: 7, state: "corrected" });
    expect(editor.find(1)).toBeNull();
    expect(changes.slice(0, 2).map(({ id, after }) => [id, after === null])).toEqual([
      [2, false],
      [1, true],
    ]);
  });

  it("needs two, none of them locked", () => {
    editor.select(1);
    expect(merge(editor)).toMatch(/two or more/);
    editor.toggle(2);
    editor.place(2, { locked: true });
    expect(merge(editor)).toBe("Mask 2 is locked. Unlock it first.");
    expect(changes).toEqual([]);
  });
});

describe("removing overlap", () => {
  it("takes from the selected mask alone what others hold", () => {
    editor.select(1);
    editor.place(3, { hidden: true }); // holds all of it
    isOneStep(() => removeOverlap(editor));
    expect(shown(1)).toEqual(["###.....", "#.......", "###.....", "........"]);
    expect(shown(2)).toEqual(lines(RIGHT));
  });

  it("does not count what is rejected or chosen as well", () => {
    editor.open(IMAGE, [mask(1, LEFT), mask(2, RIGHT, { state: "rejected" }), mask(3, LEFT)]);
    editor.select(1);
    editor.toggle(3);
    expect(removeOverlap(editor)).toBe("No overlap that could be removed.");
  });

  it("never leaves a mask empty", () => {
    editor.select(1);
    expect(removeOverlap(editor)).toBe("No overlap that could be removed.");
    expect(shown(1)).toEqual(lines(LEFT));
  });
});
