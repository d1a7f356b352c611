import { beforeEach, expect, it } from "vitest";

import { type Placeholder, type ProposalPorts, Proposals } from "../src/proposals";
import { SaveQueue } from "../src/saves";
import { ApiError, NetworkError, type Proposal } from "../src/transport";
import type { Annotation, ProposeRequest } from "../src/types";
import { annotation } from "./masks";

interface Asked {
  readonly request: ProposeRequest;
  readonly signal: AbortSignal;
  answer(part?: Partial<Annotation>): Promise<void>;
  fail(error: Error): Promise<void>;
}

let asked: Asked[];
let waits: number[];
let answers: Annotation[];
let failures: unknown[];
let conflicts: Annotation[];
let saves: SaveQueue;
let kept: Map<string, Placeholder>;
let ports: ProposalPorts;
let proposals: Proposals;

async function settle(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}

/** Ask, as fetch would: an abort rejects at once. */
function send(request: ProposeRequest, signal: AbortSignal): Promise<Proposal> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => {
      reject(new DOMException("aborted", "AbortError"));
    });
    asked.push({
      request,
      signal,
      answer: (part) => {
        resolve({ annotation: annotation(part), timing: "model;dur=3" });
        return settle();
      },
      fail: (error) => {
        reject(error);
        return settle();
      },
    });
  });
}

function placeholder(key: string, instance_id: number | null = null): Placeholder {
  return { key, image_id: 1, instance_id, category_id: 1, box: [0, 0, 9, 9] };
}

function error(status: number, current: Annotation | null = null): ApiError {
  return new ApiError(status, "code", "text", current, null, null);
}

beforeEach(() => {
  [asked, answers, failures, conflicts, waits] = [[], [], [], [], []];
  kept = new Map();
  saves = new SaveQueue({
    send: () => Promise.resolve(annotation()),
    classify: () => ({ kind: "refused" }),
    wait: () => Promise.resolve(),
    onSaved: () => undefined,
    onConflict: () => undefined,
    onRefused: () => undefined,
    onProgress: () => undefined,
    keep: () => undefined,
  });
  saves.learn(1, 4);
  ports = {
    send,
    wait: (seconds: number) => {
      waits.push(seconds);
      return Promise.resolve();
    },
    now: () => 0,
    onAnswer: (one: Annotation) => answers.push(one),
    onConflict: (one: Annotation) => conflicts.push(one),
    onFailed: (one: unknown) => failures.push(one),
    onProgress: () => undefined,
    keep: (key, box) => {
      if (box) kept.set(key, box);
      else kept.delete(key);
    },
  };
  proposals = new Proposals(ports, saves);
});

it("several new boxes are asked for at once, and each has a placeholder until its answer", async () => {
  void proposals.propose(placeholder("a"));
  void proposals.propose(placeholder("b"));
  await settle();
  expect(proposals.placeholders(1).map(({ key }) => key)).toEqual(["a", "b"]);
  await asked[1].answer({ id: 12 });
  expect(proposals.placeholders(1).map(({ key }) => key)).toEqual(["a"]);
  expect(answers.map(({ id }) => id)).toEqual([12]);
});

