/**
 * Acts that make new instances: parts of a mask, copies, polygons around nothing yet, the other
 * side of a lost race.
 *
 * The server numbers instances, so it is asked first. An act is kept in the browser until all its
 * answers are here, also over a reload; while the studio is away it waits, its boxes dashed. What
 * the server made and what the act changes of others is one step of undo.
 */

import { redrawn } from "./acts";
import { partsOf, separate, split } from "./components";
import type { Editor } from "./editor";
import type { Entry } from "./history";
import { cropOf, type Instance } from "./instance";
import type { Placeholder } from "./proposals";
import { type Crop, cropRect, cut, minus, trim } from "./raster";
import { encode } from "./rle";
import type { SaveQueue } from "./saves";
import { classify, textOf, type Transport } from "./transport";
import type { Annotation, Box, Point, Size, Snapshot, State, Wish } from "./types";

/** An act as it is kept: the instances to make, and the one whose mask they are taken from. */
export interface Act {
  readonly key: string;
  readonly wishes: readonly Wish[]; // one or more, of one image
  readonly divided: Instance | null; // as it was
}

/** What became of an act: some of it is made, it waits for the studio, or nothing is made. */
export type Outcome = "made" | "waits" | "refused";

export interface CreationPorts {
  readonly wait: (seconds: number) => Promise<void>;
  /** Seconds of the person's time since it was asked last. */
  readonly lap: () => number;
  readonly say: (text: string) => void;
  readonly tell: (text: string) => void;
  readonly saves: Pick<SaveQueue, "learn" | "waiting">;
  /** The server made an instance. */
  readonly onMade: (made: Annotation) => void;
  readonly onProgress: () => void;
  /** Keep an act over a crash; null when it is done. */
  readonly keep: (key: string, act: Act | null) => void;
}

interface Picture extends Size {
  readonly id: number;
}

interface Running extends Act {
  losses: number; // failures of the network in a row
  isGivenUp: boolean;
}

const PAGE = [...crypto.getRandomValues(new Uint32Array(2))].map((n) => n.toString(36)).join("");
const FIRST_WAIT = 0.5; // seconds; doubles with each failure
const LONGEST_WAIT = 15;

export class Creations {
  private requests = 0;
  private readonly running = new Map<string, Running>();
  private hasStopped = false;

  constructor(
    private readonly editor: Editor,
    private readonly server: Pick<Transport, "create">,
    private readonly ports: CreationPorts,
  ) {}

  /** Dashed boxes that stand for what an image's acts will make. */
  placeholders(imageId: number): readonly Placeholder[] {
    return [...this.running.values()].flatMap(({ key, wishes }) =>
      wishes
        .filter(({ image_id }) => image_id === imageId)
        .map(({ image_id, category_id, box }) => {
          return { key, image_id, category_id, box, instance_id: null };
        }),
    );
  }

  /** The instances that the network keeps from being made. */
  get lost(): readonly Wish[] {
    return [...this.running.values()].flatMap(({ losses, wishes }) => (losses > 0 ? wishes : []));
  }

  /** Go on with an act of a page that ended. */
  resume(act: Act): void {
    if (act.divided) this.ports.saves.learn(act.divided.id, act.divided.version);
    void this.run(act);
  }

  /** Leave the newest act on an image undone, as a person asks; false when there is none. */
  giveUpNewest(imageId: number): boolean {
    const here = [...this.running.values()].filter(({ wishes }) => wishes[0].image_id === imageId);
    const newest = here.at(-1);
    if (!newest) return false;
    newest.isGivenUp = true;
    this.end(newest.key);
    return true;
  }

  /** Ask no more; what was kept stays for the next page. */
  stop(): void {
    this.hasStopped = true;
    this.running.clear();
  }

  /** Cut the selected mask along a line into several instances; false when it divides nothing. */
  async split(line: readonly Point[]): Promise<Outcome> {
    const item = this.free();
    if (!item) return "refused";
    const crop = cropOf(item.rle);
    const pieces = split(crop, line);
    if (pieces.length > 1) return this.divide(item, pieces.slice(1), "split");
    this.ports.say(
      partsOf(crop).areas.length > 1
        ? "Nothing is cut: the parts are apart already. The Mask menu makes each one a mask."
        : "Nothing is cut: the line must go right through the mask.",
    );
    return "refused";
  }

  /** Make every part of the selected mask an instance; the largest keeps the number. */
  async separate(): Promise<Outcome> {
    const item = this.free();
    if (!item) return "refused";
    const parts = separate(cropOf(item.rle));
    if (parts.length > 1) return this.divide(item, parts.slice(1), "separate");
    this.ports.say("The mask is one part.");
    return "refused";
  }

  /** Make an instance of a mask that a person drew around something new. */
  async add(crop: Crop, reason: string): Promise<Outcome> {
    const { image, categoryId, heldBy, obstacle } = this.editor;
    if (heldBy !== "") this.ports.say(obstacle);
    if (!image || heldBy !== "") return "refused";
    if (categoryId !== 0) return this.begin([wish(image, crop, "corrected", categoryId, reason)]);
    this.ports.tell("Add a category first: press + in the panel, or ask an admin for one.");
    return "refused";
  }

  /** Put copies of the chosen masks on another image, at the same pixels, to be reviewed there. */
  async copy(to: Picture): Promise<Outcome> {
    const frame = { x0: 0, y0: 0, x1: to.width, y1: to.height };
    const wishes = this.editor.chosen.flatMap(({ rle, category_id }) => {
      const there = trim(cut(cropOf(rle), frame));
      return there.w === 0 ? [] : [wish(to, there, "proposed", category_id, "copy")];
    });
    if (wishes.length > 0) return this.begin(wishes);
    this.ports.say("Select a mask that also fits on the next image.");
    return "refused";
  }

