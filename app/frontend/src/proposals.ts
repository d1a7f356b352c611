/**
 * Requests for masks that are under way, each with the dashed box that stands for it.
 *
 * Several may run at once. For one instance only the newest counts: the older is aborted, and
 * its answer ignored.
 */

import type { SaveQueue } from "./saves";
import { ApiError, isAbort, NetworkError, type Proposal } from "./transport";
import type { Annotation, Box, ProposeRequest } from "./types";

/** A box whose mask is on its way. */
export interface Placeholder {
  readonly key: string;
  readonly image_id: number;
  readonly instance_id: number | null;
  readonly category_id: number;
  readonly box: Box;
}

export interface ProposalPorts {
  send(request: ProposeRequest, signal: AbortSignal): Promise<Proposal>;
  wait(seconds: number): Promise<void>;
  now(): number;
  onAnswer(annotation: Annotation, timing: Timing, from: Placeholder): void;
  onConflict(current: Annotation): void;
  onFailed(error: unknown): void;
  onProgress(): void;
}

/** How long a mask took, in milliseconds from the request; `server` is its own account. */
export interface Timing {
  readonly request_ms: number;
  readonly server: string;
}

interface Running extends Placeholder {
  readonly abort: AbortController;
  wasSent: boolean;
}

const BUSY_RETRIES = 3;
const BUSY_WAIT = 1; // seconds, where the server does not say
const LOST_RETRIES = 3;
const LOST_WAIT = 0.5; // seconds; doubles with each failure

export class Proposals {
  made = 0;
  private readonly running = new Map<string, Running>();

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

  isRunning(instanceId: number): boolean {
    return [...this.running.values()].some((one) => one.instance_id === instanceId);
  }

  /** Ask for a mask; with an instance_id, in place of that instance's present one. */
  async propose(placeholder: Placeholder): Promise<void> {
    if (placeholder.instance_id !== null) this.giveUp(placeholder.instance_id);
    const running = { ...placeholder, abort: new AbortController(), wasSent: false };
    this.running.set(running.key, running);
    this.ports.onProgress();
    try {
      await this.ask(running);
    } catch (error) {
      if (!isAbort(error)) this.ports.onFailed(error);
    } finally {
      this.running.delete(running.key);
      this.ports.onProgress();
    }
  }

  /** Forget the request for an instance, because the person changed the instance meanwhile. */
  giveUp(instanceId: number): void {
    for (const running of this.running.values()) {
      if (running.instance_id !== instanceId) continue;
      this.running.delete(running.key);
      if (running.wasSent) this.saves.doubt(instanceId);
      running.abort.abort();
      this.ports.onProgress();
    }
  }

  stop(): void {
    for (const running of this.running.values()) running.abort.abort();
    this.running.clear();
  }

  private async ask(running: Running): Promise<void> {
    if (running.instance_id !== null) await this.saves.settled(running.instance_id);
    const start = this.ports.now();
    const answer = await this.send(running);
    if (answer === null || running.abort.signal.aborted) return;
    this.made += 1;
    this.saves.replace(answer.annotation.id, answer.annotation.version);
    this.running.delete(running.key);
    const timing = { request_ms: this.ports.now() - start, server: answer.timing };
    this.ports.onAnswer(answer.annotation, timing, running);
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
      try {
        return await this.ports.send(this.request(running), running.abort.signal);
      } catch (error) {
        const current = error instanceof ApiError && error.status === 409 ? error.current : null;
        if (current && !this.catchUp(current)) return null;
        if (!current) await this.pause(running, error, attempt);
      }
    }
  }

  /** Wait before the next attempt; throws the error when there is to be none. */
  private async pause({ instance_id }: Running, error: unknown, attempt: number): Promise<void> {
    if (error instanceof ApiError && error.status === 429 && attempt < BUSY_RETRIES) {
      await this.ports.wait(error.retryAfter ?? BUSY_WAIT);
    } else if (error instanceof NetworkError && attempt < LOST_RETRIES) {
      if (instance_id !== null) this.saves.doubt(instance_id);
      await this.ports.wait(LOST_WAIT * 2 ** attempt);
    } else throw error;
  }

  /** After a 409: true when our own aborted request was what came first, so that we go on. */
  private catchUp(current: Annotation): boolean {
    this.saves.learn(current.id, current.version);
    if (this.saves.isOwnProposal(current)) return true;
    this.ports.onConflict(current);
    return false;
  }

  private request({ key, image_id, instance_id, category_id, box }: Running): ProposeRequest {
    const version = instance_id === null ? null : this.saves.version(instance_id);
    return { image_id, box, category_id, request_id: key, instance_id, version };
  }
}
