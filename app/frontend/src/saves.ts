/**
 * The queue of saves: nothing a person did is dropped, whatever the network does.
 *
 * Each instance has a lane of its own, and a lane sends one save at a time with the version of
 * the last acknowledgement; saves that wait behind it are merged into the newest. A lane that
 * meets a broken network or a busy server waits and tries again; one whose save the server
 * refuses keeps it until the person tries again or changes the instance. What is not acknowledged
 * is handed over to be kept, so that it can be restored after a crash.
 */

import type { Annotation, Change } from "./types";

/** What a failed save means for the queue. */
export type Failure =
  | { readonly kind: "retry"; readonly after: number | null } // seconds the server asked for
  | { readonly kind: "conflict"; readonly current: Annotation | null; readonly kept: number | null }
  | { readonly kind: "refused" };

/** What the server's version is like if it counted a request of ours that was given up. */
export type Doubt = Pick<Annotation, "state"> & Partial<Pick<Annotation, "reason" | "version">>;

/** What a lane holds that is not acknowledged, and all that is needed to go on with it. */
export interface Unsent {
  readonly change: Change;
  readonly version: number; // it builds on this one
  readonly unanswered: readonly Change[];
  readonly doubt: Doubt | null;
}

export interface SavePorts {
  /** Send one change for the instance at a version; rejects with anything `classify` knows. */
  send(change: Change, version: number): Promise<Annotation>;
  classify(error: unknown): Failure;
  wait(seconds: number): Promise<void>;
  onSaved(annotation: Annotation, change: Change): void;
  onConflict(change: Change, current: Annotation | null, kept: number | null): void;
  onRefused(change: Change, error: unknown): void;
  onProgress(): void;
  /** The unsent work of an instance is another now; null when all is acknowledged. */
  keep(id: number, unsent: Unsent | null): void;
}

interface Lane {
  readonly id: number;
  version: number;
  sending: Change | null;
  next: Change | null;
  retries: number; // failures in a row
  isRefused: boolean;
  unanswered: readonly Change[]; // their answers got lost: the server may have counted one
  doubt: Doubt | null; // a proposal of ours was given up; the server may have counted it
  kept: Unsent | null; // as it was handed over last
  waiters: (() => void)[];
}

const FIRST_WAIT = 0.5; // seconds; doubles with each failure
const LONGEST_WAIT = 15;

export class SaveQueue {
  sent = 0;
  retried = 0;
  conflicts = 0;
  private readonly lanes = new Map<number, Lane>();
  private readonly drainers: (() => void)[] = [];

  constructor(private readonly ports: SavePorts) {}

  /** Learn the version of an instance from the server; older news is ignored. */
  learn(id: number, version: number): void {
    const lane = this.lane(id);
    lane.version = Math.max(lane.version, version);
  }

  /**
   * The person sees this version now, perhaps an old one: what they do next builds on it.
   *
   * What waits already builds on the version it was made from: what others saved since is met as
   * a conflict, never overwritten.
   */
  show(id: number, version: number): void {
    if (!this.waiting(id)) this.lane(id).version = version;
  }

  /** A proposal of ours took the place of what was: it settles the doubt, and a refused save. */
  replace(id: number, version: number): void {
    const lane = this.lane(id);
    this.learn(id, version);
    lane.doubt = null;
    if (!lane.isRefused) return;
    lane.isRefused = false;
    lane.next = null;
    this.progress(lane);
  }

  version(id: number): number {
    return this.lane(id).version;
  }

  /** Expect that the server may be one proposal ahead, because a request of ours was given up. */
  doubt(id: number, doubt: Doubt): void {
    this.lane(id).doubt = doubt;
  }

  /** Whether `current` is that given-up proposal; asking settles the doubt. */
  isOwnProposal(current: Annotation): boolean {
    const lane = this.lane(current.id);
    const { doubt } = lane;
    lane.doubt = null;
    if (!doubt) return false;
    return Object.entries(doubt).every(([key, value]) => current[key as keyof Doubt] === value);
  }

  push(change: Change): void {
    const lane = this.lane(change.id);
    lane.next = lane.next ? withEffortOf(change, lane.next) : change;
    this.start(lane);
  }

  /** Go on with what was unsent when its page ended; after what this page has to send itself. */
  async restore(unsent: Unsent): Promise<void> {
    const { id } = unsent.change;
    await this.settled(id);
    const lane = this.lane(id);
    const { version, unanswered, doubt } = unsent;
    Object.assign(lane, { version, unanswered, doubt, next: unsent.change });
    this.start(lane);
  }

  /** The newest change of an instance that is not acknowledged yet. */
  waiting(id: number): Change | null {
    const lane = this.lanes.get(id);
    return lane?.next ?? lane?.sending ?? null;
  }

  /** Resolve when everything of an instance is answered: acknowledged, or refused. */
  settled(id: number): Promise<void> {
    const lane = this.lane(id);
    if (lane.isRefused || (!lane.sending && !lane.next)) return Promise.resolve();
    return new Promise((resolve) => lane.waiters.push(resolve));
  }

