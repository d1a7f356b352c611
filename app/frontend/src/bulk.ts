/** Accepts all proposals above a score: shows first which they are, is one act, and has one undo. */

import type { Filter } from "./queue";
import { textOf, type Transport } from "./transport";
import type { Candidate } from "./types";
import { may, type View } from "./view";

export interface BulkPorts {
  /** The time of day, to tell two acts apart. */
  now(): string;
  filter(): Filter;
  /** Resolve when all is saved, or when it has taken too long. */
  drained(): Promise<boolean>;
  say(text: string): void;
  tell(text: string, kind: "error" | "notice", remedy?: { label: string; act(): void }): void;
  onChange(): void;
  /** The server's masks changed. */
  renew(): void;
}

const FIRST = 0.9; // the score one begins with

export class Bulk {
  isOpen = false;
  score = FIRST;
  isBusy = false;
  private all: readonly Candidate[] = []; // the lowest score first

  constructor(
    private readonly view: View,
    private readonly server: Pick<Transport, "acceptable" | "acceptAll" | "undoAccept">,
    private readonly ports: BulkPorts,
  ) {}

  /** What would be accepted now, the least certain first. */
  get masks(): readonly Candidate[] {
    return this.all.filter(({ score }) => score >= this.score);
  }

  /** Show what there is to accept, by the queue's filter whatever state that asks for. */
  async open(): Promise<void> {
    const { project } = this.view;
    if (!project || this.isBusy) return;
    if (!may(this.view, "review")) {
      this.ports.say("Only a reviewer of this project accepts many masks at once.");
      return;
    }
    this.isBusy = true;
    try {
      await this.ports.drained();
      const wanted = { ...this.ports.filter(), states: [] };
      this.all = await this.server.acceptable(project.id, { ...wanted, low: wanted.low ?? 0 });
      this.isOpen = true;
      this.show();
    } catch (error) {
      this.ports.tell(`There is nothing to preview: ${textOf(error)}`, "error");
    }
    this.isBusy = false;
    this.ports.onChange();
  }

  setScore(score: number): void {
    this.score = score;
    this.show();
    this.ports.onChange();
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.all = [];
    this.view.editor.select(null);
    this.ports.onChange();
  }

  /** Choose those on the open image, so that they stand out there. */
  show(): void {
    const { editor } = this.view;
    if (!this.isOpen || !editor.image) return;
    const here = this.masks.filter(({ image_id }) => image_id === editor.image?.id);
    editor.choose(here.map(({ id }) => id));
  }

  /** Accept what is shown; what others changed since the preview is left to the server's rule. */
  async accept(): Promise<void> {
    const { project } = this.view;
    if (!project || this.isBusy || !this.isOpen) return;
    this.isBusy = true;
    const percent = Math.round(this.score * 100);
    try {
      if (!(await this.ports.drained())) throw new Error("some of your changes are not saved yet");
      const wanted = { ...this.ports.filter(), low: this.score };
      const { act, count } = await this.server.acceptAll(project.id, wanted);
      const text = `${masks(count)} accepted at ${this.ports.now()}: all from ${percent} % on.`;
      const undo = (): void => void this.undo(project.id, act);
      this.ports.tell(text, "notice", { label: "Undo", act: undo });
      this.ports.say(text);
    } catch (error) {
      this.ports.tell(`Not accepted: ${textOf(error)}`, "error");
    }
    this.isBusy = false;
    this.close();
    this.ports.renew();
  }

  private async undo(projectId: number, act: string): Promise<void> {
    try {
      const { count } = await this.server.undoAccept(projectId, act);
      this.ports.say(`${masks(count)} taken back.`);
    } catch (error) {
      const again = (): void => void this.undo(projectId, act);
      this.ports.tell(`Not taken back: ${textOf(error)}`, "error", { label: "Undo", act: again });
    }
    this.ports.renew();
  }
}

function masks(count: number): string {
  return count === 1 ? "1 mask" : `${count} masks`;
}
