import { beforeEach, describe, expect, it } from "vitest";

import { type Act, Creations } from "../src/creations";
import { Editor } from "../src/editor";
import { cropOf, snapshotOf } from "../src/instance";
import { encode } from "../src/rle";
import { Trail } from "../src/trail";
import { ApiError, NetworkError } from "../src/transport";
import type { Annotation, Box, Change, Point, Tool, Wish } from "../src/types";
import { type Dense, drawn, lines, toCrop, toDense } from "./dense";
import { annotation } from "./masks";

type Asked = Wish & { readonly request_id: string };

const IMAGE = { id: 1, width: 12, height: 6 };
const BLOCK = drawn(
  "............",
  ".##########.",
  ".##########.",
  ".##########.",
  "............",
  "............",
);

let changes: Change[];
let asked: Asked[];
let failures: Error[]; // to be thrown one after the other, before anything succeeds
let waits: number[];
let told: string[];
let said: string[];
let boxes: Box[];
let learned: [number, number][];
let counted: [number, string][];
let kept: Map<string, Act>;
let wait: () => Promise<void>;
let answered: number[]; // ids to be given in place of new ones
let editor: Editor;
let creations: Creations;
let trail: Trail;

function mask(id: number, dense: Dense, part: Partial<Annotation> = {}): Annotation {
  const rle = encode(toCrop(dense), IMAGE.height, IMAGE.width);
  return annotation({ id, number: id, rle, box: [1, 1, 11, 4], ...part });
}

function shown(id: number): string[] {
  const item = editor.find(id);
  return item ? lines(toDense(cropOf(item.rle), IMAGE)) : [];
}

