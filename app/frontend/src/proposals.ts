/**
 * Requests for masks that are under way, each with the dashed box that stands for it.
 *
 * Several may run at once. For one instance only the newest counts: the older is aborted, and
 * its answer ignored.
 */

import { thinned } from "./assist";
import type { Doubt, SaveQueue } from "./saves";
import { ApiError, isAbort, NetworkError, type Proposal } from "./transport";
import type { Annotation, Box, ProposeRequest, Stroke } from "./types";

/** A box whose mask is on its way. */
export interface Placeholder {
  readonly key: string;
  readonly image_id: number;
  readonly instance_id: number | null;
  readonly category_id: number;
  readonly box: Box;
  readonly version?: number; // the instance's, where an earlier page asked
  readonly strokes?: readonly Stroke[]; // that steer the instance's mask; they are saved already
  readonly ahead?: true; // nobody waits for it
  readonly seconds?: number; // the person took to ask
}

export interface ProposalPorts {
  send(request: ProposeRequest, signal: AbortSignal): Promise<Proposal>;
  wait(seconds: number): Promise<void>;
  now(): number;
  onAnswer(annotation: Annotation, timing: Timing, from: Placeholder): void;
  onConflict(current: Annotation): void;
  onFailed(error: unknown, from: Placeholder): void;
  onProgress(): void;
  /** The request under this key is to be kept over a crash; null when it is answered. */
  keep(key: string, placeholder: Placeholder | null): void;
}

/** How long a mask took, in milliseconds from the request; `server` is its own account. */
export interface Timing {
  readonly request_ms: number;
  readonly server: string;
}

interface Running extends Omit<Placeholder, "version"> {
  version?: number;
  readonly abort: AbortController;
  wasSent: boolean;
  losses: number; // failures of the network in a row
}

const STEERED = "smart stroke"; // the server's reason for a mask that strokes steered
const MOST_STROKES = 64; // of a request
const BUSY_RETRIES = 3;
const BUSY_WAIT = 1; // seconds, where the server does not say
const LOST_WAIT = 0.5; // seconds; doubles with each failure
const LONGEST_WAIT = 15;

export class Proposals {
  made = 0;
  private readonly running = new Map<string, Running>();
  private hasStopped = false;

  constructor(
    private readonly ports: ProposalPorts,
    private readonly saves: SaveQueue,
  ) {}

  placeholders(imageId: number): readonly Placeholder[] {
    return [...this.running.values()].filter((one) => one.image_id === imageId);
  }

  get count(): number {
    return this.running.size;
  }

  /** The requests that the network keeps from being answered; strokes themselves are saves. */
  get lost(): readonly Placeholder[] {
    return [...this.running.values()].filter(({ losses, strokes }) => losses > 0 && !strokes);
  }

  /** Whether a person waits for a mask. */
  get isAsked(): boolean {
    return [...this.running.values()].some(({ ahead }) => !ahead);
  }

  isRunning(instanceId: number): boolean {
    return [...this.running.values()].some((one) => one.instance_id === instanceId);
  }

  /** Ask for a mask; with an instance_id, in place of that instance's present one. */
  async propose(placeholder: Placeholder): Promise<void> {
    if (placeholder.instance_id !== null) this.giveUp(placeholder.instance_id);
    const abort = new AbortController();
    const running: Running = { ...placeholder, abort, wasSent: false, losses: 0 };
    this.running.set(running.key, running);
    this.keep(running);
    this.ports.onProgress();
    try {
      await this.ask(running);
    } catch (error) {
      if (!isAbort(error)) this.ports.onFailed(error, running);
    } finally {
      this.running.delete(running.key);
      if (!this.hasStopped && !running.strokes) this.ports.keep(running.key, null);
      this.ports.onProgress();
    }
  }

  /**
   * Ask for the mask of an instance's box that nobody waits for: once, and not in a person's way.
   *
   * Returns false where there is no use in asking for others: the studio is busy or out of reach.
   */
  async foresee({ id, version, image_id, category_id, box }: Annotation): Promise<boolean> {
    if (this.hasStopped) return false;
    if (this.isRunning(id) || this.saves.waiting(id)) return true;
    const known = { key: `ahead-${id}`, image_id, category_id, box, version, instance_id: id };
    const abort = new AbortController();
    const running: Running = { ...known, ahead: true, abort, wasSent: true, losses: 0 };
    this.running.set(running.key, running);
    this.ports.onProgress();
    try {
      await this.take(running, this.ports.send(this.request(running), abort.signal));
      return true;
    } catch (error) {
      return isAbort(error) || (error instanceof ApiError && error.status !== 429);
    } finally {
      this.running.delete(running.key);
      this.ports.onProgress();
    }
  }

