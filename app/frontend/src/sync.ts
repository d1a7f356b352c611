/** Keeps the masks on screen and the server's one: saves, proposals, and what others saved. */

import { strokesOf } from "./assist";
import type { Waiting } from "./banner";
import { type Conflict, Conflicts } from "./conflicts";
import type { EditorEvent, ImageRef } from "./choice";
import type { Editor } from "./editor";
import { Creations } from "./creations";
import type { Past } from "./history";
import { snapshotOf } from "./instance";
import type { Keeper } from "./keeper";
import { type Placeholder, Proposals, type Timing } from "./proposals";
import { SaveQueue } from "./saves";
import { Stopwatch } from "./stopwatch";
import { classify, textOf, type Transport } from "./transport";
import type { Annotation, Box, Change } from "./types";

export interface SyncPorts {
  readonly wait: (seconds: number) => Promise<void>;
  readonly now: () => number;
  /** The server's masks of an image changed: what was fetched of them ahead is old. */
  outdate(imageId: number): void;
  /** An instance was made as a person drew or copied it. */
  onMade(made: Annotation): void;
  /** A mask came that the editor took at `begin`, in milliseconds. */
  onAnswer(made: Annotation, timing: Timing, from: Placeholder, begin: number): void;
  say(text: string): void;
  tell(text: string, kind: "error" | "notice"): void;
  /** A race was lost, and both sides are here to be compared. */
  onConflict(conflict: Conflict, text: string): void;
  /** A save came too late: perhaps somebody else works on the image now. */
  onLate(): void;
  readonly onProgress: () => void;
  /** Whether the model is to carry strokes on. */
  isAssisted(): boolean;
}

/** Where unsent work is kept; null where the browser keeps none. */
type Shelves = Pick<Keeper, "keepSave" | "keepBox" | "keepAct" | "keepConflict" | "keepPast">;

const PAGE = [...crypto.getRandomValues(new Uint32Array(2))].map((n) => n.toString(36)).join("");
const STROKES: readonly string[] = ["brush", "eraser"]; // reasons of strokes
const OF_PERSONS: readonly string[] = ["corrected", "accepted"]; // masks that are not the model's

export class Sync {
  readonly saves: SaveQueue;
  readonly proposals: Proposals;
  readonly creations: Creations;
  readonly stopwatch: Stopwatch;
  readonly conflicts = new Conflicts((key, conflict) => this.keeper?.keepConflict(key, conflict));
  keeper: Shelves | null = null;
  private requests = 0;
  private interrupted: Placeholder | null = null; // by the stroke that is being drawn
  private readonly recalled = new Set<number>(); // images whose past is here
  private readonly early = new Set<number>(); // images whose past changed before it was here

  constructor(
    private readonly editor: Editor,
    private readonly server: Pick<Transport, "save" | "propose" | "create" | "annotations">,
    private readonly ports: SyncPorts,
  ) {
    this.stopwatch = new Stopwatch(ports.now);
    this.saves = this.makeSaves();
    this.proposals = this.makeProposals();
    this.creations = this.makeCreations();
  }

  /** Show an image's masks with what still waits to be saved; read them again if they are old. */
  open(image: ImageRef, annotations: readonly Annotation[], isAhead: boolean): void {
    const isOld = annotations.some(({ id, version }) => this.saves.version(id) > version);
    this.editor.open(image, annotations);
    for (const { id, version } of annotations) this.saves.show(id, version);
    for (const { id } of this.editor.instances) {
      const change = this.saves.waiting(id);
      if (change) this.editor.overlay(change);
    }
    if (isAhead || isOld) void this.refresh(image.id);
  }

  /** Take over what others saved or deleted, without touching what the person is at. */
  async refresh(imageId: number): Promise<void> {
    const before = this.editor.instances;
    const fresh = await this.read(imageId);
    if (!fresh || this.editor.image?.id !== imageId) return;
    const listed = new Set(fresh.map(({ id }) => id));
    for (const one of fresh) if (one.version > this.editor.version(one.id)) this.adopt(one);
    for (const one of before) {
      const isGone = !listed.has(one.id) && one.version === this.editor.version(one.id);
      if (isGone) this.adopt({ ...one, state: "deleted" });
    }
  }

  /** Send what the person did; a mask under way for an instance at hand comes too late. */
  onEdit(event: Extract<EditorEvent, { kind: "edit" | "stroke" }>): void {
    if (event.kind === "edit") {
      const { reason } = event.change;
      const strokes = Number(STROKES.includes(reason));
      const change = { ...event.change, seconds: this.stopwatch.lap(), strokes };
      this.interrupted = null;
      this.proposals.giveUp(change.id);
      this.ports.outdate(change.image_id);
      this.saves.push(change);
      if (strokes > 0 && this.ports.isAssisted()) this.steer(change);
    } else if (event.isBegin) this.interrupted = this.proposals.giveUp(event.id);
    else this.resume();
  }

