/** Undo and redo: one list of steps an image; a step is what one act did to some instances. */

import type { Snapshot, Stroke } from "./types";

/** What an act did to one instance; null means it was not there. */
export interface Entry {
  readonly id: number;
  readonly before: Snapshot | null;
  readonly after: Snapshot | null;
  readonly stroke?: Stroke; // where the act was one
}

export type Step = readonly Entry[];

const MOST = 500; // steps an image; the oldest are forgotten first

export class History {
  private readonly done = new Map<number, Step[]>();
  private readonly undone = new Map<number, Step[]>();

  /** Remember an act; what had been undone on that image can no longer be redone. */
  record(imageId: number, step: Step): void {
    const steps = stack(this.done, imageId);
    steps.push(step);
    if (steps.length > MOST) steps.shift();
    this.undone.delete(imageId);
  }

  /** Step back: returns the step whose `before` is to be shown, or null at the beginning. */
  undo(imageId: number): Step | null {
    return shift(stack(this.done, imageId), stack(this.undone, imageId));
  }

  /** Step forward: returns the step whose `after` is to be shown, or null at the end. */
  redo(imageId: number): Step | null {
    return shift(stack(this.undone, imageId), stack(this.done, imageId));
  }

  /** The steps that stand, oldest first. */
  steps(imageId: number): readonly Step[] {
    return this.done.get(imageId) ?? [];
  }

  undoable(imageId: number): number {
    return this.done.get(imageId)?.length ?? 0;
  }

  redoable(imageId: number): number {
    return this.undone.get(imageId)?.length ?? 0;
  }
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