  /** Resolve when nothing waits to be acknowledged; a refused save waits for the person. */
  drained(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.drainers.push(resolve));
  }

  /** The newest unacknowledged change of each instance that has one. */
  get unsent(): readonly Change[] {
    return [...this.lanes.keys()].flatMap((id) => this.waiting(id) ?? []);
  }

  /** Number of changes that are not acknowledged. */
  get pending(): number {
    return this.count((lane) => Number(lane.sending !== null) + Number(lane.next !== null));
  }

  /** Number of instances whose last attempt failed and is to be repeated. */
  get retrying(): number {
    return this.count((lane) => Number(lane.retries > 0));
  }

  /** Number of instances whose save the server refused. */
  get refused(): number {
    return this.count((lane) => Number(lane.isRefused));
  }

  /** Try the refused saves again, as a person asks. */
  retryRefused(): void {
    for (const lane of this.lanes.values()) if (lane.isRefused) this.start(lane);
  }

  private start(lane: Lane): void {
    lane.isRefused = false;
    if (!lane.sending) void this.run(lane);
    this.progress(lane);
  }

  private async run(lane: Lane): Promise<void> {
    while (lane.next && !lane.isRefused) {
      const change = lane.next;
      lane.sending = change;
      lane.next = null;
      this.progress(lane);
      try {
        const annotation = await this.ports.send(change, lane.version);
        this.acknowledged(lane, change, annotation);
      } catch (error) {
        await this.failed(lane, change, error);
      }
    }
    for (const resolve of lane.waiters.splice(0)) resolve();
    this.progress(lane);
  }

  private progress(lane: Lane): void {
    const unsent = unsentOf(lane);
    if (!isSame(unsent, lane.kept)) this.ports.keep(lane.id, unsent);
    lane.kept = unsent;
    if (this.pending === 0) for (const resolve of this.drainers.splice(0)) resolve();
    this.ports.onProgress();
  }

  private acknowledged(lane: Lane, change: Change, annotation: Annotation): void {
    lane.sending = null;
    lane.retries = 0;
    lane.unanswered = [];
    lane.doubt = null;
    lane.version = Math.max(lane.version, annotation.version);
    this.sent += 1;
    this.ports.onSaved(annotation, change);
  }

  private async failed(lane: Lane, change: Change, error: unknown): Promise<void> {
    const failure = this.ports.classify(error);
    if (failure.kind === "retry") await this.pause(lane, change, failure.after);
    else if (failure.kind === "conflict") this.lost(lane, change, failure.current, failure.kept);
    else this.keep(lane, change, error);
  }

  private async pause(lane: Lane, change: Change, asked: number | null): Promise<void> {
    const backoff = Math.min(FIRST_WAIT * 2 ** lane.retries, LONGEST_WAIT);
    lane.retries += 1;
    if (!lane.unanswered.includes(change)) lane.unanswered = [...lane.unanswered, change];
    this.retried += 1;
    this.progress(lane);
    await this.ports.wait(asked ?? backoff);
    lane.sending = null;
    lane.next = lane.next ? withEffortOf(lane.next, change) : change;
  }

  /** Somebody saved first. Newer work in the lane still goes out, so that it is kept as well. */
  private lost(lane: Lane, change: Change, current: Annotation | null, kept: number | null): void {
    if (current && isResultOf(change, current)) {
      this.acknowledged(lane, change, current);
      return;
    }
    lane.sending = null;
    lane.retries = 0;
    if (current && this.isOwn(lane, current)) {
      lane.version = current.version;
      lane.next ??= change;
      return;
    }
    this.conflicts += 1;
    if (lane.next) return;
    if (current) lane.version = current.version;
    this.ports.onConflict(change, current, kept);
  }

  /** Whether what came first was our own: a save whose answer got lost, or a given-up proposal. */
  private isOwn(lane: Lane, current: Annotation): boolean {
    const { unanswered } = lane;
    lane.unanswered = [];
    return unanswered.some((one) => isResultOf(one, current)) || this.isOwnProposal(current);
  }

  private keep(lane: Lane, change: Change, error: unknown): void {
    lane.sending = null;
    lane.retries = 0;
    lane.isRefused = true;
    lane.next ??= change;
    this.ports.onRefused(change, error);
  }

  private lane(id: number): Lane {
    let lane = this.lanes.get(id);
    if (!lane) {
      lane = {
        id,
        version: 0,
        sending: null,
        next: null,
        retries: 0,
        isRefused: false,
        unanswered: [],
        doubt: null,
        kept: null,
        waiters: [],
      };
      this.lanes.set(id, lane);
    }
    return lane;
  }

  private count(of: (lane: Lane) => number): number {
    let sum = 0;
    for (const lane of this.lanes.values()) sum += of(lane);
    return sum;
  }
}

/** A change that is newer than the one being sent may find that one counted. */
function unsentOf({ next, sending, version, unanswered, doubt }: Lane): Unsent | null {
  const change = next ?? sending;
  if (!change) return null;
  const isBehind = next && sending && !unanswered.includes(sending);
  return {
    change,
    version,
    doubt,
    unanswered: isBehind ? [...unanswered, sending] : unanswered,
  };
}

/** A change that takes the place of one that was not saved took both their times. */
function withEffortOf(change: Change, before: Change): Change {
  const seconds = (change.seconds ?? 0) + (before.seconds ?? 0);
  const strokes = (change.strokes ?? 0) + (before.strokes ?? 0);
  return seconds + strokes > 0 ? { ...change, seconds, strokes } : change;
}

function isSame(a: Unsent | null, b: Unsent | null): boolean {
  if (!a || !b) return a === b;
  const isLike = a.change === b.change && a.version === b.version && a.doubt === b.doubt;
  return isLike && a.unanswered.length === b.unanswered.length;
}

/** Whether the server already holds what a change asks for. */
function isResultOf({ after }: Change, current: Annotation): boolean {
  if (after === null) return current.state === "deleted";
  return (
    after.state === current.state &&
    after.category_id === current.category_id &&
    after.box.join() === current.box.join() &&
    after.rle?.counts === current.rle?.counts
  );
}
