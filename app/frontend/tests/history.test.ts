import { describe, expect, it } from "vitest";

import { Editor } from "../src/editor";
import { fits, History, type Past, type Step } from "../src/history";
import type { Change, Snapshot, State } from "../src/types";
import { annotation, IMAGE } from "./masks";

function snapshot(state: State): Snapshot {
  const { category_id, box, rle } = annotation();
  return { state, category_id, box, rle };
}

const [proposed, corrected, accepted] = (["proposed", "corrected", "accepted"] as const).map(
  snapshot,
);
const made = [{ id: 1, before: null, after: proposed }];
const painted = [{ id: 1, before: proposed, after: corrected }];
const taken = [{ id: 1, before: corrected, after: accepted }];

describe("a past fits", () => {
  it.each<[string, Past, Snapshot | null, boolean]>([
    ["when it ends in what is here", { done: [made, painted], undone: [] }, corrected, true],
    ["not when somebody changed it since", { done: [made, painted], undone: [] }, accepted, false],
    ["not when somebody deleted it", { done: [made, painted], undone: [] }, null, false],
    [
      "when what is undone begins there",
      { done: [made], undone: [taken, painted] },
      proposed,
      true,
    ],
    ["not when redoing begins elsewhere", { done: [made], undone: [taken] }, proposed, false],
    ["when all of it is undone", { done: [], undone: [painted, made] }, null, true],
    [
      "not when what was undone is here again",
      { done: [], undone: [painted, made] },
      proposed,
      false,
    ],
    ["not when somebody came in between", { done: [made, taken], undone: [] }, accepted, false],
    ["when there is none", { done: [], undone: [] }, proposed, true],
  ])("%s", (_, past, now, expected) => {
    expect(fits(past, () => now)).toBe(expected);
  });

  it("only when every instance of a step does", () => {
    const step = [
      { id: 1, before: proposed, after: accepted },
      { id: 2, before: proposed, after: accepted },
    ];
    const past = { done: [step], undone: [] };
    expect(fits(past, () => accepted)).toBe(true);
    expect(fits(past, (id) => (id === 1 ? accepted : proposed))).toBe(false);
  });

  it("when one step did two things to one instance", () => {
    const step = [painted[0], taken[0]];
    expect(fits({ done: [step], undone: [] }, () => accepted)).toBe(true);
    expect(fits({ done: [], undone: [step] }, () => proposed)).toBe(true);
    expect(fits({ done: [], undone: [step] }, () => corrected)).toBe(false);
  });
});

describe("an editor after a reload", () => {
  function opened(state: State): [Editor, Change[]] {
    const changes: Change[] = [];
    const editor = new Editor((event) => {
      if (event.kind === "edit") changes.push(event.change);
    });
    editor.open(IMAGE, [annotation({ state, version: 7 })]);
    return [editor, changes];
  }

  it("goes on undoing and redoing where it was", () => {
    const [editor] = opened("proposed");
    editor.select(1);
    editor.accept();
    editor.select(1);
    editor.remove();
    editor.undo();
    const past = structuredClone(editor.past(1));
    const [again, changes] = opened("accepted");
    expect([again.recall(past), again.undoable, again.redoable]).toEqual([true, 1, 1]);
    again.redo();
    again.undo();
    again.undo();
    expect(changes.map(({ after }) => after?.state ?? "deleted")).toEqual([
      "deleted",
      "accepted",
      "proposed",
    ]);
  });

  it("forgets a past that somebody else has changed the end of", () => {
    const [editor] = opened("rejected");
    expect([editor.recall({ done: [made, painted], undone: [] }), editor.undoable]).toEqual([
      false,
      0,
    ]);
  });

  it("keeps what it did itself rather than what is kept", () => {
    const [editor] = opened("corrected");
    editor.select(1);
    editor.accept();
    expect([editor.recall({ done: [made], undone: [] }), editor.undoable]).toEqual([false, 1]);
  });
});

describe("memory", () => {
  const heavy = (id: number): Step => {
    const rle = { size: [100, 100] as const, counts: "0".repeat(2 ** 20) };
    return [{ id, before: null, after: { ...proposed, rle } }];
  };

  it("is bounded: the image worked on longest ago forgets first, then the oldest steps", () => {
    const history = new History();
    for (const [imageId, count] of [
      [1, 30],
      [2, 30],
      [1, 1],
      [3, 10],
    ] as const) {
      for (let i = 0; i < count; i++) history.record(imageId, heavy(i));
    }
    expect([1, 2, 3].map((id) => history.undoable(id))).toEqual([31, 23, 10]);
    for (let i = 0; i < 70; i++) history.record(3, heavy(i));
    expect([1, 2, 3].map((id) => history.undoable(id))).toEqual([0, 0, 64]);
    expect(history.undo(3)?.[0].id).toBe(69);
  });

  it("keeps the newest step, whatever it takes", () => {
    const history = new History();
    const huge = Array.from({ length: 70 }, (_, id) => heavy(id)[0]);
    history.record(1, huge);
    expect(history.undoable(1)).toBe(1);
  });
});
