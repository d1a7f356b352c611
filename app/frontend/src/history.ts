/** Undo and redo: one list of steps an image; a step is what one act did to some instances. */

import type { Snapshot, Stroke } from "./types";

/** What an act did to one instance; null means it was not there. */
export interface Entry {
  readonly id: number;
  readonly before: Snapshot | null;
  readonly after: Snapshot | null;
  readonly strokes?: readonly Stroke[]; // where the act was one, by radius
  readonly isAnswer?: true; // a model's answer to strokes
}

export type Step = readonly Entry[];

/** All that can be undone, and redone, on an image; the next of each comes last. */
export interface Past {
  readonly done: readonly Step[];
  readonly undone: readonly Step[];
}

const MOST = 500; // steps an image; the oldest are forgotten first
const MOST_BYTES = 64 * 2 ** 20; // of all images; those worked on longest ago forget first

export class History {
  private readonly done = new Map<number, Step[]>(); // the image worked on last comes last
  private readonly undone = new Map<number, Step[]>();
  private readonly changed = new Set<number>();

  /** Remember an act; what had been undone on that image can no longer be redone. */
  record(imageId: number, step: Step): void {
    const steps = stack(this.done, imageId);
    steps.push(step);
    if (steps.length > MOST) steps.shift();
    this.done.delete(imageId);
    this.done.set(imageId, steps);
    this.undone.delete(imageId);
    this.changed.add(imageId);
    this.bound(steps);
  }

  /** Forget old steps until all fit into memory; the newest one stays. */
  private bound(newest: readonly Step[]): void {
    let bytes = [...this.done.values()].flat().reduce((sum, step) => sum + sizeOf(step), 0);
    for (const [imageId, steps] of this.done) {
      while (bytes > MOST_BYTES && steps.length > Number(steps === newest)) {
        bytes -= sizeOf(steps[0]);
        steps.shift();
        this.changed.add(imageId);
      }
    }
  }

  /** Step back: returns the step whose `before` is to be shown, or null at the beginning. */
  undo(imageId: number): Step | null {
    this.changed.add(imageId);
    return shift(stack(this.done, imageId), stack(this.undone, imageId));
  }

  /** Step forward: returns the step whose `after` is to be shown, or null at the end. */
  redo(imageId: number): Step | null {
    this.changed.add(imageId);
    return shift(stack(this.undone, imageId), stack(this.done, imageId));
  }

  /** The steps that stand, oldest first. */
  steps(imageId: number): readonly Step[] {
    return this.done.get(imageId) ?? [];
  }

  /** The images whose past changed since this was last asked. */
  takeChanged(): readonly number[] {
    const ids = [...this.changed];
    this.changed.clear();
    return ids;
  }

  /** What can be undone and redone, to be kept. */
  past(imageId: number): Past {
    return { done: this.done.get(imageId) ?? [], undone: this.undone.get(imageId) ?? [] };
  }

  /** Take over a past of an image. */
  recall(imageId: number, { done, undone }: Past): void {
    this.done.set(imageId, [...done]);
    this.undone.set(imageId, [...undone]);
  }

  undoable(imageId: number): number {
    return this.done.get(imageId)?.length ?? 0;
  }

  redoable(imageId: number): number {
    return this.undone.get(imageId)?.length ?? 0;
  }
}

/**
 * Whether each step of a past begins where the one before it ended, and they end in what is here:
 * then undoing them touches nothing that anybody else did in between or since.
 *
 * `find` tells what an instance is now, null when it is not there.
 */
export function fits({ done, undone }: Past, find: (id: number) => Snapshot | null): boolean {
  const now = new Map<number, Snapshot | null>();
  const follows = ({ id, before, after }: Entry): boolean => {
    const isNext = !now.has(id) || isSame(now.get(id) ?? null, before);
    now.set(id, after);
    return isNext;
  };
  if (!done.flat().every(follows)) return false;
  const later = [...undone].reverse().flat();
  for (const { id, before } of [...later].reverse()) if (!touches(done, id)) now.set(id, before);
  return [...now].every(([id, end]) => isSame(end, find(id))) && later.every(follows);
}

const sizes = new WeakMap<Step, number>();

/** Bytes a step holds, about: its masks and its strokes. */
function sizeOf(step: Step): number {
  const maskOf = (one: Snapshot | null): number => one?.rle?.counts.length ?? 0;
  const pointsOf = (strokes: readonly Stroke[] = []): number =>
    strokes.reduce((sum, { points }) => sum + points.length, 0);
  const sizeOfEntry = ({ before, after, strokes }: Entry): number =>
    maskOf(before) + maskOf(after) + 32 * pointsOf(strokes);
  const size = sizes.get(step) ?? step.reduce((sum, entry) => sum + sizeOfEntry(entry), 0);
  sizes.set(step, size);
  return size;
}

function touches(steps: readonly Step[], id: number): boolean {
  return steps.some((step) => step.some((entry) => entry.id === id));
}

function isSame(a: Snapshot | null, b: Snapshot | null): boolean {
  if (!a || !b) return a === b;
  const isLike = a.state === b.state && a.category_id === b.category_id;
  return isLike && a.box.join() === b.box.join() && a.rle?.counts === b.rle?.counts;
}

function stack(stacks: Map<number, Step[]>, imageId: number): Step[] {
  const found = stacks.get(imageId) ?? [];
  stacks.set(imageId, found);
  return found;
}

function shift(from: Step[], to: Step[]): Step | null {
  const step = from.pop();
  if (!step) return null;
  to.push(step);
  return step;
}
