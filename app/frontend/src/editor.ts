/**
 * The model of the canvas: the instances of one image and what a person does to them.
 *
 * Pure: no DOM, no network, no clock. Every act changes the instances at once and tells the
 * listener what to save, which pixels to paint again, or that something else is to be shown.
 */

import { clamp } from "./boxes";
import { History } from "./history";
import { capsuleReach, type Crop, grow, hit, stampCapsule, trim } from "./raster";
import { areaOf, decode, encode } from "./rle";
import type { Annotation, Box, Change, Point, Rect, Rle, Size, Snapshot, Tool } from "./types";

/** An annotation with its mask as pixels; `crop` runs ahead of `rle` while a stroke lasts. */
export interface Instance extends Annotation {
  readonly crop: Crop;
}

/** A box being drawn or changed that nobody has confirmed yet; id null makes a new instance. */
export interface Draft {
  readonly id: number | null;
  readonly box: Box;
}

export interface ImageRef extends Size {
  readonly id: number;
}

export type EditorEvent =
  | { readonly kind: "edit"; readonly change: Change }
  | { readonly kind: "stroke"; readonly id: number } // one begins on an instance
  | { readonly kind: "mask"; readonly id: number; readonly rect: Rect | null } // null: all of it
  | { readonly kind: "view" };

interface Stroke {
  readonly id: number;
  readonly value: 0 | 1;
  readonly before: Crop;
  last: Point;
}

const NOWHERE: Rect = { x0: 0, y0: 0, x1: 0, y1: 0 }; // the pixels are as they were
const SLACK = 64; // pixels a crop grows beyond a stroke
export const MOST_RADIUS = 256;
export const LEAST_RADIUS = 0.5;

export class Editor {
  image: ImageRef | null = null;
  tool: Tool = "box";
  radius = 10; // of the brush, image pixels
  categoryId = 0; // of the next box
  selectedId: number | null = null;
  draft: Draft | null = null;
  strokes = 0;
  private readonly items = new Map<number, Instance>();
  private readonly ghosts = new Map<number, Instance>(); // deleted ones of images left behind
  private readonly history = new History();
  private stroke: Stroke | null = null;

  constructor(private readonly emit: (event: EditorEvent) => void) {}

  // -- what there is ---------------------------------------------------------------------------

  /** The instances in order of their numbers, without deleted ones. */
  get instances(): readonly Instance[] {
    const shown = [...this.items.values()].filter((item) => item.state !== "deleted");
    return shown.sort((a, b) => a.number - b.number);
  }

  get selected(): Instance | null {
    const item = this.selectedId === null ? undefined : this.items.get(this.selectedId);
    return item && item.state !== "deleted" ? item : null;
  }

  /** The version of an instance of the open image; 0 when it is not here. */
  version(id: number): number {
    return this.items.get(id)?.version ?? 0;
  }

  get isStroking(): boolean {
    return this.stroke !== null;
  }

  get strokingId(): number | null {
    return this.stroke?.id ?? null;
  }

  get undoable(): number {
    return this.image ? this.history.undoable(this.image.id) : 0;
  }

  get redoable(): number {
    return this.image ? this.history.redoable(this.image.id) : 0;
  }

  // -- images and the server's word -------------------------------------------------------------

  open(image: ImageRef, annotations: readonly Annotation[]): void {
    this.close();
    this.image = image;
    for (const ghost of this.ghosts.values()) {
      if (ghost.image_id === image.id) this.items.set(ghost.id, ghost);
    }
    for (const annotation of annotations) this.items.set(annotation.id, withCrop(annotation));
    this.show();
  }

  close(): void {
    for (const item of this.items.values()) {
      if (item.state === "deleted") this.ghosts.set(item.id, item);
      else this.ghosts.delete(item.id);
    }
    this.items.clear();
    this.image = null;
    this.selectedId = null;
    this.draft = null;
    this.stroke = null;
    this.show();
  }

  /** Show the server's version of an instance in place of ours. */
  receive(annotation: Annotation): void {
    if (annotation.image_id !== this.image?.id) return;
    if (this.stroke?.id === annotation.id) this.stroke = null;
    this.items.set(annotation.id, withCrop(annotation));
    this.repaint(annotation.id, null);
  }

