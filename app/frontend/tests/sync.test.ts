import { beforeEach, describe, expect, it } from "vitest";

import type { Conflict } from "../src/conflicts";
import type { Past } from "../src/history";
import type { Keeper, Legacy } from "../src/keeper";
import { cut, minus } from "../src/raster";
import { decode, encode } from "../src/rle";
import type { Unsent } from "../src/saves";
import { ApiError, NetworkError } from "../src/transport";
import type { Change } from "../src/types";
import { annotation, BLOB, IMAGE } from "./masks";
import {
  asked,
  begin,
  created,
  editor,
  list,
  lost,
  made,
  onScreen,
  OTHER,
  outdated,
  read,
  said,
  saved,
  settle,
  stroke,
  sync,
  told,
} from "./synced";

beforeEach(begin);

describe("an image whose masks were fetched before a save was acknowledged", () => {
  beforeEach(async () => {
    stroke();
    sync.open(OTHER, [], false);
    await saved[0].answer(annotation({ version: 5, state: "corrected" }));
    sync.open(IMAGE, [annotation({ version: 4 })], false);
  });

  it("is read again, and the saved stroke shows", async () => {
    await read[0].answer([annotation({ version: 5, state: "corrected" })]);
    expect(onScreen()).toEqual([[1, 5, "corrected"]]);
  });

  it("never lets a stroke on the old mask undo the saved one", () => {
    stroke();
    expect(saved[1].version).toBe(4);
  });
});

describe("what was fetched ahead is old", () => {
  it("after an edit and after its acknowledgement", async () => {
    stroke();
    await saved[0].answer(annotation({ version: 5 }));
    expect(outdated).toEqual([1, 1]);
  });

  it("after a conflict", async () => {
    stroke();
    const current = annotation({ version: 9 });
    await saved[0].fail(new ApiError(409, "conflict", "late", current, 3, null));
    expect(outdated).toEqual([1, 1]);
    expect(told[0]).toContain("revision 3");
  });

  it("after somebody else took the image, which is not what a race is", async () => {
    stroke();
    const current = annotation({ version: 4, person: "Bob" });
    await saved[0].fail(new ApiError(409, "lease_lost", "late", current, 3, null));
    expect(told).toEqual([
      "Somebody else works on this image. Yours of mask 1 is kept in the history as revision 3.",
    ]);
    expect(lost).toHaveLength(1);
  });

  it("after a mask came", async () => {
    sync.propose([0, 0, 9, 9], null);
    await settle();
    await asked[0].answer(made({ id: 7 }));
    expect(outdated).toEqual([1]);
  });
});

describe("reading an image again", () => {
  it("shows what others saved, made and deleted", async () => {
    sync.open(IMAGE, [annotation({ version: 4 }), annotation({ id: 2, number: 2 })], false);
    void sync.refresh(1);
    await read[0].answer(
      list(annotation({ version: 6, state: "accepted" }), annotation({ id: 3 })),
    );
    expect(onScreen()).toEqual([
      [1, 6, "accepted"],
      [3, 1, "proposed"],
    ]);
  });

  it("leaves a stroke, a box at hand, the selection and undo as they are", async () => {
    stroke();
    await saved[0].answer(annotation({ version: 5 }));
    editor.setDraft({ id: 1, box: [1, 1, 9, 9] });
    editor.beginStroke([9, 9], 1);
    void sync.refresh(1);
    await read[0].answer([annotation({ version: 8, state: "rejected" })]);
    expect([editor.isStroking, editor.selectedId, editor.undoable]).toEqual([true, 1, 1]);
    expect([editor.draft?.box, editor.instances[0].version]).toEqual([[1, 1, 9, 9], 5]);
  });

  it("keeps a mask that was made while the list was on its way", async () => {
    void sync.refresh(1);
    editor.propose(annotation({ id: 7, number: 7 }), true);
    await read[0].answer([annotation({ version: 4 })]);
    expect(onScreen().map(([id]) => id)).toEqual([1, 7]);
  });

  it("that fails keeps everything and is told", async () => {
    void sync.refresh(1);
    await read[0].fail(new NetworkError("no answer"));
    expect([onScreen().length, told]).toEqual([1, ["Not up to date: no answer"]]);
  });
});

describe("a stroke on a mask that is being proposed anew", () => {
  it("gives the request up as it begins, so that no answer drops it", async () => {
    sync.propose([0, 0, 9, 9], 1);
    await settle();
    editor.select(1);
    editor.beginStroke([2, 2], 1);
    await asked[0].answer(made({ version: 5 }));
    expect([editor.isStroking, sync.proposals.count]).toEqual([true, 0]);
    editor.endStroke();
    expect(saved[0].change.reason).toBe("brush");
  });
});

