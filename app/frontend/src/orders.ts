/** Carries out what the parts around the canvas ask for, each by the part that can do it. */

import type { Appearance } from "./appearance";
import type { Commands } from "./commands";
import type { Conflict } from "./conflicts";
import { finish } from "./finish";
import type { Foresight } from "./foresight";
import type { Gallery } from "./gallery";
import type { Habits } from "./habits";
import type { Input } from "./input";
import type { Action } from "./keys";
import type { Lifeline } from "./lifeline";
import type { Look } from "./look";
import type { Person } from "./person";
import type { Placing } from "./placings";
import type { Filter } from "./queue";
import type { Races } from "./races";
import type { Shell } from "./shell";
import type { Sync } from "./sync";
import { textOf, type Transport } from "./transport";
import type { Choice } from "./versus";
import type { Desk, Orders } from "./view";
import type { Viewport } from "./viewport";

/** The parts that do the work. */
export interface Crew extends Desk {
  readonly appearance: Appearance;
  readonly commands: Commands;
  readonly foresight: Foresight;
  readonly gallery: Gallery;
  readonly input: Input;
  readonly lifeline: Lifeline;
  readonly person: Person;
  readonly races: Races;
  readonly shell: Shell;
  readonly sync: Sync;
  readonly transport: Transport;
  update(): void;
  setPort(port: Viewport): void;
  saySelected(): void;
}

export class CrewOrders implements Orders {
  constructor(private readonly crew: Crew) {}

  act(action: Action): void {
    this.crew.commands.run(action);
  }

  setRadius(radius: number): void {
    this.crew.editor.setRadius(radius);
  }

  setLook(part: Partial<Look>): void {
    this.crew.appearance.set(part);
    this.crew.update();
  }

  setHabits(part: Partial<Habits>): void {
    this.crew.person.setHabits(part);
  }

  setCategory(id: number): void {
    this.crew.shell.finder.used(id);
    this.crew.editor.setCategory(id);
  }

  findCategory(): void {
    this.crew.shell.finder.open(this.crew.project?.categories ?? []);
  }

  place(id: number, part: Partial<Placing>): void {
    this.crew.editor.place(id, part);
  }

  async addCategory(name: string): Promise<boolean> {
    const { project, transport, gallery, shell } = this.crew;
    if (!project) return false;
    try {
      const made = await transport.addCategory(project.id, name);
      gallery.addCategory(made);
      this.setCategory(made.id);
      shell.status.say(`Category ${made.name} added.`);
      return true;
    } catch (error) {
      shell.messages.add(textOf(error));
      return false;
    }
  }

  select(id: number, isAdded = false): void {
    if (isAdded) this.crew.editor.toggle(id);
    else this.crew.editor.select(id);
    this.crew.saySelected();
  }

  open(imageId: number): Promise<void> {
    return this.crew.gallery.open(imageId);
  }

  thumb(imageId: number): Promise<Blob> {
    return this.crew.transport.thumb(imageId);
  }

  retry(): void {
    this.crew.sync.saves.retryRefused();
    this.crew.lifeline.patience.hurry();
  }

  decide(conflict: Conflict, choice: Choice): void {
    this.crew.sync.decide(conflict, choice);
  }

  setFilter(part: Partial<Filter>): void {
    this.crew.bulk.close();
    this.crew.walk.setFilter(part);
    this.crew.update();
  }

  visit(imageId: number, id: number): void {
    this.crew.walk.visit(imageId, id);
  }

  setScore(score: number): void {
    this.crew.bulk.setScore(score);
  }

  acceptAll(): void {
    void this.crew.bulk.accept();
  }

  comment(about: number | null, text: string): Promise<boolean> {
    return this.crew.comments.add(about, text);
  }

  sendBack(id: number, text: string): Promise<boolean> {
    return this.crew.reviewing.sendBack(id, text);
  }

  takeImage(): void {
    void this.crew.presence.take();
  }

  setDone(isDone: boolean): void {
    void finish(this.crew, isDone);
  }

  look(): void {
    this.crew.update();
  }
}
