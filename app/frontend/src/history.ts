/** Undo and redo: one list of entries an image; an entry is an instance before and after. */

import type { Snapshot } from "./types";

/** What one act did to one instance; null means it was not there. */
export interface Entry {
  readonly id: number;
  readonly before: Snapshot | null;
  readonly after: Snapshot | null;
}

const MOST = 500; // entries an image; the oldest are forgotten first

export class History {
  private readonly done = new Map<number, Entry[]>();
  private readonly undone = new Map<number, Entry[]>();

  /** Remember an act; what had been undone on that image can no longer be redone. */
  record(imageId: number, entry: Entry): void {
    const entries = stack(this.done, imageId);
    entries.push(entry);
    if (entries.length > MOST) entries.shift();
    this.undone.delete(imageId);
  }

  /** Step back: returns the entry whose `before` is to be shown, or null at the beginning. */
  undo(imageId: number): Entry | null {
    return shift(stack(this.done, imageId), stack(this.undone, imageId));
  }

  /** Step forward: returns the entry whose `after` is to be shown, or null at the end. */
  redo(imageId: number): Entry | null {
    return shift(stack(this.undone, imageId), stack(this.done, imageId));
  }

  undoable(imageId: number): number {
    return this.done.get(imageId)?.length ?? 0;
  }

  redoable(imageId: number): number {
    return this.undone.get(imageId)?.length ?? 0;
  }
}

function stack(stacks: Map<number, Entry[]>, imageId: number): Entry[] {
  const found = stacks.get(imageId) ?? [];
  stacks.set(imageId, found);
  return found;
}

function shift(from: Entry[], to: Entry[]): Entry | null {
  const entry = from.pop();
  if (!entry) return null;
  to.push(entry);
  return entry;
}
