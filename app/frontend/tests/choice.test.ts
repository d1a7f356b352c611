import { beforeEach, describe, expect, it } from "vitest";

import { arrowBox } from "../src/boxkeys";
import { Editor } from "../src/editor";
import { Placings } from "../src/placings";
import { decode } from "../src/rle";
import type { Change } from "../src/types";
import { annotation, BLOB, IMAGE } from "./masks";

let changes: Change[];
let editor: Editor;

function ids(of: readonly { readonly id: number }[]): number[] {
  return of.map(({ id }) => id);
}

beforeEach(() => {
  changes = [];
  editor = new Editor((event) => {
    if (event.kind === "edit") changes.push(event.change);
  });
  editor.open(
    IMAGE,
    [1, 2, 3].map((id) => annotation({ id, number: id })),
  );
});

describe("choosing several", () => {
  it("adds and takes out one by one, the first staying the one tools work on", () => {
    editor.select(2);
    editor.toggle(1);
    editor.toggle(3);
    expect([ids(editor.chosen), editor.selectedId]).toEqual([[2, 1, 3], 2]);
    editor.toggle(2);
    expect([ids(editor.chosen), editor.selectedId]).toEqual([[1, 3], 1]);
  });

  it("all means all that can be seen", () => {
    editor.select(3);
    editor.place(1, { hidden: true });
    editor.selectAll();
    expect(ids(editor.chosen)).toEqual([3, 2]);
  });

  it.each([
    ["accept", "accepted"],
    ["reject", "rejected"],
    ["remove", null],
  ] as const)("%s is one act to all of them, and one undo", (act, state) => {
    editor.selectAll();
    editor[act]();
    expect(changes.map(({ after }) => after?.state ?? null)).toEqual([state, state, state]);
    expect(editor.undoable).toBe(1);
    editor.undo();
    expect(editor.instances.map((item) => item.state)).toEqual(Array(3).fill("proposed"));
    expect(new Set(ids(editor.chosen))).toEqual(new Set([1, 2, 3]));
    editor.redo();
    expect(changes).toHaveLength(9);
  });

  it("a category goes to all of them that have another", () => {
    editor.setTool("select");
    editor.select(1);
    editor.setCategory(5);
    editor.selectAll();
    editor.setCategory(5);
    expect(changes.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(editor.undoable).toBe(2);
  });
});

describe("a locked mask", () => {
  beforeEach(() => {
    editor.place(1, { locked: true });
    editor.select(1);
  });

  it("takes no stroke, no box, no category and no deletion, and says why", () => {
    editor.setTool("brush");
    expect(editor.beginStroke([5, 5], 1)).toBe(false);
    editor.setBox(1, [0, 0, 9, 9]);
    editor.setCategory(5);
    expect(editor.remove()).toBe(false);
    expect([changes, editor.undoable]).toEqual([[], 0]);
    expect(editor.obstacle).toBe("Mask 1 is locked. Unlock it first.");
  });

  it("keeps its box under the arrow keys", () => {
    editor.setTool("select");
    const right = { key: "ArrowRight", ctrlKey: false, metaKey: false } as KeyboardEvent;
    expect([arrowBox(editor, right, 1), editor.draft]).toEqual([false, null]);
    editor.place(1, { locked: false });
    expect(arrowBox(editor, right, 1)).toBe(true);
  });

  it("can be reviewed, and undo still brings back what it was", () => {
    editor.accept();
    expect(changes.map(({ after }) => after?.state)).toEqual(["accepted"]);
    editor.place(2, { locked: false });
    editor.select(2);
    editor.remove();
    editor.place(2, { locked: true });
    editor.undo();
    expect(ids(editor.instances)).toEqual([1, 2, 3]);
  });

  it("stays when others go", () => {
    editor.selectAll();
    editor.remove();
    expect(ids(editor.instances)).toEqual([1]);
  });
});

describe("what is in front", () => {
  const { x, y, data } = decode(BLOB); // all three have it
  const inside = [x + data.indexOf(1) + 0.5, y + 0.5] as const; // a pixel of its first row

  it("is drawn last and hit first; by number where nobody said", () => {
    expect(ids(editor.inOrder)).toEqual([1, 2, 3]);
    expect(editor.at(inside)?.id).toBe(1);
    editor.place(2, { level: 1 });
    editor.place(1, { level: -1 });
    expect(ids(editor.inOrder)).toEqual([1, 3, 2]);
    expect(editor.at(inside)?.id).toBe(2);
  });

  it("hidden masks are neither drawn nor hit, nor painted on", () => {
    editor.place(1, { hidden: true });
    expect(ids(editor.inOrder)).toEqual([2, 3]);
    expect(editor.at(inside)?.id).toBe(2);
    editor.select(1);
    expect(editor.beginStroke(inside, 1)).toBe(false);
    editor.showAll();
    expect(ids(editor.inOrder)).toEqual([1, 2, 3]);
  });

  it("alone shows the chosen, and all when nothing is chosen", () => {
    editor.select(2);
    editor.setAlone(true);
    expect(ids(editor.inOrder)).toEqual([2]);
    editor.select(null);
    expect(ids(editor.inOrder)).toEqual([1, 2, 3]);
  });
});

describe("placings", () => {
  it("come back from their text", () => {
    const [one, other] = [new Placings(), new Placings()];
    one.change(4, { level: -2, locked: true });
    one.change(5, { hidden: true });
    one.change(5, { hidden: false });
    other.read(one.write());
    expect(other.of(4)).toEqual({ level: -2, hidden: false, locked: true });
    expect(other.write()).toBe(one.write());
    expect(one.write()).not.toContain("5");
  });

  it.each([null, "", "{", "7", "[1]", "[[1]]", '[["a",{}]]', '[[1,{"level":0.5}]]', "[[1,null]]"])(
    "ignore %j",
    (text) => {
      const placings = new Placings();
      placings.read(text);
      expect(placings.write()).toBe("[]");
    },
  );
});
