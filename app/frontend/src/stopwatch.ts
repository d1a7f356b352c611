/** A person's own time: what passes between one thing they do and the next, pauses cut short. */

const PAUSE = 60_000; // milliseconds; whoever does nothing for longer is not at work

export class Stopwatch {
  private at: number | null = null;
  private sum = 0; // milliseconds

  constructor(private readonly now: () => number) {}

  /** The person does something. */
  touch(): void {
    const now = this.now();
    if (this.at !== null) this.sum += Math.min(Math.max(now - this.at, 0), PAUSE);
    this.at = now;
  }

  /** Seconds since the last call, and begin anew. */
  lap(): number {
    this.touch();
    const seconds = this.sum / 1000;
    this.sum = 0;
    return Math.round(seconds * 100) / 100;
  }
}
