/** How a person arranges the masks to see and reach them; no part of what is saved. */

/** In front (above 0) or behind (below), out of sight, or safe from changes. */
export interface Placing {
  readonly level: number;
  readonly hidden: boolean;
  readonly locked: boolean;
}

const PLAIN: Placing = { level: 0, hidden: false, locked: false };

/** The placings of instances by id; one that was never arranged is plain. */
export class Placings {
  private readonly placed = new Map<number, Placing>();

  of(id: number): Placing {
    return this.placed.get(id) ?? PLAIN;
  }

  change(id: number, part: Partial<Placing>): void {
    const now = { ...this.of(id), ...part };
    if (now.level === 0 && !now.hidden && !now.locked) this.placed.delete(id);
    else this.placed.set(id, now);
  }

  /** Text that `read` takes, to be kept for the next page load. */
  write(): string {
    return JSON.stringify([...this.placed]);
  }

  /** Take over what `write` wrote; anything else is ignored. */
  read(text: string | null): void {
    for (const [id, placing] of entriesOf(text)) this.change(id, placing);
  }
}

function entriesOf(text: string | null): readonly [number, Placing][] {
  try {
    const found: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(found) ? found.filter(isEntry) : [];
  } catch {
    return [];
  }
}

function isEntry(value: unknown): value is [number, Placing] {
  if (!Array.isArray(value) || !Number.isInteger(value[0])) return false;
  const { level, hidden, locked } = Object(value[1]) as Record<keyof Placing, unknown>;
  return Number.isInteger(level) && typeof hidden === "boolean" && typeof locked === "boolean";
}