it("a newer box for the same instance aborts the older, whose answer is ignored", async () => {
  void proposals.propose(placeholder("a", 1));
  await settle();
  void proposals.propose(placeholder("b", 1));
  await settle();
  expect(asked.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  await asked[0].answer({ id: 1, version: 5 });
  expect([answers, failures]).toEqual([[], []]);
  await asked[1].answer({ id: 1, version: 5 });
  expect([answers.length, saves.version(1)]).toEqual([1, 5]);
});

it("a box goes out again when our own aborted request was what came first", async () => {
  void proposals.propose(placeholder("a", 1));
  await settle();
  void proposals.propose(placeholder("b", 1));
  await settle();
  await asked[1].fail(error(409, annotation({ version: 5 })));
  expect(asked[2].request).toMatchObject({ request_id: "b", version: 5 });
  expect(conflicts).toEqual([]);
});

it("somebody else's save is a conflict, and their version is handed over", async () => {
  void proposals.propose(placeholder("a", 1));
  await settle();
  await asked[0].fail(error(409, annotation({ version: 9 })));
  expect([conflicts.length, proposals.count, saves.version(1)]).toEqual([1, 0, 9]);
});

it("a busy server is asked again, a few times", async () => {
  void proposals.propose(placeholder("a"));
  for (let i = 0; i < 4; i++) {
    await settle();
    await asked[i].fail(error(429));
  }
  expect([asked.length, failures.length]).toEqual([4, 1]);
});

it("a failure takes the placeholder away and is told", async () => {
  void proposals.propose(placeholder("a"));
  await settle();
  await asked[0].fail(error(422));
  expect([proposals.count, failures.length]).toEqual([0, 1]);
});

it("a request given up is neither answered nor failed", async () => {
  void proposals.propose(placeholder("a", 1));
  await settle();
  proposals.giveUp(1);
  await settle();
  expect([asked[0].signal.aborted, failures.length, proposals.count]).toEqual([true, 0, 0]);
});

it("a lost answer is asked for again as the same request, so that no second mask is made", async () => {
  void proposals.propose(placeholder("a"));
  await settle();
  await asked[0].fail(new NetworkError());
  expect(asked[1].request).toEqual(asked[0].request);
  await asked[1].answer({ id: 12 });
  expect([answers.map(({ id }) => id), failures]).toEqual([[12], []]);
});

it("a box outlasts a network that stays away, each try after a longer wait", async () => {
  void proposals.propose(placeholder("a"));
  for (let i = 0; i < 7; i++) {
    await settle();
    await asked[i].fail(new NetworkError());
  }
  expect([waits, failures.length]).toEqual([[0.5, 1, 2, 4, 8, 15, 15], 0]);
  expect([proposals.lost.map(({ key }) => key), kept.has("a")]).toEqual([["a"], true]);
  await asked[7].answer({ id: 12 });
  expect([answers.length, proposals.lost, kept.size]).toEqual([1, [], 0]);
});

it("a box that waits can be given up, the newest first", async () => {
  void proposals.propose(placeholder("a"));
  void proposals.propose(placeholder("b"));
  await settle();
  expect(proposals.giveUpNewest(1)).toBe(true);
  await settle();
  expect([proposals.placeholders(1).map(({ key }) => key), kept.has("b")]).toEqual([["a"], false]);
  expect([proposals.giveUpNewest(2), failures]).toEqual([false, []]);
});

it("a box is asked for again after a crash, as the same request at the same version", async () => {
  void proposals.propose(placeholder("a", 1));
  await settle();
  const left = structuredClone([...kept.values()]);
  proposals = new Proposals(ports, saves);
  saves.learn(1, 9); // somebody saved meanwhile, and their version is shown
  for (const box of left) void proposals.propose(box);
  await settle();
  expect(asked[1].request).toEqual(asked[0].request);
  await asked[1].fail(error(409, annotation({ version: 9 })));
  expect([conflicts.length, kept.size]).toEqual([1, 0]);
});

it("what waits when the page goes stays for the next page", async () => {
  void proposals.propose(placeholder("a"));
  await settle();
  proposals.stop();
  await settle();
  expect([asked[0].signal.aborted, kept.has("a")]).toEqual([true, true]);
});

it("an answer settles the doubt that an older request had left", async () => {
  void proposals.propose(placeholder("a", 1));
  await settle();
  void proposals.propose(placeholder("b", 1));
  await settle();
  await asked[1].answer({ version: 5 });
  expect(saves.isOwnProposal(annotation({ version: 6 }))).toBe(false);
});

it("a request given up before it went out leaves no doubt", async () => {
  void proposals.propose(placeholder("a", 1));
  proposals.giveUp(1);
  await settle();
  expect([asked.length, saves.isOwnProposal(annotation({ version: 5 }))]).toEqual([0, false]);
});

it("a box is asked for although an older save of its instance was refused", async () => {
  const refused = new SaveQueue({
    send: () => Promise.reject(error(422)),
    classify: () => ({ kind: "refused" }),
    wait: () => Promise.resolve(),
    onSaved: () => undefined,
    onConflict: () => undefined,
    onRefused: () => undefined,
    onProgress: () => undefined,
    keep: () => undefined,
  });
  proposals = new Proposals(ports, refused);
  const { state, category_id, box, rle } = annotation();
  refused.push({ id: 1, image_id: 1, after: { state, category_id, box, rle }, reason: "accept" });
  void proposals.propose(placeholder("a", 1));
  await settle();
  await asked[0].answer({ version: 5 });
  expect([answers.length, refused.pending]).toEqual([1, 0]);
});

it("strokes that steer are not kept over a crash: a plain proposal would drop them", async () => {
  const strokes = [{ adds: true, radius: 2, points: [[3, 3]] as const }];
  void proposals.propose({ ...placeholder("a", 1), strokes });
  await settle();
  expect([kept.size, asked[0].request.strokes]).toEqual([0, strokes]);
  await asked[0].fail(new NetworkError("no answer"));
  expect([kept.size, asked[1].request.strokes]).toEqual([0, strokes]);
});

it("asks once for a mask that nobody waits for, and keeps nothing of it", async () => {
  const done = proposals.foresee(annotation({ id: 7, version: 3, rle: null }));
  expect([asked[0].request.ahead, asked[0].request.version]).toEqual([true, 3]);
  expect([proposals.isAsked, proposals.isRunning(7), kept.size]).toEqual([false, true, 0]);
  await asked[0].answer({ id: 7, version: 4 });
  expect(await done).toBe(true);
  expect([answers.map(({ id }) => id), saves.version(7)]).toEqual([[7], 4]);
});

it.each<[Error, boolean]>([
  [error(409, annotation({ id: 7, version: 9 })), true],
  [error(422), true],
  [error(429), false],
  [new NetworkError("down"), false],
])("says nothing of a mask ahead that fails by %s; to go on is %j", async (failure, expected) => {
  const done = proposals.foresee(annotation({ id: 7, rle: null }));
  await asked[0].fail(failure);
  expect(await done).toBe(expected);
  expect([asked.length, failures, conflicts, waits, answers]).toEqual([1, [], [], [], []]);
  expect(proposals.lost).toEqual([]);
});

it("leaves a box alone ahead that the person is at", async () => {
  const own = proposals.propose(placeholder("own", 7));
  expect(await proposals.foresee(annotation({ id: 7, rle: null }))).toBe(true);
  expect(asked.length).toBe(1);
  await asked[0].answer({ id: 7 });
  await own;
});

it("gives a mask ahead up for what the person asks of its box", async () => {
  const done = proposals.foresee(annotation({ id: 7, rle: null }));
  void proposals.propose(placeholder("own", 7));
  expect(await done).toBe(true);
  await settle();
  expect([asked[0].signal.aborted, asked[1].request.ahead]).toEqual([true, undefined]);
});