describe("another box", () => {
  it.each(["corrected", "accepted"] as const)("leaves a mask that is %s", async (state) => {
    sync.open(IMAGE, [annotation({ version: 4, state })], false);
    sync.changeBox(1, [1, 2, 30, 40]);
    await settle();
    const { rle } = annotation();
    expect(asked).toEqual([]);
    expect(saved[0].change).toMatchObject({
      reason: "box",
      after: { state, rle, box: [1, 2, 30, 40] },
    });
    expect(said).toEqual(["Box moved; the mask is yours and stays. Press R to propose it anew."]);
  });

  it("of a proposed mask proposes it anew at once", async () => {
    sync.changeBox(1, [1, 2, 30, 40]);
    await settle();
    expect(asked[0].request).toMatchObject({ instance_id: 1, box: [1, 2, 30, 40], version: 4 });
    expect(saved).toEqual([]);
  });
});

describe("a lost race", () => {
  const theirs = annotation({ version: 9, state: "accepted", person: "ben", box: [0, 0, 5, 5] });

  beforeEach(async () => {
    stroke();
    await saved[0].fail(new ApiError(409, "conflict", "late", theirs, 3, null));
  });

  it("shows theirs, says who was first, and keeps mine to be decided", () => {
    expect([onScreen(), told[0]]).toEqual([
      [[1, 9, "accepted"]],
      expect.stringMatching(/^ben saved/),
    ]);
    expect([lost[0].mine.reason, lost[0].theirs.version, lost[0].kept]).toEqual(["brush", 9, 3]);
    expect(sync.conflicts.first(1)).toBe(lost[0]);
  });

  it("is over when theirs is to stand", () => {
    sync.decide(lost[0], "theirs");
    expect([saved.length, created.length, sync.conflicts.count]).toEqual([1, 0, 0]);
  });

  it("puts mine on top of theirs, as an act that can be undone", () => {
    sync.decide(lost[0], "mine");
    expect(saved[1]).toMatchObject({ version: 9, change: { after: lost[0].mine.after } });
    expect([onScreen(), sync.conflicts.count]).toEqual([[[1, 9, "corrected"]], 0]);
    editor.undo();
    expect(onScreen()).toEqual([[1, 9, "accepted"]]);
  });

  it("keeps both: theirs as it is, mine as an instance of its own", async () => {
    sync.decide(lost[0], "both");
    await settle();
    const { rle } = lost[0].mine.after ?? {};
    expect(created[0].request).toMatchObject({ image_id: 1, rle, state: "corrected", from_id: 1 });
    await created[0].answer(annotation({ id: 7, number: 7, state: "corrected" }));
    expect(onScreen()).toEqual([
      [1, 9, "accepted"],
      [7, 1, "corrected"],
    ]);
  });

  it.each([
    ["rejected", "corrected"],
    ["accepted", "accepted"],
    ["proposed", "corrected"],
  ] as const)("keeps mine that is %s as %s beside theirs", async (state, expected) => {
    const { mine } = lost[0];
    const after = mine.after && { ...mine.after, state };
    sync.decide({ ...lost[0], mine: { ...mine, after } }, "both");
    await settle();
    expect(created[0].request.state).toBe(expected);
  });

  it("waits where theirs is locked, and says so", () => {
    editor.select(1);
    editor.placings.change(1, { locked: true });
    sync.decide(lost[0], "mine");
    expect([saved.length, sync.conflicts.count]).toEqual([1, 1]);
    expect(told[1]).toContain("is locked");
  });
});

