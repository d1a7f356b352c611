import { describe, expect, it } from "vitest";

import { EVERYTHING, type Filter, passes, type Place, Queue, queryOf } from "../src/queue";
import type { Annotation } from "../src/types";
import { annotation } from "./masks";

/** A queue of masks 10 and 11 on image 1, 20 on image 2, and 30 to 32 on image 3. */
function queue(): Queue {
  const made = new Queue();
  made.read([
    { id: 1, instances: [10, 11] },
    { id: 2, instances: [20] },
    { id: 3, instances: [30, 31, 32] },
  ]);
  return made;
}

function mask(image_id: number, id: number, part: Partial<Annotation> = {}): Annotation {
  return annotation({ image_id, id, number: id, ...part });
}

function where(place: Place | null): readonly [number, number] | null {
  return place && [place.imageId, place.id];
}

describe("a filter", () => {
  it.each<[Partial<Filter>, Partial<Annotation>, boolean]>([
    [{}, {}, true],
    [{}, { state: "deleted" }, false],
    [{ states: ["corrected", "accepted"] }, { state: "accepted" }, true],
    [{ states: ["corrected", "accepted"] }, { state: "proposed" }, false],
    [{ category_id: 1 }, { category_id: 1 }, true],
    [{ category_id: 1 }, { category_id: 2 }, false],
    [{ low: 0.5 }, { score: 0.5 }, true],
    [{ low: 0.5 }, { score: 0.49 }, false],
    [{ low: 0 }, { score: null }, false],
    [{ high: 0.5 }, { score: 0.5 }, true],
    [{ high: 0.5 }, { score: 0.51 }, false],
    [{ high: 1 }, { score: null }, false],
    [{ person: "bob" }, { person: "bob" }, true],
    [{ person: "bob" }, { person: "ada" }, false],
    [{ person: "" }, { person: "ada" }, false],
    [{ model_id: 3 }, { model_id: null }, false],
    [{ flagged: true }, { flagged: true }, true],
    [{ flagged: false }, { flagged: true }, false],
  ])("%j of %j says %j", (wanted, item, expected) => {
    expect(passes({ ...EVERYTHING, ...wanted }, annotation(item))).toBe(expected);
  });

  it("is spelt as the server reads it", () => {
    const wanted: Filter = { ...EVERYTHING, states: ["corrected", "accepted"], low: 0.25 };
    expect(queryOf(wanted)).toBe("state=corrected&state=accepted&low=0.25");
    expect(queryOf({ ...EVERYTHING, flagged: false, person: "a&b" })).toBe(
      "person=a%26b&flagged=false",
    );
    expect(queryOf({ ...EVERYTHING, finding: "no-mask" })).toBe("finding=no-mask");
    expect(queryOf(EVERYTHING)).toBe("");
  });
});

describe("the way through the queue", () => {
  it.each<[number, number | null, 1 | -1, readonly [number, number], boolean]>([
    [1, 10, 1, [1, 11], false],
    [1, 11, 1, [2, 20], false],
    [3, 32, 1, [1, 10], true],
    [1, 10, -1, [3, 32], true],
    [2, 20, -1, [1, 11], false],
    [2, null, 1, [2, 20], false],
    [2, null, -1, [1, 11], false],
    [1, null, -1, [3, 32], true],
    [9, null, 1, [1, 10], false],
    [9, 90, -1, [3, 32], true],
    [3, 99, 1, [3, 30], false],
  ])("from image %j, mask %j, by %j leads to %j", (image, id, by, to, isRound) => {
    const place = queue().next(image, id, by);
    expect([where(place), place?.isRound]).toEqual([to, isRound]);
  });

  it("visits each mask once a round, forwards and backwards", () => {
    for (const by of [1, -1] as const) {
      const seen: number[] = [];
      let at: Place | null = { imageId: 2, id: 20, isRound: false };
      for (let step = 0; step < 6 && at; step++) {
        at = queue().next(at.imageId, at.id, by);
        seen.push(at?.id ?? 0);
      }
      expect([...seen].sort((a, b) => a - b)).toEqual([10, 11, 20, 30, 31, 32]);
      expect(seen.at(-1)).toBe(20);
    }
  });

  it("leaves images out that others work on, as long as they do", () => {
    const made = queue();
    made.taken = new Set([2]);
    expect(where(made.next(1, 11, 1))).toEqual([3, 30]);
    expect(where(made.next(3, 30, -1))).toEqual([1, 11]);
    expect(made.imageAfter(1)).toBe(3);
    made.taken = new Set([1, 2, 3]);
    expect([made.next(1, 11, 1), made.imageAfter(1)]).toEqual([null, null]);
    made.taken = new Set();
    expect(where(made.next(1, 11, 1))).toEqual([2, 20]);
  });

  it("ends where nothing is left but the mask one is at", () => {
    const made = new Queue();
    expect(made.next(1, null, 1)).toBeNull();
    made.read([{ id: 1, instances: [10] }]);
    expect(made.next(1, 10, 1)).toBeNull();
    expect(where(made.next(1, null, 1))).toEqual([1, 10]);
  });
});