  /** Take over what only the server knows of a saved instance; the mask on screen is newer. */
  acknowledge(annotation: Annotation): void {
    const item = this.items.get(annotation.id);
    if (!item) return;
    const { version, score, flagged, model_id, model, person, saved_at } = annotation;
    const known = { version, score, flagged, model_id, model, person, saved_at };
    this.items.set(item.id, { ...item, ...known });
    this.show();
  }

  /**
   * Take a model's answer as an act of the person who asked: it can be undone.
   *
   * An answer for an old instance of an image that was left meanwhile leaves no entry, since
   * what it replaced is not here any more; neither does a new one that is here already.
   */
  propose(annotation: Annotation, isNew: boolean): void {
    const { id, image_id } = annotation;
    if (isNew && this.items.has(id)) return;
    const isHere = image_id === this.image?.id;
    const old = this.items.get(id);
    const before = isNew || !old ? null : snapshotOf(old);
    if (isNew || isHere) {
      this.history.record(image_id, { id, before, after: snapshotOf(annotation) });
    }
    this.receive(annotation);
    if (isHere && !this.stroke && !this.draft) this.select(id);
  }

  /** Show a change that still waits to be saved on top of what the server sent. */
  overlay(change: Change): void {
    const item = this.items.get(change.id);
    if (item) this.apply(item, change.after);
  }

  // -- choosing ---------------------------------------------------------------------------------

  select(id: number | null): void {
    this.selectedId = id;
    if (this.draft?.id !== undefined && this.draft.id !== id) this.draft = null;
    this.show();
  }

  /** The instance under a point: of several, the smallest. */
  at(point: Point): Instance | null {
    const under = this.instances.filter((item) => hit(item.crop, point));
    const size = ({ rle }: Instance): number => (rle ? areaOf(rle) : 0);
    return under.sort((a, b) => size(a) - size(b)).at(0) ?? null;
  }

  /** Select the next (or previous) instance in order of numbers, round and round. */
  step(by: 1 | -1): void {
    const all = this.instances;
    if (all.length === 0) return;
    const at = all.findIndex((item) => item.id === this.selectedId);
    const start = at < 0 && by < 0 ? 0 : at;
    this.select(all[(start + by + all.length) % all.length].id);
  }

  /** Select the next instance nobody has looked at; false when there is none. */
  stepToProposed(): boolean {
    const all = this.instances;
    const at = all.findIndex((item) => item.id === this.selectedId);
    const rest = [...all.slice(at + 1), ...all.slice(0, Math.max(at, 0))];
    const next = rest.find((item) => item.state === "proposed");
    if (next) this.select(next.id);
    return next !== undefined;
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    this.draft = null;
    this.show();
  }

  setRadius(radius: number): void {
    this.radius = clamp(Math.round(radius * 2) / 2, LEAST_RADIUS, MOST_RADIUS);
    this.show();
  }

  /** The category of new boxes, and of the selected instance unless boxes are being drawn. */
  setCategory(categoryId: number): void {
    this.categoryId = categoryId;
    const item = this.tool === "box" ? null : this.selected;
    if (item && item.category_id !== categoryId) {
      this.change(item, { category_id: categoryId }, "category");
    }
    this.show();
  }

  setDraft(draft: Draft | null): void {
    this.draft = draft;
    this.show();
  }

  // -- acts -------------------------------------------------------------------------------------

  accept(): void {
    const item = this.selected;
    if (!item || item.state === "accepted" || item.rle === null) return;
    this.change(item, { state: "accepted" }, "accept");
    this.stepToProposed();
  }

  /** Give an instance another box and leave its mask alone. */
  setBox(id: number, box: Box): void {
    const item = this.items.get(id);
    if (item && box.join() !== item.box.join()) this.change(item, { box }, "box");
  }

  reject(): void {
    const item = this.selected;
    if (!item || item.state === "rejected") return;
    this.change(item, { state: "rejected" }, "reject");
    this.stepToProposed();
  }

  remove(): void {
    const item = this.selected;
    if (!item) return;
    const before = snapshotOf(item);
    this.perform({ id: item.id, before, after: null }, "delete");
  }

  undo(): boolean {
    if (!this.image || this.stroke) return false;
    const entry = this.history.undo(this.image.id);
    if (entry) this.restore(entry.id, entry.before, "undo");
    return entry !== null;
  }

  redo(): boolean {
    if (!this.image || this.stroke) return false;
    const entry = this.history.redo(this.image.id);
    if (entry) this.restore(entry.id, entry.after, "redo");
    return entry !== null;
  }