describe("what is left by a page that ended", () => {
  const { state, category_id, box, rle } = annotation();
  const after = { state, category_id, box, rle };
  const change = { id: 1, image_id: 1, after: { ...after, state: "rejected" }, reason: "reject" };
  const unsent = { change, version: 2, unanswered: [], doubt: null } as Unsent;

  function keeper(legacy: Legacy, conflicts: Conflict[] = []): Keeper {
    const kept = {
      conflicts: () => Promise.resolve(conflicts),
      inherit: (take: (legacy: Legacy) => void) => {
        take(legacy);
        return Promise.resolve();
      },
      keepSave: () => undefined,
      keepBox: () => undefined,
      keepAct: () => undefined,
      keepConflict: () => undefined,
      keepPast: (id: number, past: Past) => pasts.push([id, structuredClone(past)]),
    };
    return kept as unknown as Keeper;
  }
  let pasts: [number, Past][];

  beforeEach(() => {
    pasts = [];
  });

  it("goes out, and shows on its image until then", async () => {
    const asking = { key: "k", image_id: 2, instance_id: null, category_id: 1, box };
    await sync.keepIn(keeper({ unsent: [unsent], boxes: [asking], acts: [] }));
    await settle();
    sync.open(IMAGE, [annotation({ version: 4 })], false);
    expect(onScreen()).toEqual([[1, 4, "rejected"]]);
    expect([saved[0].version, asked[0].request.request_id]).toEqual([2, "k"]);
    expect([...sync.waiting]).toEqual([[1, { masks: 1, boxes: 0 }]]);
  });

  it("holds the races nobody decided", async () => {
    const conflict = { mine: change as Change, theirs: annotation(), kept: 3 };
    await sync.keepIn(keeper({ unsent: [], boxes: [], acts: [] }, [conflict]));
    expect(sync.conflicts.first(1)).toEqual(conflict);
  });

  it("what can be undone is kept after each act, undo included", async () => {
    await sync.keepIn(keeper({ unsent: [], boxes: [], acts: [] }));
    sync.recall(1, null, () => undefined);
    stroke();
    sync.keepPast();
    sync.keepPast();
    editor.undo();
    sync.keepPast();
    const sizes = pasts.map(([id, { done, undone }]) => [id, done.length, undone.length]);
    expect(sizes).toEqual([
      [1, 1, 0],
      [1, 0, 1],
    ]);
  });

  it("an answer that comes before its image is one more step of what could be undone", async () => {
    const asking = { key: "k", image_id: 1, instance_id: null, category_id: 1, box };
    await sync.keepIn(keeper({ unsent: [], boxes: [asking], acts: [] }));
    editor.close();
    await settle();
    await asked[0].answer(made({ id: 8, number: 8 }));
    sync.keepPast();
    expect(pasts).toEqual([]);
    const old = { id: 1, before: { ...after, category_id: 2 }, after };
    sync.open(IMAGE, [annotation(), annotation({ id: 8, number: 8 })], false);
    sync.recall(1, { done: [[old]], undone: [] }, () => told.push("forgotten"));
    expect([pasts.map(([id, { done }]) => [id, done.length]), told]).toEqual([[[1, 2]], []]);
    editor.undo();
    editor.undo();
    expect(editor.instances).toMatchObject([{ id: 1, category_id: 2 }]);
  });

  it("a past that others moved on from is forgotten, and an early answer is not", async () => {
    const asking = { key: "k", image_id: 1, instance_id: null, category_id: 1, box };
    await sync.keepIn(keeper({ unsent: [], boxes: [asking], acts: [] }));
    editor.close();
    await settle();
    await asked[0].answer(made({ id: 8, number: 8 }));
    const old = { id: 1, before: null, after: { ...after, category_id: 2 } };
    sync.open(IMAGE, [annotation(), annotation({ id: 8, number: 8 })], false);
    sync.recall(1, { done: [[old]], undone: [] }, () => told.push("forgotten"));
    expect([pasts.map(([, { done }]) => done.length), told]).toEqual([[1], ["forgotten"]]);
  });

  it("an act that makes instances is done, and divides its mask without its image", async () => {
    const left = { ...after, state: "corrected", image_id: 1, reason: "split" } as const;
    const act = {
      key: "k",
      wishes: [{ ...left, from_id: 1 }],
      divided: annotation({ version: 6 }),
    };
    const [height, width] = BLOB.size;
    const blob = decode(BLOB);
    const { x, y, w, h } = blob;
    const upper = { x0: x, y0: y, x1: x + w, y1: y + (h >> 1) };
    const half = encode(cut(blob, upper), height, width);
    await sync.keepIn(keeper({ unsent: [], boxes: [], acts: [act] }));
    editor.close();
    expect(sync.placeholders(1)).toHaveLength(1);
    await settle();
    expect(created[0].request).toMatchObject({ request_id: "k-0", reason: "split", from_id: 1 });
    await created[0].answer(annotation({ id: 9, number: 9, rle: half }));
    expect(saved[0]).toMatchObject({ version: 6, change: { id: 1, reason: "split" } });
    const rest = minus(blob, decode(half));
    expect(saved[0].change.after?.rle).toEqual(encode(rest, height, width));
    expect(sync.placeholders(1)).toEqual([]);
  });
});

it("shows a mask that was foreseen, which is no act of the person's", async () => {
  sync.open(IMAGE, list(annotation({ id: 5, version: 2, rle: null })), false);
  void sync.proposals.foresee(annotation({ id: 5, version: 2, rle: null }));
  await asked[0].answer(made({ id: 5, version: 3 }));
  expect([onScreen(), editor.selectedId, editor.undoable]).toEqual([[[5, 3, "proposed"]], null, 0]);
  expect(editor.find(5)?.rle).not.toBeNull();
  expect([outdated, said, told]).toEqual([[1], [], []]);
});