  /** What stands for masks that are on their way to an image. */
  placeholders(imageId: number): readonly Placeholder[] {
    return [...this.proposals.placeholders(imageId), ...this.creations.placeholders(imageId)];
  }

  /** Give the newest box or new mask up that waits, as a person asks; false when there is none. */
  giveUpNewest(imageId: number): boolean {
    return this.proposals.giveUpNewest(imageId) || this.creations.giveUpNewest(imageId);
  }

  /** End all requests; what was kept of them stays for the next page. */
  stop(): void {
    this.proposals.stop();
    this.creations.stop();
  }

  /** Keep unsent work from now on, and go on with what ended pages left. */
  async keepIn(keeper: Keeper): Promise<void> {
    this.keeper = keeper;
    for (const conflict of await keeper.conflicts()) this.conflicts.add(conflict);
    await keeper.inherit(({ unsent, boxes, acts }) => {
      for (const one of unsent) void this.saves.restore(one);
      for (const box of boxes) void this.proposals.propose(box);
      for (const act of acts) this.creations.resume(act);
      this.ports.onProgress();
    });
  }

  /** What waits to be sent, by image. */
  get waiting(): Waiting {
    const waiting = new Map<number, { masks: number; boxes: number }>();
    const at = (imageId: number): { masks: number; boxes: number } => {
      const found = waiting.get(imageId) ?? { masks: 0, boxes: 0 };
      waiting.set(imageId, found);
      return found;
    };
    for (const { image_id } of this.saves.unsent) at(image_id).masks += 1;
    for (const { image_id } of this.proposals.lost) at(image_id).boxes += 1;
    for (const { image_id } of this.creations.lost) at(image_id).masks += 1;
    return waiting;
  }

  /** Decide a race: theirs stays as it is, mine replaces it, or mine stands beside it. */
  decide(conflict: Conflict, choice: "theirs" | "mine" | "both"): void {
    const { mine, theirs } = conflict;
    if (choice === "both" && mine.after) {
      this.creations.keepBoth(mine.image_id, mine.after, mine.id);
    }
    if (choice === "mine") {
      const now = this.editor.find(mine.id);
      const before = now && snapshotOf(now);
      const entry = { id: mine.id, before, after: mine.after };
      if (!this.editor.perform([entry], "mine")) {
        this.ports.tell(`${this.whyNot(theirs)}: yours cannot be put there now.`, "notice");
        return;
      }
    }
    this.conflicts.settle(conflict);
    this.ports.onProgress();
  }

  private whyNot(theirs: Annotation): string {
    const { heldBy } = this.editor;
    if (heldBy !== "") return `${heldBy} works on this image`;
    if (!this.editor.isForeign(theirs)) return `Mask ${theirs.number} is locked`;
    return `Only a reviewer changes what ${theirs.person} ${theirs.state}`;
  }

  /** Keep what can be undone, where anything of it changed; never over a past not yet read. */
  keepPast(): void {
    for (const id of this.editor.takeChangedPasts()) this.early.add(id);
    for (const id of this.early) {
      if (!this.recalled.has(id)) continue;
      this.early.delete(id);
      this.keeper?.keepPast(id, this.editor.past(id));
    }
  }

  /** Take over an image's past as an earlier page left it; one that does not fit is forgotten. */
  recall(imageId: number, past: Past | null, forget: () => void): void {
    if (past && !this.editor.recall(past)) forget();
    this.recalled.add(imageId);
    this.keepPast();
  }

  /** Ask for the mask of a box: a new instance, or in place of one's present mask. */
  propose(box: Box, instance_id: number | null): void {
    const image_id = this.editor.image?.id;
    if (image_id === undefined) return;
    if (this.editor.heldBy !== "") {
      this.ports.say(this.editor.obstacle);
      return;
    }
    const item = this.editor.instances.find(({ id }) => id === instance_id);
    const category_id = item?.category_id ?? this.editor.categoryId;
    if (category_id === 0) {
      this.ports.tell(
        "Add a category first: press + in the panel, or ask an admin for one.",
        "notice",
      );
      return;
    }
    this.ports.say("Looking for the mask…");
    this.ask({ image_id, box, category_id, instance_id });
  }

  /** Give an instance another box: a mask of the model is proposed anew, a person's one stays. */
  changeBox(id: number, box: Box): void {
    const item = this.editor.instances.find((one) => one.id === id);
    if (!item || !OF_PERSONS.includes(item.state) || this.editor.heldBy !== "") {
      this.propose(box, id);
      return;
    }
    this.editor.setBox(id, box);
    this.ports.say("Box moved; the mask is yours and stays. Press R to propose it anew.");
  }

  /** Let the model carry strokes on; until it answers, and if it cannot, they stay as painted. */
  private steer({ id, image_id, after }: Change): void {
    if (!after) return;
    const { box, category_id } = after;
    const strokes = strokesOf(this.editor.steps, id);
    this.ask({ image_id, box, category_id, instance_id: id, strokes });
  }