  // -- brush ------------------------------------------------------------------------------------

  /** Put the brush (1) or eraser (0) down on the selected instance; false when none is. */
  beginStroke(at: Point, value: 0 | 1): boolean {
    const item = this.selected;
    if (!item || !this.image) return false;
    this.emit({ kind: "stroke", id: item.id });
    const before = { ...item.crop, data: item.crop.data.slice() };
    this.stroke = { id: item.id, value, before, last: at };
    this.extendStroke(at);
    return true;
  }

  extendStroke(to: Point): void {
    const item = this.stroke && this.items.get(this.stroke.id);
    if (!this.stroke || !item || !this.image) return;
    const { last, value } = this.stroke;
    const reach = capsuleReach(last, to, this.radius, this.image);
    const crop = value === 1 ? grow(item.crop, reach, this.image, SLACK) : item.crop;
    const rect = stampCapsule(crop, last, to, this.radius, value);
    this.stroke.last = to;
    if (crop !== item.crop) this.items.set(item.id, { ...item, crop });
    this.emit({ kind: "mask", id: item.id, rect });
  }

  /** Lift the brush: the mask becomes a correction and is to be saved. */
  endStroke(): void {
    const stroke = this.stroke;
    const item = stroke && this.items.get(stroke.id);
    this.stroke = null;
    if (!stroke || !item || !this.image) return;
    const crop = trim(item.crop);
    const { width, height } = this.image;
    const rle = encode(crop, height, width);
    this.items.set(item.id, { ...item, crop });
    this.strokes += 1;
    const before = snapshotOf(item);
    if (sameMask(rle, item.rle)) this.repaint(item.id, NOWHERE);
    else {
      const after: Snapshot = { ...before, state: "corrected", rle };
      this.items.set(item.id, { ...item, ...after, crop });
      const reason = stroke.value === 1 ? "brush" : "eraser";
      this.perform({ id: item.id, before, after }, reason);
    }
  }

  cancelStroke(): void {
    const stroke = this.stroke;
    const item = stroke && this.items.get(stroke.id);
    this.stroke = null;
    if (!stroke || !item) return;
    this.items.set(item.id, { ...item, crop: stroke.before });
    this.repaint(item.id, null);
  }

  // -- one way for everything that changes ---------------------------------------------------------

  private change(item: Instance, part: Partial<Snapshot>, reason: string): void {
    const before = snapshotOf(item);
    this.perform({ id: item.id, before, after: { ...before, ...part } }, reason);
  }

  private perform(
    entry: { id: number; before: Snapshot; after: Snapshot | null },
    reason: string,
  ): void {
    const item = this.items.get(entry.id);
    if (!item) return;
    this.history.record(item.image_id, entry);
    this.restore(entry.id, entry.after, reason);
  }

  private restore(id: number, after: Snapshot | null, reason: string): void {
    const item = this.items.get(id);
    if (!item) return;
    this.apply(item, after);
    if (after && reason !== "accept" && reason !== "reject") this.selectedId = id;
    this.emit({ kind: "edit", change: { id, image_id: item.image_id, after, reason } });
  }

  private apply(item: Instance, after: Snapshot | null): void {
    if (after === null) this.items.set(item.id, { ...item, state: "deleted" });
    else {
      const crop = after.rle === item.rle ? item.crop : cropOf(after.rle);
      this.items.set(item.id, { ...item, ...after, crop });
    }
    if (after === null && this.selectedId === item.id) this.selectedId = null;
    if (this.draft?.id === item.id) this.draft = null;
    this.repaint(item.id, after?.rle === item.rle ? NOWHERE : null);
  }

  private repaint(id: number, rect: Rect | null): void {
    this.emit({ kind: "mask", id, rect });
    this.show();
  }

  private show(): void {
    this.emit({ kind: "view" });
  }
}

export function snapshotOf({ state, category_id, box, rle }: Snapshot): Snapshot {
  return { state, category_id, box, rle };
}

function withCrop(annotation: Annotation): Instance {
  return { ...annotation, crop: cropOf(annotation.rle) };
}

function cropOf(rle: Rle | null): Crop {
  return rle ? decode(rle) : { x: 0, y: 0, w: 0, h: 0, data: new Uint8Array(0) };
}

function sameMask(a: Rle, b: Rle | null): boolean {
  return b !== null && a.counts === b.counts;
}
