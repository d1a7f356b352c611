/** Whether the studio answers; while it does not, it is asked until it does. */

import type { Patience } from "./patience";

export interface ReachPorts {
  /** Ask for anything; the answer is noted like every other. */
  ask(): Promise<unknown>;
  readonly patience: Pick<Patience, "wait" | "hurry">;
  onChange(): void;
}

const FIRST_WAIT = 1; // seconds; doubles with each failure
const LONGEST_WAIT = 15;

export class Reach {
  isCutOff = false;
  private isAsking = false;

  constructor(private readonly ports: ReachPorts) {}

  /** Note that a request was answered, whatever the answer, or that it was not. */
  note(isAnswered: boolean): void {
    if (isAnswered !== this.isCutOff) return;
    this.isCutOff = !isAnswered;
    if (isAnswered) this.ports.patience.hurry();
    else if (!this.isAsking) void this.ask();
    this.ports.onChange();
  }

  private async ask(): Promise<void> {
    this.isAsking = true;
    for (let seconds = FIRST_WAIT; this.isCutOff; seconds *= 2) {
      await this.ports.patience.wait(Math.min(seconds, LONGEST_WAIT));
      await this.ports.ask().catch(() => undefined);
    }
    this.isAsking = false;
  }
}