async function settle(): Promise<void> {
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

function create({ request_id, reason, from_id, ...part }: Asked): Promise<Annotation> {
  asked.push({ request_id, reason, from_id, ...part });
  const failure = failures.shift();
  if (failure) return Promise.reject(failure);
  const id = answered.shift() ?? 100 + asked.length;
  return Promise.resolve(annotation({ ...part, id, number: id, version: 1 }));
}

function clicks(tool: Tool, ...points: Point[]): void {
  editor.setTool(tool);
  for (const point of points) trail.click(point, 10);
}

beforeEach(() => {
  [changes, asked, failures, waits, told, said] = [[], [], [], [], [], []];
  [boxes, learned, counted] = [[], [], []];
  kept = new Map();
  answered = [];
  wait = () => Promise.resolve();
  editor = new Editor((event) => {
    if (event.kind === "edit") changes.push(event.change);
  });
  creations = new Creations(
    editor,
    { create },
    {
      wait: (seconds) => {
        waits.push(seconds);
        return wait();
      },
      say: (text) => said.push(text),
      tell: (text) => told.push(text),
      saves: { learn: (id, version) => learned.push([id, version]), waiting: () => null },
      onMade: ({ image_id, state }) => counted.push([image_id, state]),
      ...{ lap: () => 0, onProgress: () => undefined },
      keep: (key, act) => {
        if (act) kept.set(key, act);
        else kept.delete(key);
      },
    },
  );
  trail = new Trail({
    editor,
    creations,
    propose: (box) => boxes.push(box),
    say: (text) => said.push(text),
  });
  editor.open(IMAGE, [mask(1, BLOCK, { category_id: 4 })]);
  editor.categoryId = 4;
});

describe("a knife through a mask", () => {
  const cut: readonly Point[] = [
    [5.5, -1],
    [5.5, 9],
  ];

  it("makes two masks with boxes of their own, which one undo joins again", async () => {
    const before = editor.instances.map(snapshotOf);
    editor.select(1);
    clicks("split", ...cut);
    trail.finish();
    await settle();
    expect(shown(1).concat(shown(101))).toEqual([
      "............",
      "......#####.",
      "......#####.",
      "......#####.",
      "............",
      "............",
      "............",
      ".#####......",
      ".#####......",
      ".#####......",
      "............",
      "............",
    ]);
    expect([editor.find(1)?.box, editor.find(101)?.box]).toEqual([
      [6, 1, 11, 4],
      [1, 1, 6, 4],
    ]);
    expect(asked).toMatchObject([
      { from_id: 1, reason: "split", state: "corrected", category_id: 4 },
    ]);
    expect([editor.undoable, learned]).toEqual([1, [[101, 1]]]);
    editor.undo();
    expect(editor.instances.map(snapshotOf)).toEqual(before);
    expect(changes.slice(1).map(({ id, after }) => [id, after === null])).toEqual([
      [101, true],
      [1, false],
    ]);
    editor.redo();
    expect(editor.instances).toHaveLength(2);
  });

  it("keeps what was painted while the server answered", async () => {
    editor.select(1);
    const done = creations.split(cut);
    editor.setRadius(0.5);
    editor.beginStroke([8.5, 5.5], 1);
    editor.endStroke();
    await done;
    expect(shown(1)[5]).toBe("........#...");
    expect(shown(1)[1]).toBe("......#####.");
  });

  it("is saved even when the image was left meanwhile", async () => {
    editor.select(1);
    const done = creations.split(cut);
    editor.open({ ...IMAGE, id: 9 }, []);
    await done;
    expect(changes).toMatchObject([{ id: 1, image_id: 1, after: { box: [6, 1, 11, 4] } }]);
    expect(editor.instances).toEqual([]);
  });

  it("changes nothing when it does not go through", async () => {
    editor.select(1);
    expect(
      await creations.split([
        [5, 0],
        [5, 2],
      ]),
    ).toBe("refused");
    expect([asked, changes, said.at(-1)]).toEqual([[], [], expect.stringMatching(/right through/)]);
  });

  it("waits while the network is down, kept, and goes on under the same name", async () => {
    editor.select(1);
    failures = Array.from({ length: 6 }, () => new NetworkError("no answer"));
    failures.push(new ApiError(429, "busy", "busy", null, null, 7));
    expect(await creations.split(cut)).toBe("waits");
    expect([changes, [...kept.values()].map(({ divided }) => divided?.id)]).toEqual([[], [1]]);
    expect(creations.placeholders(1).map(({ box }) => box)).toEqual([[1, 1, 6, 4]]);
    expect([creations.lost.length, await creations.separate()]).toEqual([1, "refused"]);
    await settle();
    expect(new Set(asked.map(({ request_id }) => request_id)).size).toBe(1);
    expect(waits).toEqual([0.5, 1, 2, 4, 8, 15, 7]);
    expect([editor.instances.length, editor.undoable, kept.size, told]).toEqual([2, 1, 0, []]);
    expect(creations.placeholders(1)).toEqual([]);
  });

  it("may be given up while it waits, and changes nothing then", async () => {
    editor.select(1);
    let back: () => void = () => undefined;
    failures = [new NetworkError("no answer")];
    wait = () => new Promise<void>((resolve) => (back = resolve));
    expect(await creations.split(cut)).toBe("waits");
    expect([2, 1].map((id) => creations.giveUpNewest(id))).toEqual([false, true]);
    back();
    await settle();
    expect([asked.length, editor.instances.length, kept.size, changes]).toEqual([1, 1, 0, []]);
  });

  it("stays kept for the next page when this one ends", async () => {
    editor.select(1);
    void creations.split(cut);
    creations.stop();
    await settle();
    expect([kept.size, editor.instances.length]).toEqual([1, 1]);
  });

  it("is done once, though its answers come twice", async () => {
    editor.select(1);
    void creations.split(cut);
    const [act] = [...kept.values()];
    await settle();
    const once = [editor.instances.map(snapshotOf), editor.undoable];
    answered = [101];
    creations.resume(act);
    await settle();
    expect([editor.instances.map(snapshotOf), editor.undoable]).toEqual(once);
  });

  it("leaves with the first mask what the server refused to make", async () => {
    const dots = drawn(
      "#..#..#.....",
      "............",
      "............",
      "............",
      "............",
      "............",
    );
    editor.open(IMAGE, [mask(1, dots)]);
    editor.select(1);
    const separate = creations.separate(); // the first of two new masks is under way
    failures.push(new ApiError(422, "not_allowed", "no", null, null, null));
    await separate;
    expect(told).toEqual(["Not done: no"]);
    expect([shown(1)[0], shown(101)[0]]).toEqual(["#.....#.....", "...#........"]);
  });
});

describe("parts", () => {
  it("become masks of their own", async () => {
    const dots = drawn(
      "##.#..#.....",
      "............",
      "............",
      "............",
      "............",
      "............",
    );
    editor.open(IMAGE, [mask(1, dots)]);
    editor.select(1);
    await creations.separate();
    expect([1, 101, 102].map((id) => shown(id)[0])).toEqual([
      "##..........",
      "...#........",
      "......#.....",
    ]);
    expect(said.at(-1)).toBe("Mask 1 is now 3 masks.");
  });
});

describe("a copy", () => {
  it("lies at the same pixels of the other image, to be reviewed, and undo there takes it away", async () => {
    editor.select(1);
    expect(await creations.copy({ id: 2, width: 6, height: 3 })).toBe("made");
    const rle = encode(toCrop(drawn("......", ".#####", ".#####")), 3, 6);
    expect(asked).toMatchObject([
      { image_id: 2, state: "proposed", category_id: 4, box: [1, 1, 6, 3], rle, from_id: null },
    ]);
    expect([counted, changes, editor.undoable]).toEqual([[[2, "proposed"]], [], 0]);
    editor.open({ id: 2, width: 6, height: 3 }, [annotation({ ...asked[0], id: 101 })]);
    expect(editor.undoable).toBe(1);
    editor.undo();
    expect(changes).toMatchObject([{ id: 101, image_id: 2, after: null }]);
  });

  it("is not made when nothing of it lies on the other image", async () => {
    editor.select(1);
    expect(await creations.copy({ id: 2, width: 1, height: 1 })).toBe("refused");
    expect(asked).toEqual([]);
  });
});

describe("a polygon", () => {
  const square: readonly Point[] = [
    [0, 2],
    [4, 2],
    [4, 6],
    [0, 6],
  ];

  it("adds to the selected mask; clicking the first point closes it", () => {
    editor.select(1);
    clicks("polygon", ...square, [0.1, 2.1]);
    expect(shown(1)).toEqual([
      "............",
      ".##########.",
      "###########.",
      "###########.",
      "####........",
      "####........",
    ]);
    expect(changes).toMatchObject([{ id: 1, reason: "polygon", after: { state: "corrected" } }]);
    editor.undo();
    expect(shown(1)).toEqual(lines(BLOCK));
  });

  it("cuts out of the selected mask", () => {
    editor.select(1);
    clicks("cut", ...square);
    trail.finish();
    expect(shown(1).slice(0, 4)).toEqual([
      "............",
      ".##########.",
      "....#######.",
      "....#######.",
    ]);
  });

  it("may be closed by a double click, on the first point too", () => {
    editor.select(1);
    clicks("polygon", ...square, [0, 6.1]);
    trail.doubleClick();
    expect([editor.undoable, editor.trail]).toEqual([1, []]);
    editor.undo();
    clicks("polygon", ...square, [0, 2], [0, 2]);
    trail.doubleClick();
    expect([editor.undoable, editor.trail]).toEqual([1, []]);
  });

  it("makes a new mask when none is selected", async () => {
    clicks("polygon", ...square);
    trail.finish();
    await settle();
    expect(asked).toMatchObject([
      { image_id: 1, category_id: 4, box: [0, 2, 4, 6], from_id: null },
    ]);
    expect([editor.selectedId, editor.undoable, editor.trail]).toEqual([101, 1, []]);
  });

  it("is there again when the server refuses it, and nothing new was begun", async () => {
    failures = [new ApiError(422, "not_allowed", "no", null, null, null)];
    clicks("polygon", ...square);
    trail.finish();
    await settle();
    expect(editor.trail).toEqual(square);
  });

  it("never empties a mask, and a locked one is left alone with the points kept", () => {
    editor.select(1);
    clicks("cut", [0, 0], [12, 0], [12, 6], [0, 6]);
    trail.finish();
    expect(said.at(-1)).toMatch(/Nothing would be left/);
    editor.place(1, { locked: true });
    clicks("cut", ...square);
    trail.finish();
    expect([changes, editor.trail]).toEqual([[], square]);
  });

  it("needs three points, and a second click at one place is no point", () => {
    editor.select(1);
    clicks("polygon", [1, 1], [5, 1], [5.1, 1.1]);
    trail.finish();
    expect([editor.trail.length, said.at(-1)]).toEqual([2, "3 points are needed."]);
    expect(trail.back()).toBe(true);
    expect(trail.cancel()).toBe(true);
    expect([trail.back(), trail.cancel()]).toEqual([false, false]);
  });
});

describe("four extreme points", () => {
  it("are the sides of a box, in any order", () => {
    clicks("extreme", [6, 1], [2, 3.4], [9.6, 3], [7, 5]);
    expect([boxes, editor.trail]).toEqual([[[2, 1, 10, 5]], []]);
  });

  it("too close together are no box", () => {
    clicks("extreme", [5, 1], [5.5, 1], [6, 1], [6.5, 1]);
    expect([boxes, said.at(-1)]).toEqual([[], expect.stringMatching(/too close/)]);
  });

  it("take no notice of a double click", () => {
    clicks("extreme", [6, 1], [2, 3]);
    trail.doubleClick();
    expect(editor.trail).toHaveLength(2);
  });

  it("another tool forgets them", () => {
    clicks("extreme", [6, 1], [2, 3]);
    editor.setTool("box");
    expect(editor.trail).toEqual([]);
  });
});
