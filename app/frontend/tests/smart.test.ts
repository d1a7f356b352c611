import { beforeEach, describe, expect, it } from "vitest";

import { ApiError, NetworkError } from "../src/transport";
import type { Annotation } from "../src/types";
import { annotation } from "./masks";
import {
  asked,
  assist,
  begin,
  editor,
  lost,
  made,
  saved,
  settle,
  stroke,
  sync,
  told,
} from "./synced";

beforeEach(begin);

describe("with assist a stroke", () => {
  const steered = {
    version: 6,
    state: "corrected",
    reason: "smart stroke",
    person: "ada",
  } as const;

  /** A stroke is painted at a place of its own, saved, and on its way to the model. */
  async function assisted(): Promise<void> {
    assist();
    stroke();
    await saved[0].answer(annotation({ version: 5, state: "corrected" }));
  }

  /** The next stroke, away from the first one, while that one's mask is on its way. */
  function goOn(): void {
    editor.beginStroke([20, 2], 1);
    editor.endStroke();
  }

  function conflict(part: Partial<Annotation>): ApiError {
    return new ApiError(409, "conflict", "late", annotation(part), 3, null);
  }

  function now(): string | undefined {
    return editor.find(1)?.rle?.counts;
  }

  it("goes to the model once it is saved, and not at all without assist", async () => {
    stroke();
    await settle();
    await saved[0].answer(annotation({ version: 5, state: "corrected" }));
    expect(asked).toEqual([]);
    assist();
    goOn();
    await settle();
    expect(asked).toEqual([]);
    await saved[1].answer(annotation({ version: 6, state: "corrected" }));
    expect(asked.map(({ request }) => request)).toMatchObject([
      { instance_id: 1, version: 6, strokes: [{ points: [[2, 2]] }, { points: [[20, 2]] }] },
    ]);
  });

  it("shows the answer with the strokes over it, as a step of its own that is saved", async () => {
    const first = now();
    await assisted();
    const plain = now();
    await asked[0].answer(made(steered));
    expect([now(), editor.undoable]).toEqual([plain, 2]); // the blob with the stroke on it
    expect(saved[1]).toMatchObject({ version: 6, change: { reason: "assist" } });
    editor.undo();
    editor.undo();
    expect(now()).toBe(first);
    expect(asked).toHaveLength(1);
  });

  it("stays as painted where the model fails, or is out of reach", async () => {
    await assisted();
    const plain = now();
    await asked[0].fail(new ApiError(500, "internal", "no luck", null, null, null));
    expect([now(), told]).toEqual([plain, ["The stroke stays as painted: no luck"]]);
    goOn();
    await saved[1].answer(annotation({ version: 6, state: "corrected" }));
    await asked[1].fail(new NetworkError("no answer"));
    expect([sync.waiting.size, sync.proposals.lost, told.length]).toEqual([0, [], 1]);
  });

  it("and the next one lose nothing, though the answer to the first was stored", async () => {
    await assisted();
    goOn();
    const both = now();
    expect(saved[1].version).toBe(5);
    await saved[1].fail(conflict(steered));
    expect([saved[2].version, lost, now()]).toEqual([6, [], both]);
    await saved[2].answer(annotation({ version: 7, state: "corrected" }));
    expect(asked[1].request).toMatchObject({ version: 7, strokes: [{}, {}] });
  });

  it.each([
    ["painted by hand", { reason: "brush" }],
    ["assisted, but later", { version: 7 }],
    ["accepted", { state: "accepted", reason: "accept" }],
  ] as const)("does not take for its own what was %s", async (_what, part) => {
    await assisted();
    goOn();
    const theirs = annotation({ ...steered, person: "ben", ...part });
    await saved[1].fail(new ApiError(409, "conflict", "late", theirs, 3, null));
    expect(lost).toMatchObject([{ theirs, kept: 3 }]);
    expect([asked.length, sync.proposals.count]).toEqual([1, 0]);
  });

  it("that was refused asks nothing", async () => {
    assist();
    stroke();
    await saved[0].fail(new ApiError(422, "bad_mask", "no", null, null, null));
    expect([asked, sync.proposals.count]).toEqual([[], 0]);
  });

  it("is asked for again when the one that interrupted it came to nothing", async () => {
    await assisted();
    editor.beginStroke([20, 2], 1);
    editor.cancelStroke();
    await settle();
    expect(asked).toHaveLength(2);
    await asked[1].fail(conflict(steered)); // the first was stored after all
    expect(asked[2].request).toMatchObject({ version: 6, strokes: [{ points: [[2, 2]] }] });
    expect(told).toEqual([]);
  });
});
