/**
 * Keeps a page's unsent work in the browser's database, and takes over that of pages that ended.
 *
 * Each page holds a lock of its own name as long as it lives. Whoever gets the lock of another
 * page knows that it ended, and inherits what it left; a crash frees the lock as a reload does.
 */

import type { Conflict } from "./conflicts";
import type { Act } from "./creations";
import type { Past, Step } from "./history";
import type { Placeholder } from "./proposals";
import type { Unsent } from "./saves";
import type { Deed, Vault } from "./vault";

/** What an ended page left to be sent. */
export interface Legacy {
  readonly unsent: readonly Unsent[];
  readonly boxes: readonly Placeholder[];
  readonly acts: readonly Act[];
}

export interface KeeperPorts {
  readonly locks: LockManager | undefined; // absent: every other page counts as ended
  now(): number; // milliseconds since 1970
  /** Something could not be kept: the disk is full, or the browser refuses. */
  onFailed(error: unknown): void;
}

const PAST_BYTES = 4 * 2 ** 20; // of an image
const ALL_BYTES = 64 * 2 ** 20; // of all images

/** The steps of an image as they lie in the database. */
interface Shelf {
  readonly seqs: Map<Step, number>;
  next: number;
}

export class Keeper {
  private readonly shelves = new Map<number, Shelf>();
  private readonly ending = new AbortController();

  constructor(
    private readonly vault: Vault,
    private readonly owner: string,
    private readonly tab: string,
    private readonly ports: KeeperPorts,
  ) {
    const held = new Promise<void>((release) => {
      this.ending.signal.addEventListener("abort", () => {
        release();
      });
    });
    void ports.locks?.request(lockOf(tab), () => held);
  }

  /** Let other pages have what this one leaves. */
  stop(): void {
    this.ending.abort();
  }

  // -- unsent work ------------------------------------------------------------------------------

  keepSave(id: number, unsent: Unsent | null): void {
    const { owner, tab } = this;
    if (unsent) this.commit([{ put: "saves", record: { owner, tab, id, unsent } }]);
    else this.commit([{ drop: "saves", key: [owner, tab, id] }]);
  }

  keepBox(key: string, box: Placeholder | null): void {
    const { owner, tab } = this;
    if (box) this.commit([{ put: "boxes", record: { owner, tab, key, box } }]);
    else this.commit([{ drop: "boxes", key: [owner, tab, key] }]);
  }

  keepAct(key: string, act: Act | null): void {
    const { owner, tab } = this;
    if (act) this.commit([{ put: "acts", record: { owner, tab, key, act } }]);
    else this.commit([{ drop: "acts", key: [owner, tab, key] }]);
  }

  keepConflict(key: string, conflict: Conflict | null): void {
    const { owner } = this;
    if (conflict) this.commit([{ put: "conflicts", record: { owner, key, conflict } }]);
    else this.commit([{ drop: "conflicts", key: [owner, key] }]);
  }

  /** The conflicts that nobody has decided. */
  async conflicts(): Promise<readonly Conflict[]> {
    return (await this.vault.list("conflicts", this.owner)).map(({ conflict }) => conflict);
  }

  /**
   * Take over what ended pages left; `take` is called for each of them.
   *
   * Resolves when those that ended already have been taken over; pages that still live are taken
   * over when they end.
   */
  async inherit(take: (legacy: Legacy) => void): Promise<void> {
    const kept = await Promise.all([
      this.vault.list("saves", this.owner),
      this.vault.list("boxes", this.owner),
      this.vault.list("acts", this.owner),
    ]);
    const tabs = new Set(kept.flat().map(({ tab }) => tab));
    tabs.delete(this.tab);
    await Promise.all([...tabs].map((tab) => this.inheritFrom(tab, take)));
  }

  private async inheritFrom(tab: string, take: (legacy: Legacy) => void): Promise<void> {
    const { locks } = this.ports;
    const move = (): Promise<void> => this.move(tab, take);
    if (!locks) return move();
    const hasEnded = await locks.request(lockOf(tab), { ifAvailable: true }, async (lock) => {
      if (lock) await move();
      return lock !== null;
    });
    if (hasEnded) return;
    const { signal } = this.ending;
    locks.request(lockOf(tab), { signal }, move).catch((error: unknown) => {
      if (!signal.aborted) this.ports.onFailed(error);
    });
  }