  /**
   * Forget the request for an instance, because the person changed the instance meanwhile.
   *
   * With `isSteered` only one with strokes. Returns the request with strokes, where there was one.
   */
  giveUp(instanceId: number, isSteered = false): Placeholder | null {
    let steered: Placeholder | null = null;
    for (const running of this.running.values()) {
      if (running.instance_id !== instanceId || (isSteered && !running.strokes)) continue;
      if (running.strokes) steered = running;
      this.running.delete(running.key);
      if (running.wasSent) this.saves.doubt(instanceId, this.outcome(running));
      running.abort.abort();
      this.ports.onProgress();
    }
    return steered;
  }

  /** Give the newest request for a new instance up, as a person asks; false when there is none. */
  giveUpNewest(imageId: number): boolean {
    const asked = this.placeholders(imageId).filter((one) => one.instance_id === null);
    const newest = this.running.get(asked.at(-1)?.key ?? "");
    newest?.abort.abort();
    return newest !== undefined;
  }

  /** End all requests; what was kept of them stays for the next page. */
  stop(): void {
    this.hasStopped = true;
    for (const running of this.running.values()) running.abort.abort();
    this.running.clear();
  }

  private async ask(running: Running): Promise<void> {
    await this.settled(running);
    await this.take(running, this.send(running));
  }

  private async take(running: Running, asked: Promise<Proposal | null>): Promise<void> {
    const start = this.ports.now();
    const answer = await asked;
    if (answer === null || running.abort.signal.aborted) return;
    this.made += 1;
    this.saves.replace(answer.annotation.id, answer.annotation.version);
    this.running.delete(running.key);
    const timing = { request_ms: this.ports.now() - start, server: answer.timing };
    this.ports.onAnswer(answer.annotation, timing, running);
  }

  /** Wait until the instance's saves are through; one that had some is at another version then. */
  private async settled(running: Running): Promise<void> {
    if (running.instance_id === null || !this.saves.waiting(running.instance_id)) return;
    await this.saves.settled(running.instance_id);
    delete running.version;
  }

  /**
   * Send until the server has time for it and its answer arrives; null when somebody was first.
   *
   * A repeated request keeps its request_id, so that the server does not make a second instance.
   */
  private async send(running: Running): Promise<Proposal | null> {
    for (let attempt = 0; ; attempt++) {
      running.abort.signal.throwIfAborted();
      running.wasSent = true;
      this.keep(running);
      try {
        return await this.ports.send(this.request(running), running.abort.signal);
      } catch (error) {
        const current = error instanceof ApiError && error.status === 409 ? error.current : null;
        if (current && !this.catchUp(running, current)) return null;
        if (!current) await this.pause(running, error, attempt);
      }
    }
  }

  /** Wait before the next attempt; throws the error when there is to be none. */
  private async pause(running: Running, error: unknown, attempt: number): Promise<void> {
    if (error instanceof ApiError && error.status === 429 && attempt < BUSY_RETRIES) {
      await this.ports.wait(error.retryAfter ?? BUSY_WAIT);
    } else if (error instanceof NetworkError) {
      const { instance_id } = running;
      if (instance_id !== null) this.saves.doubt(instance_id, this.outcome(running));
      const seconds = Math.min(LOST_WAIT * 2 ** running.losses, LONGEST_WAIT);
      running.losses += 1;
      this.ports.onProgress();
      await this.ports.wait(seconds);
    } else throw error;
  }

  /** Keep a request over a crash; strokes are safe as saves, and may be steered already. */
  private keep(running: Running): void {
    if (running.strokes) return;
    const { key, image_id, instance_id, category_id, box } = running;
    const { version } = this.request(running);
    const known = { key, image_id, instance_id, category_id, box };
    this.ports.keep(key, version === null ? known : { ...known, version });
  }

  /** After a 409: true when our own aborted request was what came first, so that we go on. */
  private catchUp(running: Running, current: Annotation): boolean {
    delete running.version;
    this.saves.learn(current.id, current.version);
    if (this.saves.isOwnProposal(current)) return true;
    this.ports.onConflict(current);
    return false;
  }

  /** What the instance is like if the server counted the request; another's stroke is not. */
  private outcome(running: Running): Doubt {
    if (!running.strokes) return { state: "proposed" };
    const version = (this.request(running).version ?? 0) + 1;
    return { state: "corrected", reason: STEERED, version };
  }

  private request(running: Running): ProposeRequest {
    const { key, image_id, instance_id, category_id, box } = running;
    const strokes = running.strokes?.slice(-MOST_STROKES).map((one) => thinned(one));
    const now = instance_id === null ? null : this.saves.version(instance_id);
    const version = running.version ?? now;
    const { seconds } = running;
    const ahead = {
      ...(running.ahead && { ahead: running.ahead }),
      ...(seconds !== undefined && { seconds }),
    };
    const known = { image_id, box, category_id, request_id: key, instance_id, version, ...ahead };
    return strokes ? { ...known, strokes } : known;
  }
}
