import { beforeEach, describe, expect, it } from "vitest";

import { type Failure, SaveQueue, type Unsent } from "../src/saves";
import type { Annotation, Change, State } from "../src/types";
import { annotation } from "./masks";

interface Sent {
  readonly change: Change;
  readonly version: number;
  answer(part?: Partial<Annotation>): Promise<void>;
  fail(failure: Failure): Promise<void>;
}

let sent: Sent[];
let waits: number[];
let wake: () => Promise<void>;
let saved: string[];
let conflicts: (Annotation | null)[];
let refusals: number;
let kept: Map<number, Unsent>;
let queue: SaveQueue;

/** Let everything that can go on go on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

function change(state: State, id = 1): Change {
  const { category_id, box, rle } = annotation();
  return { id, image_id: 1, after: { state, category_id, box, rle }, reason: state };
}

beforeEach(() => {
  [sent, waits, saved, conflicts, refusals] = [[], [], [], [], 0];
  kept = new Map();
  queue = makeQueue();
  queue.learn(1, 4);
});

function makeQueue(): SaveQueue {
  return new SaveQueue({
    send: (one, version) =>
      new Promise((resolve, reject) => {
        sent.push({
          change: one,
          version,
          answer: (part = {}) => {
            resolve(annotation({ id: one.id, version: version + 1, ...one.after, ...part }));
            return settle();
          },
          fail: (failure) => {
            // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
            reject(failure);
            return settle();
          },
        });
      }),
    classify: (error) => error as Failure,
    wait: (seconds) => {
      waits.push(seconds);
      return new Promise((resolve) => {
        wake = () => {
          resolve();
          return settle();
        };
      });
    },
    onSaved: (_annotation, { reason }) => saved.push(reason),
    onConflict: (_change, current) => conflicts.push(current),
    onRefused: () => (refusals += 1),
    onProgress: () => undefined,
    keep: (id, unsent) => {
      if (unsent) kept.set(id, unsent);
      else kept.delete(id);
    },
  });
}

const RETRY: Failure = { kind: "retry", after: null };
const conflict = (current: Annotation): Failure => ({ kind: "conflict", current, kept: 77 });

describe("a lane of saves", () => {
  it("sends one at a time, each with the version of the last acknowledgement", async () => {
    queue.push(change("corrected"));
    queue.push(change("accepted"));
    expect(sent.map(({ version }) => version)).toEqual([4]);
    await sent[0].answer();
    expect(sent.map(({ version }) => version)).toEqual([4, 5]);
    await sent[1].answer();
    expect(saved).toEqual(["corrected", "accepted"]);
    expect([queue.pending, queue.version(1)]).toEqual([0, 6]);
  });

  it("merges what waits into the newest", async () => {
    for (const state of ["corrected", "rejected", "accepted"] as const) queue.push(change(state));
    expect(queue.pending).toBe(2);
    await sent[0].answer();
    expect(sent.map(({ change: { reason } }) => reason)).toEqual(["corrected", "accepted"]);
  });

  it("adds up what the merged ones took", async () => {
    const one = { seconds: 2, strokes: 1 };
    for (const state of ["corrected", "rejected", "accepted"] as const)
      queue.push({ ...change(state), ...one });
    await sent[0].fail(RETRY);
    await wake();
    expect(sent[1].change).toMatchObject({ reason: "accepted", seconds: 6, strokes: 3 });
  });

  it("does not hold up other instances", () => {
    queue.push(change("accepted", 1));
    queue.push(change("accepted", 2));
    expect(sent.map((one) => one.change.id)).toEqual([1, 2]);
  });

  it("ignores older news of a version", () => {
    queue.learn(1, 2);
    expect(queue.version(1)).toBe(4);
  });

  it("resolves `settled` and `drained` only after the last acknowledgement", async () => {
    let done = 0;
    queue.push(change("corrected"));
    void queue.settled(1).then(() => done++);
    void queue.drained().then(() => done++);
    queue.push(change("accepted"));
    await sent[0].answer();
    expect(done).toBe(0);
    await sent[1].answer();
    expect(done).toBe(2);
  });
});

describe("a broken network", () => {
  it("keeps the work and tries again, waiting longer each time", async () => {
    queue.push(change("accepted"));
    for (let i = 0; i < 7; i++) {
      await sent[i].fail(RETRY);
      expect([queue.pending, queue.retrying]).toEqual([1, 1]);
      await wake();
    }
    expect(waits).toEqual([0.5, 1, 2, 4, 8, 15, 15]);
    await sent[7].answer();
    expect([queue.pending, queue.retrying, queue.version(1)]).toEqual([0, 0, 5]);
  });

  it("waits as long as the server asks", async () => {
    queue.push(change("accepted"));
    await sent[0].fail({ kind: "retry", after: 9 });
    expect(waits).toEqual([9]);
  });

  it("sends the newest work instead of the old", async () => {
    queue.push(change("corrected"));
    await sent[0].fail(RETRY);
    queue.push(change("accepted"));
    await wake();
    expect(sent[1].change.reason).toBe("accepted");
  });

  it("takes a conflict with its own lost answer for the acknowledgement", async () => {
    queue.push(change("accepted"));
    await sent[0].fail(RETRY);
    await wake();
    await sent[1].fail(conflict(annotation({ version: 5, state: "accepted" })));
    expect([saved, conflicts, queue.version(1)]).toEqual([["accepted"], [], 5]);
  });

  it("goes on from its own lost answer with newer work", async () => {
    queue.push(change("corrected"));
    await sent[0].fail(RETRY);
    queue.push(change("accepted"));
    await wake();
    await sent[1].fail(conflict(annotation({ version: 5, state: "corrected" })));
    expect([sent[2].version, sent[2].change.reason]).toEqual([5, "accepted"]);
  });
});

describe("a conflict", () => {
  it("hands over the server's version and sends nothing more", async () => {
    queue.push(change("accepted"));
    await sent[0].fail(conflict(annotation({ version: 8, state: "rejected" })));
    expect(conflicts.map((one) => one?.version)).toEqual([8]);
    expect([sent.length, queue.pending, queue.version(1), queue.conflicts]).toEqual([1, 0, 8, 1]);
  });

  it("still sends newer work that waits, so that the server keeps it too", async () => {
    queue.push(change("corrected"));
    queue.push(change("accepted"));
    const current = annotation({ version: 8, state: "rejected" });
    await sent[0].fail(conflict(current));
    expect([sent[1].version, conflicts]).toEqual([4, []]);
    await sent[1].fail(conflict(current));
    expect(conflicts).toEqual([current]);
  });

  it("with a proposal we gave up is none", async () => {
    queue.doubt(1, { state: "proposed" });
    queue.push(change("accepted"));
    await sent[0].fail(conflict(annotation({ version: 5, state: "proposed" })));
    expect([conflicts, sent[1].version]).toEqual([[], 5]);
  });
});

describe("an old version on screen", () => {
  it("is what the next save builds on, so that it cannot undo what was saved", async () => {
    queue.learn(1, 5);
    queue.show(1, 4);
    queue.push(change("accepted"));
    expect(sent[0].version).toBe(4);
    await sent[0].answer();
  });

  it.each([3, 9])("does not move the save that waits already: now at %i", (version) => {
    queue.push(change("accepted"));
    queue.show(1, version);
    expect(queue.version(1)).toBe(4);
  });
});

describe("unsent work", () => {
  /** A crash: nothing of the old queue is left but what it handed over to be kept. */
  function crash(): void {
    const left = [...structuredClone(kept).values()];
    [sent, conflicts, saved] = [[], [], []];
    queue = makeQueue();
    for (const unsent of left) void queue.restore(unsent);
  }

  it("is kept from the push to the acknowledgement, and not longer", async () => {
    queue.push(change("accepted"));
    expect(kept.get(1)).toMatchObject({ version: 4, change: { reason: "accepted" } });
    await sent[0].answer();
    expect(kept.size).toBe(0);
  });

  it("goes out after a crash with the version it was made from", async () => {
    queue.push(change("corrected"));
    queue.push(change("accepted"));
    crash();
    await settle();
    expect([sent[0].version, sent[0].change.reason]).toEqual([4, "accepted"]);
    await sent[0].answer();
    expect([saved, kept.size]).toEqual([["accepted"], 0]);
  });

  it("never overwrites what somebody saved before the page came back", async () => {
    queue.push(change("accepted"));
    crash();
    await settle();
    queue.show(1, 9); // the list of the server is newer
    const theirs = annotation({ version: 9, state: "rejected" });
    await sent[0].fail(conflict(theirs));
    expect([sent[0].version, conflicts, queue.version(1)]).toEqual([4, [theirs], 9]);
  });

  it("that the server had counted before the crash is no conflict", async () => {
    queue.push(change("corrected"));
    crash();
    await settle();
    await sent[0].fail(conflict(annotation({ version: 5, state: "corrected" })));
    expect([saved, conflicts, kept.size]).toEqual([["corrected"], [], 0]);
  });

  it("goes on from any of its own saves whose answer the crash swallowed", async () => {
    queue.push(change("corrected"));
    await sent[0].fail(RETRY);
    queue.push(change("rejected"));
    await wake();
    queue.push(change("accepted"));
    crash();
    await settle();
    await sent[0].fail(conflict(annotation({ version: 5, state: "corrected" })));
    expect([sent[1].version, sent[1].change.reason, conflicts]).toEqual([5, "accepted", []]);
  });

  it("keeps the doubt about a proposal that was given up", async () => {
    queue.doubt(1, { state: "proposed" });
    queue.push(change("accepted"));
    crash();
    await settle();
    await sent[0].fail(conflict(annotation({ version: 5, state: "proposed" })));
    expect([conflicts, sent[1].version]).toEqual([[], 5]);
  });

  it("that the server refused waits for a word also after a crash", async () => {
    queue.push(change("accepted"));
    await sent[0].fail({ kind: "refused" });
    expect(kept.size).toBe(1);
    crash();
    await settle();
    await sent[0].fail({ kind: "refused" });
    expect([queue.refused, kept.size]).toEqual([1, 1]);
  });

  it("of another page waits until what this page sends is through", async () => {
    queue.push(change("corrected"));
    const other = { change: change("rejected"), version: 3, unanswered: [], doubt: null };
    void queue.restore(other);
    await settle();
    expect(sent.length).toBe(1);
    await sent[0].answer();
    expect([sent[1].version, sent[1].change.reason]).toEqual([3, "rejected"]);
  });

  it("that only moved a box is not taken for done because the mask is the same", async () => {
    const moved = change("proposed");
    const after = { ...annotation(), ...moved.after, box: [1, 1, 50, 50] as const };
    queue.push({ ...moved, after });
    await sent[0].fail(conflict(annotation({ version: 5 })));
    expect([conflicts.length, saved]).toEqual([1, []]);
  });
});