  /** Make an instance of the person's side of a lost race, beside the one that stands. */
  keepBoth(image_id: number, mine: Snapshot, from_id: number): void {
    void this.begin([{ ...mine, state: stateOfCopy(mine), image_id, reason: "both", from_id }]);
  }

  private free(): Instance | null {
    const { obstacle, selected } = this.editor;
    const isIt = ({ divided }: Act): boolean => divided !== null && divided.id === selected?.id;
    const isBusy = [...this.running.values()].some(isIt);
    const reason = isBusy ? "This mask is being divided: wait for the studio." : obstacle;
    if (reason !== "") this.ports.say(reason);
    return reason === "" ? selected : null;
  }

  private divide(item: Instance, parts: readonly Crop[], reason: string): Promise<Outcome> {
    const { image } = this.editor;
    if (!image) return Promise.resolve("refused");
    const { id, category_id } = item;
    const one = (part: Crop): Wish => ({
      ...wish(image, part, "corrected", category_id, reason),
      from_id: id,
    });
    return this.begin(parts.map(one), item);
  }

  private begin(wishes: readonly Wish[], divided: Instance | null = null): Promise<Outcome> {
    const [first, ...rest] = wishes;
    const timed = [{ ...first, seconds: this.ports.lap() }, ...rest];
    return this.run({ key: `${PAGE}-made-${++this.requests}`, wishes: timed, divided });
  }

  /** Do an act; resolves at the first failure that may pass, and goes on with it by itself. */
  private run(act: Act): Promise<Outcome> {
    const running: Running = { ...act, losses: 0, isGivenUp: false };
    this.running.set(act.key, running);
    this.ports.keep(act.key, act);
    this.ports.onProgress();
    return new Promise((resolve) => {
      const onLoss = (): void => {
        resolve("waits");
      };
      void this.make(running, onLoss).then((made) => {
        if (this.hasStopped) return;
        if (made.length > 0) this.finish(running, made);
        if (!running.isGivenUp) this.end(act.key);
        resolve(made.length > 0 ? "made" : "refused");
      });
    });
  }

  private end(key: string): void {
    this.running.delete(key);
    this.ports.keep(key, null);
    this.ports.onProgress();
  }

  /** Ask for the instances one by one; what the server could not make is left out and told. */
  private async make(act: Running, onLoss: () => void): Promise<readonly Annotation[]> {
    const made: Annotation[] = [];
    try {
      for (const [index, one] of act.wishes.entries()) {
        const found = await this.ask(act, { ...one, request_id: `${act.key}-${index}` }, onLoss);
        if (!found) return made;
        made.push(found);
      }
    } catch (error) {
      this.ports.tell(`Not done: ${textOf(error)}`);
    }
    return made;
  }

  /** Send a wish, and again while the network or a busy server may be to blame; null when left. */
  private async ask(
    act: Running,
    body: Wish & { readonly request_id: string },
    onLoss: () => void,
  ): Promise<Annotation | null> {
    while (!act.isGivenUp && !this.hasStopped) {
      try {
        const made = await this.server.create(body);
        act.losses = 0;
        return made;
      } catch (error) {
        const failure = classify(error);
        if (failure.kind !== "retry") throw error;
        const seconds = Math.min(FIRST_WAIT * 2 ** act.losses, LONGEST_WAIT);
        act.losses += 1;
        onLoss();
        this.ports.onProgress();
        await this.ports.wait(failure.after ?? seconds);
      }
    }
    return null;
  }

  /** Show what was made, take it from the mask that was divided, and tell those who keep account. */
  private finish({ wishes, divided }: Act, made: readonly Annotation[]): void {
    const { saves, onMade, say } = this.ports;
    for (const one of made) saves.learn(one.id, one.version);
    this.editor.adopt(made, divided ? this.rest(divided, made) : [], wishes[0].reason);
    for (const one of made) onMade(one);
    if (divided) say(`Mask ${divided.number} is now ${made.length + 1} masks.`);
  }

  /** What the act leaves of the mask it divides, which may have been painted on meanwhile. */
  private rest(divided: Instance, made: readonly Annotation[]): Entry[] {
    const { image_id, id } = divided;
    const isHere = this.editor.image?.id === image_id;
    const waiting = this.ports.saves.waiting(id);
    const away = waiting ? waiting.after && { ...divided, ...waiting.after } : divided;
    const now = isHere ? this.editor.find(id) : away;
    if (!now?.rle) return [];
    const [height, width] = now.rle.size;
    const left = made.reduce((crop, { rle }) => minus(crop, cropOf(rle)), cropOf(now.rle));
    return redrawn(now, left, { width, height }).map((entry) => tightened(entry, left));
  }
}

/** What is left of a divided mask has the box that fits it. */
function tightened(entry: Entry, left: Crop): Entry {
  return { ...entry, after: entry.after && { ...entry.after, box: boxOfCrop(left) } };
}

function boxOfCrop(crop: Crop): Box {
  const { x0, y0, x1, y1 } = cropRect(trim(crop));
  return [x0, y0, x1, y1];
}

function wish(image: Picture, crop: Crop, state: State, category_id: number, reason: string): Wish {
  const rle = encode(crop, image.height, image.width);
  const snapshot: Snapshot = { state, category_id, box: boxOfCrop(crop), rle };
  return { ...snapshot, image_id: image.id, reason, from_id: null };
}

/** The state in which a copy of a mask can begin: nothing starts its life refused or gone. */
function stateOfCopy({ state, rle }: Snapshot): State {
  if (rle === null) return "proposed";
  return state === "accepted" ? "accepted" : "corrected";
}
