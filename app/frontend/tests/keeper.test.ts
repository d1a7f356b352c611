import "fake-indexeddb/auto";

import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, it } from "vitest";

import type { Act } from "../src/creations";
import type { Conflict } from "../src/conflicts";
import type { Past, Step } from "../src/history";
import { Keeper, type Legacy } from "../src/keeper";
import type { Placeholder } from "../src/proposals";
import type { Unsent } from "../src/saves";
import type { Change } from "../src/types";
import { Vault } from "../src/vault";
import { annotation } from "./masks";

/** Locks as a browser hands them out: one holder a name, the rest wait in line. */
class Locks {
  private readonly lines = new Map<string, Promise<unknown>>();
  private readonly held = new Set<string>();

  request<T>(name: string, ...rest: unknown[]): Promise<T> {
    const act = rest.at(-1) as (lock: { name: string } | null) => Promise<T>;
    const options = rest.length > 1 ? (rest[0] as LockOptions) : {};
    if (options.ifAvailable && this.held.has(name)) return act(null);
    const before = this.held.has(name) ? this.lines.get(name) : Promise.resolve();
    this.held.add(name);
    const mine = (before ?? Promise.resolve()).then(() => act({ name }));
    const line: Promise<unknown> = mine
      .catch(() => undefined)
      .then(() => {
        if (this.lines.get(name) === line) this.held.delete(name);
      });
    this.lines.set(name, line);
    return mine;
  }
}

let locks: Locks;
let failures: unknown[];
let now: number;
let vault: Vault;

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve));
}

function page(tab: string, owner = "studio/ada"): Keeper {
  return new Keeper(vault, owner, tab, {
    locks: locks as unknown as LockManager,
    now: () => now++,
    onFailed: (error) => failures.push(error),
  });
}

async function inherited(keeper: Keeper): Promise<Legacy> {
  const all = { unsent: [] as Unsent[], boxes: [] as Placeholder[], acts: [] as Act[] };
  await keeper.inherit(({ unsent, boxes, acts }) => {
    all.unsent.push(...unsent);
    all.boxes.push(...boxes);
    all.acts.push(...acts);
  });
  return all;
}

function work(id: number, reason = "brush"): Unsent {
  const { state, category_id, box, rle } = annotation();
  const change: Change = { id, image_id: 1, after: { state, category_id, box, rle }, reason };
  return { change, version: 3, unanswered: [], doubt: null };
}

const BOX: Placeholder = {
  ...{ key: "k", image_id: 1, instance_id: null, category_id: 1 },
  box: [0, 0, 9, 9],
};

const ACT: Act = { key: "a", wishes: [], divided: annotation() };

function step(id: number, note = ""): Step {
  const { state, category_id, box, rle } = annotation();
  const padded = rle && { ...rle, counts: rle.counts + note };
  return [{ id, before: null, after: { state, category_id, box, rle: padded } }];
}

beforeEach(async () => {
  locks = new Locks();
  [failures, now] = [[], 1000];
  vault = await Vault.open(new IDBFactory());
});

it("what an older studio kept is here after the database grew", async () => {
  const factory = new IDBFactory();
  const request = factory.open("mal-studio", 1);
  request.onupgradeneeded = () => {
    const { result } = request;
    result.createObjectStore("saves", { keyPath: ["owner", "tab", "id"] });
    const record = { owner: "studio/ada", tab: "old", id: 1, unsent: work(1) };
    request.transaction?.objectStore("saves").put(record);
  };
  await new Promise((resolve) => (request.onsuccess = resolve));
  request.result.close();
  vault = await Vault.open(factory);
  expect((await inherited(page("new"))).unsent).toEqual([work(1)]);
});

