/**
 * Acts that make new instances: parts of a mask, copies, polygons around nothing yet.
 *
 * The server numbers instances, so it is asked first; when it cannot be reached, nothing has
 * changed and the person is told. What it made and what the act changes of others is one step.
 */

import { redrawn } from "./acts";
import { partsOf, separate, split } from "./components";
import type { Editor } from "./editor";
import type { Gallery } from "./gallery";
import type { Images } from "./images";
import type { Entry } from "./history";
import { cropOf, type Instance } from "./instance";
import { type Crop, cropRect, cut, minus, trim } from "./raster";
import { encode } from "./rle";
import type { SaveQueue } from "./saves";
import { classify, textOf, type Transport } from "./transport";
import type { Annotation, Box, Point, Size, Snapshot, State, Wish } from "./types";

export interface CreationPorts {
  readonly wait: (seconds: number) => Promise<void>;
  readonly say: (text: string) => void;
  readonly tell: (text: string) => void;
  readonly saves: Pick<SaveQueue, "learn">;
  readonly gallery: Pick<Gallery, "addCount"> & { readonly images: Pick<Images, "outdate"> };
}

interface Picture extends Size {
  readonly id: number;
}

const PAGE = [...crypto.getRandomValues(new Uint32Array(2))].map((n) => n.toString(36)).join("");
const TRIES = 4;
const FIRST_WAIT = 0.5; // seconds; doubles with each failure

export class Creations {
  private requests = 0;

  constructor(
    private readonly editor: Editor,
    private readonly server: Pick<Transport, "create">,
    private readonly ports: CreationPorts,
  ) {}

  /** Cut the selected mask along a line into several instances; false when it divides nothing. */
  async split(line: readonly Point[]): Promise<boolean> {
    const item = this.free();
    if (!item) return false;
    const crop = cropOf(item.rle);
    const pieces = split(crop, line);
    if (pieces.length > 1) return this.divide(item, pieces.slice(1), "split");
    this.ports.say(
      partsOf(crop).areas.length > 1
        ? "Nothing is cut: the parts are apart already. The Mask menu makes each one a mask."
        : "Nothing is cut: the line must go right through the mask.",
    );
    return false;
  }

  /** Make every part of the selected mask an instance; the largest keeps the number. */
  async separate(): Promise<boolean> {
    const item = this.free();
    if (!item) return false;
    const parts = separate(cropOf(item.rle));
    if (parts.length > 1) return this.divide(item, parts.slice(1), "separate");
    this.ports.say("The mask is one part.");
    return false;
  }

  /** Make an instance of a mask that a person drew around something new. */
  async add(crop: Crop, reason: string): Promise<boolean> {
    const { image, categoryId } = this.editor;
    if (!image) return false;
    if (categoryId === 0) {
      this.ports.tell("Add a category first: press + in the panel.");
      return false;
    }
    const made = await this.make([wish(image, crop, "corrected", categoryId, reason, null)]);
    if (made.length > 0) this.editor.adopt(made, [], reason);
    return made.length > 0;
  }

  /** Put copies of the chosen masks on another image, at the same pixels, to be reviewed there. */
  async copy(to: Picture): Promise<boolean> {
    const frame = { x0: 0, y0: 0, x1: to.width, y1: to.height };
    const wishes = this.editor.chosen.flatMap(({ rle, category_id }) => {
      const there = trim(cut(cropOf(rle), frame));
      return there.w === 0 ? [] : [wish(to, there, "proposed", category_id, "copy", null)];
    });
    if (wishes.length === 0) {
      this.ports.say("Select a mask that also fits on the next image.");
      return false;
    }
    const made = await this.make(wishes);
    if (made.length > 0) this.editor.adopt(made, [], "copy");
    return made.length > 0;
  }

  private free(): Instance | null {
    const { obstacle, selected } = this.editor;
    if (obstacle !== "") this.ports.say(obstacle);
    return obstacle === "" ? selected : null;
  }

  private async divide(item: Instance, parts: readonly Crop[], reason: string): Promise<boolean> {
    const { image } = this.editor;
    if (!image) return false;
    const { id, category_id, number } = item;
    const made = await this.make(
      parts.map((part) => wish(image, part, "corrected", category_id, reason, id)),
    );
    if (made.length === 0) return false;
    const now = this.editor.find(id) ?? item; // it may have been painted on meanwhile
    const left = made.reduce((crop, { rle }) => minus(crop, cropOf(rle)), cropOf(now.rle));
    const entries = redrawn(now, left, image).map((entry) => tightened(entry, left));
    this.editor.adopt(made, entries, reason);
    this.ports.say(`Mask ${number} is now ${made.length + 1} masks.`);
    return true;
  }

  /** Ask for the instances one by one; what the server could not make is left out and told. */
  private async make(wishes: readonly Wish[]): Promise<readonly Annotation[]> {
    const made: Annotation[] = [];
    try {
      for (const one of wishes) {
        const name = `${PAGE}-made-${++this.requests}`;
        made.push(await this.ask({ ...one, request_id: name }));
      }
    } catch (error) {
      this.ports.tell(`Not done: ${textOf(error)}`);
    }
    for (const one of made) this.note(one);
    return made;
  }

  /** Tell those who keep account of versions, lists and counts. */
  private note({ id, version, image_id, state }: Annotation): void {
    const { saves, gallery } = this.ports;
    saves.learn(id, version);
    gallery.images.outdate(image_id);
    if (image_id !== this.editor.image?.id) gallery.addCount(image_id, state);
  }

  /** Send a wish, and again while the network or a busy server may be to blame. */
  private async ask(body: Wish & { readonly request_id: string }): Promise<Annotation> {
    for (let failures = 1; ; failures++) {
      try {
        return await this.server.create(body);
      } catch (error) {
        const failure = classify(error);
        if (failure.kind !== "retry" || failures === TRIES) throw error;
        await this.ports.wait(failure.after ?? FIRST_WAIT * 2 ** (failures - 1));
      }
    }
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

function wish(
  image: Picture,
  crop: Crop,
  state: State,
  category_id: number,
  reason: string,
  from_id: number | null,
): Wish {
  const rle = encode(crop, image.height, image.width);
  const snapshot: Snapshot = { state, category_id, box: boxOfCrop(crop), rle };
  return { ...snapshot, image_id: image.id, reason, from_id };
}
