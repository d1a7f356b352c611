/**
 * What keeps a person's work alive while the network, the server or the page itself is gone: waits
 * that can be cut short, the watch over the studio's answers, and the browser's own store.
 */

import type { Past } from "./history";
import { Keeper } from "./keeper";
import { Patience } from "./patience";
import { Reach } from "./reach";
import type { Sync } from "./sync";
import { textOf } from "./transport";
import type { Project } from "./types";
import { Vault } from "./vault";

export interface LifelinePorts {
  ask(): Promise<unknown>; // the studio, for anything
  onChange(): void;
  tell(text: string): void;
}

export class Lifeline {
  readonly patience = new Patience();
  readonly reach: Reach;
  private keeper: Keeper | null = null;
  private hasTried = false;
  private readonly unloading = new AbortController(); // ends the warning about unsaved work

  constructor(private readonly ports: LifelinePorts) {
    const { patience } = this;
    this.reach = new Reach({ ...ports, patience });
    const { signal } = this.unloading;
    window.addEventListener("online", patience.hurry.bind(patience), { signal });
  }

  /** Warn who leaves the page while something waits; it is kept, but sent only when they return. */
  watch(sync: Sync): void {
    const warn = (event: BeforeUnloadEvent): void => {
      if (sync.saves.pending + sync.proposals.lost.length + sync.creations.lost.length > 0)
        event.preventDefault();
    };
    window.addEventListener("beforeunload", warn, { signal: this.unloading.signal });
  }

  /** Before the first image: go on with the unsent work that earlier pages left. */
  async prepare({ studio, person }: Project, sync: Sync): Promise<void> {
    if (this.hasTried) return;
    this.hasTried = true;
    try {
      this.keeper = await this.open(`${studio}/${person}`);
      await sync.keepIn(this.keeper);
      await this.keeper.prune();
    } catch (error) {
      this.fail(error);
    }
  }

  /** What could be undone on an image when an earlier page left it. */
  async recall(imageId: number): Promise<Past | null> {
    try {
      return (await this.keeper?.past(imageId)) ?? null;
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  /** Forget what could be undone on an image, because others have moved on since. */
  forget(imageId: number): void {
    this.keeper?.dropPast(imageId);
  }

  /** End the watch; pages that come later have what is left. */
  stop(): void {
    this.unloading.abort();
    this.keeper?.stop();
  }

  private async open(owner: string): Promise<Keeper> {
    // Absent where the page is not secure, which the types do not say.
    const { locks } = navigator as { locks?: LockManager };
    const ports = { locks, now: Date.now, onFailed: this.fail.bind(this) };
    return new Keeper(await Vault.open(), owner, crypto.randomUUID(), ports);
  }

  private fail(error: unknown): void {
    this.ports.tell(`This browser keeps no unsent work over a reload: ${textOf(error)}`);
  }
}