describe("unsent work", () => {
  it("of a page that ended is taken over once, by whoever comes first", async () => {
    const old = page("old");
    old.keepSave(1, work(1));
    old.keepSave(2, work(2));
    old.keepSave(2, null); // acknowledged
    old.keepBox("k", BOX);
    old.keepAct("a", ACT);
    old.keepAct("b", ACT);
    old.keepAct("b", null);
    old.stop();
    await settle();
    const [first, second] = await Promise.all([inherited(page("a")), inherited(page("b"))]);
    expect([...first.unsent, ...second.unsent]).toEqual([work(1)]);
    expect([...first.boxes, ...second.boxes]).toEqual([BOX]);
    expect([...first.acts, ...second.acts]).toEqual([ACT]);
    expect(failures).toEqual([]);
  });

  it("of a page that lives is left to it, until it ends", async () => {
    const old = page("old");
    old.keepSave(1, work(1));
    await settle();
    const taken: Unsent[] = [];
    await page("new").inherit(({ unsent }) => taken.push(...unsent));
    expect(taken).toEqual([]);
    old.keepSave(1, work(1, "eraser"));
    old.stop();
    await settle();
    expect(taken).toEqual([work(1, "eraser")]);
  });

  it("that was taken over is kept under its new page, so that the next crash loses nothing", async () => {
    const old = page("old");
    old.keepSave(1, work(1));
    old.stop();
    await settle();
    const second = page("second");
    await inherited(second);
    second.stop();
    await settle();
    const third = page("third");
    expect((await inherited(third)).unsent).toEqual([work(1)]);
    third.keepSave(1, null);
    third.stop();
    await settle();
    expect((await inherited(page("fourth"))).unsent).toEqual([]);
  });

  it.each(["studio/ben", "other/ada", "studio/ad"])("is never given to %s", async (owner) => {
    const old = page("old");
    old.keepSave(1, work(1));
    old.stop();
    await settle();
    expect((await inherited(page("new", owner))).unsent).toEqual([]);
    expect((await inherited(page("newer"))).unsent).toEqual([work(1)]);
  });

  it("that the browser refuses to keep is told", async () => {
    const keeper = page("old");
    vault.commit = () => Promise.reject(new Error("disk full"));
    keeper.keepSave(1, work(1));
    await settle();
    expect(failures).toEqual([new Error("disk full")]);
  });

  it("is taken over also where the browser has no locks", async () => {
    const ports = { locks: undefined, now: () => 0, onFailed: () => undefined };
    new Keeper(vault, "studio/ada", "old", ports).keepSave(1, work(1));
    const left = await inherited(new Keeper(vault, "studio/ada", "new", ports));
    expect(left.unsent).toEqual([work(1)]);
  });
});

describe("a race nobody decided", () => {
  it("is there after a reload, until it is decided", async () => {
    const conflict: Conflict = { mine: work(1).change, theirs: annotation(), kept: 3 };
    page("old").keepConflict("1-3", conflict);
    expect(await page("new").conflicts()).toEqual([conflict]);
    page("new").keepConflict("1-3", null);
    expect(await page("newer").conflicts()).toEqual([]);
  });
});

describe("what can be undone", () => {
  async function after(past: Past, imageId = 1): Promise<Past | null> {
    page("old").keepPast(imageId, past);
    return page("new").past(imageId);
  }

  it("comes back as it was, image by image", async () => {
    const past = { done: [step(1), step(2)], undone: [step(4), step(3)] };
    expect(await after(past)).toEqual(past);
    expect(await page("newer").past(2)).toBeNull();
  });

  it("comes back after any course of acts, undos and redos", async () => {
    const keeper = page("old");
    const [a, b, c, d] = [step(1), step(2), step(3), step(4)];
    const course: Past[] = [
      { done: [a], undone: [] },
      { done: [a, b], undone: [] },
      { done: [a], undone: [b] },
      { done: [], undone: [b, a] },
      { done: [a], undone: [b] },
      { done: [a, c], undone: [] },
      { done: [a, c, d], undone: [] },
      { done: [a, c], undone: [d] },
    ];
    for (const [at, past] of course.entries()) {
      keeper.keepPast(1, past);
      expect(await page(`new ${at}`).past(1)).toEqual(past);
    }
  });

  it("goes on where the earlier page was", async () => {
    page("old").keepPast(1, { done: [step(1)], undone: [step(2)] });
    const second = page("second");
    const past = await second.past(1);
    second.keepPast(1, { done: [...(past?.done ?? []), step(3)], undone: [] });
    expect(await page("third").past(1)).toEqual({ done: [step(1), step(3)], undone: [] });
  });

  it("is not read over what this page knows itself", async () => {
    const keeper = page("old");
    keeper.keepPast(1, { done: [step(1)], undone: [] });
    expect(await keeper.past(1)).toBeNull();
  });

  it("is forgotten when others moved on", async () => {
    const keeper = page("old");
    keeper.keepPast(1, { done: [step(1)], undone: [] });
    keeper.dropPast(1);
    expect(await page("new").past(1)).toBeNull();
  });

  it("takes no more room than an image may: the oldest steps go first", async () => {
    const big = "x".repeat(2 ** 20);
    const done = [1, 2, 3, 4, 5].map((id) => step(id, big));
    const past = await after({ done, undone: [] });
    expect(past?.done.map(([{ id }]) => id)).toEqual([3, 4, 5]);
  });

  it("of the images used longest ago goes where all take too much room", async () => {
    const keeper = page("old");
    const big = "x".repeat(3 * 2 ** 20);
    for (let id = 1; id <= 24; id++) keeper.keepPast(id, { done: [step(1, big)], undone: [] });
    await settle();
    await keeper.prune();
    await settle();
    const left = await vault.list("pasts", "studio/ada");
    expect(left.map(({ image_id }) => image_id)).toEqual(
      Array.from({ length: 21 }, (_, i) => i + 4),
    );
  });
});
