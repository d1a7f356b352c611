/** Numbers that look random and are the same on every run. */

export class Random {
  constructor(private state: number) {}

  /** A number in [0, 1), by the mulberry32 rule. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` up to, not with, `high`. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low));
  }

  pick<T>(of: readonly T[]): T {
    return of[this.whole(0, of.length)];
  }
}