  /** A stroke came to nothing: ask again for what it interrupted, which may be stored already. */
  private resume(): void {
    const { interrupted } = this;
    this.interrupted = null;
    if (interrupted) this.ask(interrupted);
  }

  private ask(placeholder: Omit<Placeholder, "key">): void {
    const seconds = this.stopwatch.lap();
    void this.proposals.propose({ ...placeholder, seconds, key: `${PAGE}-${++this.requests}` });
  }

  private async read(imageId: number): Promise<readonly Annotation[] | null> {
    try {
      return await this.server.annotations(imageId);
    } catch (error) {
      this.ports.tell(`Not up to date: ${textOf(error)}`, "error");
      return null;
    }
  }

  private adopt(one: Annotation): void {
    const isAtHand = this.editor.strokingId === one.id || this.proposals.isRunning(one.id);
    if (isAtHand || this.saves.waiting(one.id)) return;
    this.saves.learn(one.id, one.version);
    this.editor.receive(one);
  }

  private makeSaves(): SaveQueue {
    return new SaveQueue({
      send: this.server.save.bind(this.server),
      classify,
      wait: this.ports.wait,
      onSaved: this.onSaved.bind(this),
      onConflict: this.onConflict.bind(this),
      onRefused: (change, error) => {
        this.proposals.giveUp(change.id, true);
        this.ports.tell(`Not saved: ${textOf(error)}`, "error");
      },
      onProgress: this.ports.onProgress,
      keep: (id, unsent) => this.keeper?.keepSave(id, unsent),
    });
  }

  private onSaved(annotation: Annotation): void {
    const { id, image_id } = annotation;
    this.ports.outdate(image_id);
    const isMissing = this.editor.version(id) === 0; // the list was older than an undone deletion
    if (isMissing && !this.saves.waiting(id)) this.editor.receive(annotation);
    else this.editor.acknowledge(annotation);
  }

  private onConflict(change: Change, current: Annotation | null, kept: number | null): void {
    this.proposals.giveUp(change.id, true); // the strokes were on another mask than theirs
    this.ports.outdate(change.image_id);
    const isHeld = current !== null && current.version === this.editor.version(change.id);
    const text = this.lossText(change, current, kept, isHeld);
    this.ports.say(isHeld ? "Somebody else works on this image." : "Somebody was first.");
    this.ports.onLate();
    if (current) {
      this.editor.receive(current);
      const conflict = { mine: change, theirs: current, kept };
      this.conflicts.add(conflict);
      this.ports.onConflict(conflict, text);
    } else {
      this.ports.tell(text, "notice");
      void this.refresh(change.image_id);
    }
  }

  private lossText(
    { id }: Change,
    current: Annotation | null,
    kept: number | null,
    isHeld: boolean,
  ): string {
    const number = current?.number ?? this.editor.find(id)?.number;
    const what = number === undefined ? "a mask" : `mask ${number}`;
    const place = kept === null ? "in the history" : `in the history as revision ${kept}`;
    if (isHeld) return `Somebody else works on this image. Yours of ${what} is kept ${place}.`;
    const who = current?.person || "Somebody";
    return `${who} saved ${what} first. Their version is shown; yours is kept ${place}.`;
  }

  private makeProposals(): Proposals {
    const { wait, now, onProgress } = this.ports;
    const ports = {
      ...{ wait, now, onProgress },
      send: this.server.propose.bind(this.server),
      keep: (key: string, box: Placeholder | null) => this.keeper?.keepBox(key, box),
      onAnswer: this.onAnswer.bind(this),
      onConflict: (current: Annotation) => {
        this.ports.outdate(current.image_id);
        this.editor.receive(current);
        const text = `Somebody saved mask ${current.number} first. Their version is shown.`;
        this.ports.tell(text, "notice");
      },
      onFailed: (error: unknown, { strokes }: Placeholder) => {
        const text = textOf(error);
        this.ports.tell(strokes ? `The stroke stays as painted: ${text}` : text, "error");
      },
    };
    return new Proposals(ports, this.saves);
  }

  private makeCreations(): Creations {
    const { wait, onProgress } = this.ports;
    return new Creations(this.editor, this.server, {
      ...{ wait, onProgress, saves: this.saves },
      lap: () => this.stopwatch.lap(),
      say: (text) => {
        this.ports.say(text);
      },
      tell: (text) => {
        this.ports.tell(text, "error");
      },
      onMade: (made) => {
        this.ports.outdate(made.image_id);
        this.ports.onMade(made);
      },
      keep: (key, act) => this.keeper?.keepAct(key, act),
    });
  }

  private onAnswer(made: Annotation, timing: Timing, from: Placeholder): void {
    const begin = this.ports.now();
    this.ports.outdate(made.image_id);
    if (from.ahead) {
      this.adopt(made);
      return;
    }
    if (from.strokes) this.editor.assist(made, from.strokes);
    else this.editor.propose(made, from.instance_id === null);
    this.ports.onAnswer(made, timing, from, begin);
  }
}
