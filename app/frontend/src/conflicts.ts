/** Races that were lost and not decided yet: what the person saved, and what somebody saved first. */

import type { Annotation, Change } from "./types";

export interface Conflict {
  readonly mine: Change;
  readonly theirs: Annotation;
  readonly kept: number | null; // the revision that holds mine in the instance's history
}

export function keyOf({ mine, kept }: Conflict): string {
  return `${mine.id}-${kept ?? "unkept"}`;
}

export class Conflicts {
  private readonly open = new Map<string, Conflict>();

  /** Hand over each change to be kept: a conflict by its key, or null once it is decided. */
  constructor(private readonly keep: (key: string, conflict: Conflict | null) => void) {}

  get count(): number {
    return this.open.size;
  }

  add(conflict: Conflict): void {
    this.open.set(keyOf(conflict), conflict);
    this.keep(keyOf(conflict), conflict);
  }

  /** The oldest that is not decided, of an image or of all. */
  first(imageId?: number): Conflict | null {
    const all = [...this.open.values()];
    return all.find(({ mine }) => imageId === undefined || mine.image_id === imageId) ?? null;
  }

  settle(conflict: Conflict): void {
    this.open.delete(keyOf(conflict));
    this.keep(keyOf(conflict), null);
  }
}