describe("what the person does meanwhile", () => {
  it("takes what does not pass any more out, and goes on from its place", () => {
    const made = queue();
    made.show(3, [mask(3, 30), mask(3, 31, { state: "accepted" }), mask(3, 32)]);
    expect(made.left).toEqual({ masks: 5, images: 3 });
    expect(where(made.next(3, 30, 1))).toEqual([3, 32]);
    expect(where(made.next(3, 31, 1))).toEqual([3, 32]);
    expect(where(made.next(3, 31, -1))).toEqual([3, 30]);
  });

  it("brings back what an undo made pass again, at its old place", () => {
    const made = queue();
    made.show(1, [mask(1, 10, { state: "rejected" }), mask(1, 11)]);
    made.show(1, [mask(1, 10), mask(1, 11)]);
    expect(made.left.masks).toBe(6);
    expect(where(made.next(3, 32, 1))).toEqual([1, 10]);
  });

  it("counts a mask of a finding out once it was saved anew, and no new one in", () => {
    const made = queue();
    made.filter = { ...EVERYTHING, finding: "tiny" };
    made.show(1, [mask(1, 10), mask(1, 11, { version: 4 }), mask(1, 12)]);
    expect(made.left).toEqual({ masks: 6, images: 3 });
    made.show(1, [mask(1, 10, { version: 2 }), mask(1, 11, { version: 4 })]);
    expect(made.left).toEqual({ masks: 5, images: 3 });
    expect(where(made.next(1, 10, 1))).toEqual([1, 11]);
    made.show(1, [mask(1, 10, { version: 2 })]);
    expect(made.left).toEqual({ masks: 4, images: 2 });
    made.filter = EVERYTHING;
    made.show(1, [mask(1, 10, { version: 2 })]);
    expect(made.left).toEqual({ masks: 5, images: 3 });
  });

  it("counts a deleted mask out, and a new one in at the end of its image", () => {
    const made = queue();
    made.show(1, [mask(1, 11), mask(1, 12)]);
    expect(made.left).toEqual({ masks: 6, images: 3 });
    expect(where(made.next(1, 11, 1))).toEqual([1, 12]);
    made.show(7, [mask(7, 70), mask(7, 71, { state: "accepted" })]);
    expect(where(made.next(3, 32, 1))).toEqual([7, 70]);
    made.show(7, [mask(7, 70)]);
    expect(made.left).toEqual({ masks: 7, images: 4 });
  });

  it("leaves out an image where all is done when it looks ahead", () => {
    const made = queue();
    expect(made.imageAfter(1)).toBe(2);
    made.show(2, [mask(2, 20, { state: "accepted" })]);
    expect([made.imageAfter(1), made.imageAfter(3), made.imageAfter(9)]).toEqual([3, 1, 1]);
    const lone = new Queue();
    lone.read([{ id: 1, instances: [10] }]);
    expect(lone.imageAfter(1)).toBeNull();
  });
});
