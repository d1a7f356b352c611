/**
 * The masks to look at, in the server's order, and where a person is among them.
 *
 * Pure. The server orders once; what the person does since is followed here: a mask that does not
 * pass the filter any more is out, but keeps its place, since one goes on from there. So is a mask
 * of a finding that was saved anew: what was found may be mended.
 */

import type { Annotation, State } from "./types";

/** Which masks to look at; null lets all through, and so do no states. */
export interface Filter {
  readonly states: readonly Exclude<State, "deleted">[];
  readonly category_id: number | null;
  readonly low: number | null; // least score, 0 to 1; a mask without one has none to compare
  readonly high: number | null;
  readonly person: string | null; // who saved it last
  readonly model_id: number | null;
  readonly flagged: boolean | null;
  readonly mine: boolean | null; // only images of the person's that they are not done with
  readonly finding: string | null; // of the Health page; which masks those are, the server knows
}

export const EVERYTHING: Filter = {
  ...{ states: [], category_id: null, low: null, high: null },
  ...{ person: null, model_id: null, flagged: null, finding: null, mine: null },
};
export const TO_REVIEW: Filter = { ...EVERYTHING, states: ["proposed"] };

type Item = Pick<
  Annotation,
  | "id"
  | "image_id"
  | "version"
  | "state"
  | "category_id"
  | "score"
  | "person"
  | "model_id"
  | "flagged"
>;

/** Whether a mask passes all but the finding and whose image it is, by the server's rule (`app/review.py`). */
export function passes(wanted: Filter, item: Item): boolean {
  const { states } = wanted;
  const { state } = item;
  const fits = (want: unknown, got: unknown): boolean => want === null || want === got;
  return (
    state !== "deleted" &&
    (states.length === 0 || states.includes(state)) &&
    isBetween(item.score, wanted) &&
    fits(wanted.category_id, item.category_id) &&
    fits(wanted.person, item.person) &&
    fits(wanted.model_id, item.model_id) &&
    fits(wanted.flagged, item.flagged)
  );
}

function isBetween(score: number | null, { low, high }: Filter): boolean {
  if (score === null) return low === null && high === null;
  return score >= (low ?? 0) && score <= (high ?? 1);
}

/** The filter as the address spells it. */
export function queryOf(wanted: Filter): string {
  const { states, ...rest } = wanted;
  const query = new URLSearchParams(states.map((state) => ["state", state]));
  for (const [name, value] of Object.entries(rest)) {
    if (value !== null) query.set(name, String(value));
  }
  return query.toString();
}

export function isSame(a: Filter, b: Filter): boolean {
  return queryOf(a) === queryOf(b);
}

/** An image of the queue and its masks, as the server orders them. */
export interface Stop {
  readonly id: number;
  readonly instances: readonly number[];
}

/** A mask of the queue; `isRound` when one came to it past the end of the queue. */
export interface Place {
  readonly imageId: number;
  readonly id: number;
  readonly isRound: boolean;
}

interface Entry {
  readonly imageId: number;
  readonly id: number;
  version: number | null; // that was seen first; null before
  isOut: boolean;
}

export class Queue {
  filter: Filter = TO_REVIEW;
  taken: ReadonlySet<number> = new Set(); // images others work on; one does not go there
  mine: ReadonlySet<number> = new Set(); // images of the person's that they are not done with
  private entries: Entry[] = [];

  /** Take the server's order over. */
  read(stops: readonly Stop[]): void {
    this.entries = stops.flatMap(({ id: imageId, instances }) =>
      instances.map((id) => ({ imageId, id, version: null, isOut: false })),
    );
  }

  /** Follow what an image's masks are now: all of them are given, deleted ones left out. */
  show(imageId: number, items: readonly Item[]): void {
    const isOfFinding = this.filter.finding !== null;
    const isHere = this.filter.mine !== true || this.mine.has(imageId);
    const passing = new Map(
      items
        .filter((one) => isHere && passes(this.filter, one))
        .map(({ id, version }) => [id, version]),
    );
    for (const entry of this.entries) {
      if (entry.imageId !== imageId) continue;
      const version = passing.get(entry.id);
      entry.version ??= version ?? null;
      entry.isOut = version === undefined || (isOfFinding && version !== entry.version);
      passing.delete(entry.id);
    }
    if (isOfFinding) return; // a new mask is of no finding yet
    const last = this.lastOf(imageId);
    const fresh = [...passing].map(([id, version]) => ({ imageId, id, version, isOut: false }));
    this.entries.splice(last < 0 ? this.entries.length : last + 1, 0, ...fresh);
  }

  /** How much is left to look at. */
  get left(): { readonly masks: number; readonly images: number } {
    const rest = this.entries.filter(({ isOut }) => !isOut);
    return { masks: rest.length, images: new Set(rest.map(({ imageId }) => imageId)).size };
  }

  /**
   * The next (or previous) mask after one of an image, round and round; null when there is no other.
   *
   * A mask that is not of the queue stands before the first one of its image, an image that is not
   * of it before the first of all.
   */
  next(imageId: number, id: number | null, by: 1 | -1): Place | null {
    const { entries } = this;
    const count = entries.length;
    const at = this.indexOf(imageId, id);
    const start = at >= 0 ? at : this.before(imageId) + (by < 0 ? 1 : 0);
    for (let step = 1; step <= count; step++) {
      const to = start + by * step;
      const entry = entries[(to + 2 * count) % count];
      const isRound = to < 0 || to >= count;
      const isIt = !entry.isOut && entry.id !== id && !this.taken.has(entry.imageId);
      if (isIt) return { imageId: entry.imageId, id: entry.id, isRound };
    }
    return null;
  }

  /** The image whose masks come after those of this one; null when there is no other. */
  imageAfter(imageId: number): number | null {
    const last = this.lastOf(imageId);
    const round = [...this.entries.slice(last + 1), ...this.entries.slice(0, last + 1)];
    const isIt = (entry: Entry): boolean =>
      !entry.isOut && entry.imageId !== imageId && !this.taken.has(entry.imageId);
    return round.find(isIt)?.imageId ?? null;
  }

  private indexOf(imageId: number, id: number | null): number {
    return this.entries.findIndex((entry) => entry.imageId === imageId && entry.id === id);
  }

  private lastOf(imageId: number): number {
    return this.entries.map((entry) => entry.imageId).lastIndexOf(imageId);
  }

  private before(imageId: number): number {
    return (
      Math.max(
        this.entries.findIndex((entry) => entry.imageId === imageId),
        0,
      ) - 1
    );
  }
}