  /** Make the records of another page ours, all of them at once. */
  private async move(tab: string, take: (legacy: Legacy) => void): Promise<void> {
    const { owner } = this;
    const [saves, boxes, acts] = await Promise.all([
      this.vault.list("saves", owner, tab),
      this.vault.list("boxes", owner, tab),
      this.vault.list("acts", owner, tab),
    ]);
    const mine = { tab: this.tab };
    await this.vault.commit([
      ...saves.map((record): Deed => ({ put: "saves", record: { ...record, ...mine } })),
      ...boxes.map((record): Deed => ({ put: "boxes", record: { ...record, ...mine } })),
      ...acts.map((record): Deed => ({ put: "acts", record: { ...record, ...mine } })),
      { drop: "saves", key: [owner, tab] },
      { drop: "boxes", key: [owner, tab] },
      { drop: "acts", key: [owner, tab] },
    ]);
    take({
      unsent: saves.map(({ unsent }) => unsent),
      boxes: boxes.map(({ box }) => box),
      acts: acts.map(({ act }) => act),
    });
  }

  // -- what can be undone -----------------------------------------------------------------------

  /** Keep what can be undone and redone on an image: only what changed since last time. */
  keepPast(imageId: number, { done, undone }: Past): void {
    const shelf = this.shelf(imageId);
    const [steps, bytes] = newest([...done, ...[...undone].reverse()]);
    const { owner } = this;
    const key = (seq: number): (string | number)[] => [owner, imageId, seq];
    const deeds: Deed[] = [];
    for (const [step, seq] of shelf.seqs) {
      if (steps.has(step)) continue;
      shelf.seqs.delete(step);
      deeds.push({ drop: "steps", key: key(seq) });
    }
    for (const step of steps) {
      if (shelf.seqs.has(step)) continue;
      const seq = shelf.next++;
      shelf.seqs.set(step, seq);
      deeds.push({ put: "steps", record: { owner, image_id: imageId, seq, step } });
    }
    const last = done.at(-1);
    const at = (last && shelf.seqs.get(last)) ?? 0;
    const used = this.ports.now();
    this.commit([
      ...deeds,
      { put: "pasts", record: { owner, image_id: imageId, at, bytes, used } },
    ]);
  }

  /** What could be undone on an image when an earlier page left it; null when nothing is known. */
  async past(imageId: number): Promise<Past | null> {
    if (this.shelves.has(imageId)) return null; // this page knows better
    const [heads, records] = await Promise.all([
      this.vault.list("pasts", this.owner, imageId),
      this.vault.list("steps", this.owner, imageId),
    ]);
    if (heads.length === 0 || records.length === 0) return null;
    const shelf = this.shelf(imageId);
    for (const { seq, step } of records) {
      shelf.seqs.set(step, seq);
      shelf.next = seq + 1;
    }
    const steps = (isDone: boolean): Step[] =>
      records.filter(({ seq }) => seq <= heads[0].at === isDone).map(({ step }) => step);
    return { done: steps(true), undone: steps(false).reverse() };
  }

  /** Forget what can be undone on an image. */
  dropPast(imageId: number): void {
    this.shelves.delete(imageId);
    this.commit(this.drops(imageId));
  }

  /** Forget the images used longest ago where all of them take too much room. */
  async prune(): Promise<void> {
    const heads = await this.vault.list("pasts", this.owner);
    let bytes = 0;
    for (const head of heads.sort((a, b) => b.used - a.used)) {
      bytes += head.bytes;
      if (bytes > ALL_BYTES) this.dropPast(head.image_id);
    }
  }

  private drops(imageId: number): Deed[] {
    const key = [this.owner, imageId];
    return [
      { drop: "steps", key },
      { drop: "pasts", key },
    ];
  }

  private shelf(imageId: number): Shelf {
    const shelf = this.shelves.get(imageId) ?? { seqs: new Map<Step, number>(), next: 1 };
    this.shelves.set(imageId, shelf);
    return shelf;
  }

  private commit(deeds: readonly Deed[]): void {
    this.vault.commit(deeds).catch((error: unknown) => {
      this.ports.onFailed(error);
    });
  }
}

const sizes = new WeakMap<Step, number>();

function sizeOf(step: Step): number {
  const size = sizes.get(step) ?? JSON.stringify(step).length;
  sizes.set(step, size);
  return size;
}

/** The newest steps that fit into an image's room, and how much of it they take. */
function newest(steps: readonly Step[]): [ReadonlySet<Step>, number] {
  let [from, bytes] = [steps.length, 0];
  while (from > 0 && bytes + sizeOf(steps[from - 1]) <= PAST_BYTES) bytes += sizeOf(steps[--from]);
  return [new Set(steps.slice(from)), bytes];
}

function lockOf(tab: string): string {
  return `mal-page-${tab}`;
}