describe("a refused save", () => {
  beforeEach(async () => {
    queue.push(change("accepted"));
    await sent[0].fail({ kind: "refused" });
  });

  it("is kept and told", () => {
    expect([queue.pending, queue.refused, refusals, sent.length]).toEqual([1, 1, 1, 1]);
  });

  it("settles, since waiting for it would never end, but is not drained", async () => {
    let [settled, drained] = [0, 0];
    void queue.settled(1).then(() => settled++);
    void queue.drained().then(() => drained++);
    await settle();
    expect([settled, drained]).toEqual([1, 0]);
    queue.retryRefused();
    void queue.settled(1).then(() => settled++);
    await sent[1].fail({ kind: "refused" });
    expect([settled, drained]).toEqual([2, 0]);
  });

  it("goes away with the proposal that takes its place", async () => {
    let drained = 0;
    void queue.drained().then(() => drained++);
    queue.replace(1, 5);
    await settle();
    expect([queue.pending, queue.refused, queue.version(1), drained]).toEqual([0, 0, 5, 1]);
  });

  it("goes out again when the person asks", async () => {
    queue.retryRefused();
    await sent[1].answer();
    expect([queue.pending, queue.refused]).toEqual([0, 0]);
  });

  it("gives way to a newer change", async () => {
    queue.push(change("rejected"));
    expect(sent[1].change.reason).toBe("rejected");
    await sent[1].answer();
    expect(queue.pending).toBe(0);
  });
});
