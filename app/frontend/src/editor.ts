/**
 * The model of the canvas: the instances of one image and what a person does to them.
 *
 * Pure: no DOM, no network, no clock. Every act changes the instances at once and tells the
 * listener what to save, which pixels to paint again, or that something else is to be shown.
 */

import { repainted } from "./assist";
import { clamp } from "./boxes";
import { Choice, type Draft, type ImageRef } from "./choice";
import { type Entry, fits, History, type Past, type Step } from "./history";
import { cropOf, type Instance, sameMask, snapshotOf } from "./instance";
import { Patch } from "./patch";
import { encode } from "./rle";
import type { Annotation, Box, Change, Point, Rect, Snapshot, Stroke, Tool } from "./types";

interface Painting {
  readonly id: number;
  readonly patch: Patch; // runs ahead of the instance's mask
  readonly strokes: (Stroke & { readonly points: Point[] })[]; // one for each change of the radius
}

const NOWHERE: Rect = { x0: 0, y0: 0, x1: 0, y1: 0 }; // the pixels are as they were
const REVIEWS: readonly string[] = ["accept", "reject"]; // acts after which one goes on
export const MOST_RADIUS = 256;
export const LEAST_RADIUS = 0.5;

export class Editor extends Choice {
  tool: Tool = "box";
  radius = 10; // of the brush, image pixels
  categoryId = 0; // of the next box
  strokes = 0;
  private readonly ghosts = new Map<number, Instance>(); // deleted ones of images left behind
  private readonly history = new History();
  private stroke: Painting | null = null;

  get isStroking(): boolean {
    return this.stroke !== null;
  }

  get strokingId(): number | null {
    return this.stroke?.id ?? null;
  }

  /** What is being painted on an instance; null while nothing is. */
  patchOf(id: number): Patch | null {
    return this.stroke?.id === id ? this.stroke.patch : null;
  }

  /** Whether the tool at hand makes new boxes, so that a category is meant for them. */
  get drawsBoxes(): boolean {
    return this.tool === "box" || this.tool === "extreme";
  }

  /** The radius of the stroke that is being drawn, or of the next one. */
  get brushRadius(): number {
    return this.stroke?.strokes.at(-1)?.radius ?? this.radius;
  }

  /** Whether the tool at hand is the brush or the eraser. */
  get paints(): boolean {
    return this.tool === "brush" || this.tool === "eraser";
  }

  get undoable(): number {
    return this.image ? this.history.undoable(this.image.id) : 0;
  }

  /** What was done on the open image and not undone, oldest first. */
  get steps(): readonly Step[] {
    return this.image ? this.history.steps(this.image.id) : [];
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
    for (const annotation of annotations) this.items.set(annotation.id, annotation);
    this.show();
  }

  close(): void {
    for (const item of this.items.values()) {
      if (item.state === "deleted") this.ghosts.set(item.id, item);
      else this.ghosts.delete(item.id);
    }
    this.items.clear();
    this.image = null;
    this.stroke = null;
    this.draft = null;
    this.trail = [];
    this.select(null);
  }

  /** Show the server's version of an instance in place of ours. */
  receive(annotation: Annotation): void {
    if (annotation.image_id !== this.image?.id) return;
    if (this.stroke?.id === annotation.id) this.stroke = null;
    this.items.set(annotation.id, annotation);
    this.repaint(annotation.id, null);
  }

  /** Take over what only the server knows of a saved instance; the mask on screen is newer. */
  acknowledge(annotation: Annotation): void {
    const item = this.items.get(annotation.id);
    if (!item) return;
    const { version, score, flagged, model_id, model, person, reason, saved_at } = annotation;
    const known = { version, score, flagged, model_id, model, person, reason, saved_at };
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
      this.history.record(image_id, [{ id, before, after: snapshotOf(annotation) }]);
    }
    this.receive(annotation);
    if (isHere && !this.stroke && !this.draft) this.select(id);
  }

  /**
   * Take a model's answer to strokes: under them the mask stays as painted.
   *
   * It is a correction, and saved as one where the server holds another. While the next stroke
   * is being drawn the answer is dropped, since that stroke will bring a newer one.
   */
  assist(annotation: Annotation, strokes: readonly Stroke[]): void {
    const { id, image_id, rle } = annotation;
    if (!rle || this.stroke?.id === id) return;
    const [height, width] = rle.size;
    const crop = repainted(cropOf(rle), strokes, { width, height });
    const given = snapshotOf(annotation);
    const after: Snapshot = { ...given, state: "corrected", rle: encode(crop, height, width) };
    const old = this.find(id);
    if (old && image_id === this.image?.id) {
      this.history.record(image_id, [{ id, before: snapshotOf(old), after, isAnswer: true }]);
      this.receive({ ...annotation, ...after });
    }
    if (given.state === after.state && sameMask(given.rle, after.rle)) return;
    this.emit({ kind: "edit", change: { id, image_id, after, reason: "assist" } });
  }

  /**
   * Take new instances that the server made for an act, and what the act changes of others.
   *
   * Both are one step of undo of the new ones' image, which need not be open any more.
   */
  adopt(made: readonly Annotation[], changes: readonly Entry[], reason: string): void {
    const fresh = made.filter(({ id }) => !this.items.has(id));
    const { image_id } = made[0];
    const added = fresh.map((one) => ({ id: one.id, before: null, after: snapshotOf(one) }));
    if (changes.length + added.length > 0) this.history.record(image_id, [...changes, ...added]);
    for (const one of fresh) this.receive(one);
    for (const { id, after } of changes) {
      if (this.items.has(id)) this.restore(id, after, reason);
      else this.emit({ kind: "edit", change: { id, image_id, after, reason } });
    }
    if (image_id === this.image?.id) this.select(made[0].id);
  }

  /** Show a change that still waits to be saved on top of what the server sent. */
  overlay(change: Change): void {
    const item = this.items.get(change.id);
    if (item) this.apply(item, change.after);
  }

  // -- tools --------------------------------------------------------------------------------------

  setTool(tool: Tool): void {
    this.tool = tool;
    this.draft = null;
    this.trail = [];
    this.show();
  }

  setRadius(radius: number): void {
    this.radius = clamp(Math.round(radius * 2) / 2, LEAST_RADIUS, MOST_RADIUS);
    this.show();
  }

  /** The category of new boxes, and of the chosen instances unless boxes are being drawn. */
  setCategory(categoryId: number): void {
    this.categoryId = categoryId;
    const items = this.drawsBoxes ? [] : this.chosen;
    const changed = items.filter((item) => item.category_id !== categoryId);
    this.edit(changed, { category_id: categoryId }, "category");
    this.show();
  }

  setDraft(draft: Draft | null): void {
    this.draft = draft;
    this.show();
  }

  // -- acts -------------------------------------------------------------------------------------

  accept(): void {
    const items = this.chosen.filter(({ state, rle }) => state !== "accepted" && rle !== null);
    if (this.edit(items, { state: "accepted" }, "accept")) this.stepToProposed();
  }

  reject(): void {
    const items = this.chosen.filter(({ state }) => state !== "rejected");
    if (this.edit(items, { state: "rejected" }, "reject")) this.stepToProposed();
  }

  remove(): boolean {
    return this.edit(this.chosen, null, "delete");
  }

  /** Give an instance another box and leave its mask alone. */
  setBox(id: number, box: Box): void {
    const item = this.find(id);
    if (item && box.join() !== item.box.join()) this.edit([item], { box }, "box");
  }

  /** Do the same to some instances, as one act; null deletes them. */
  edit(items: readonly Instance[], part: Partial<Snapshot> | null, reason: string): boolean {
    const entries = items.map((item) => {
      const before = snapshotOf(item);
      return { id: item.id, before, after: part && { ...before, ...part } };
    });
    return this.perform(entries, reason);
  }

  /**
   * Do one act to some instances of the image, which undo takes back as one.
   *
   * A locked instance keeps its mask, box and category, and is not deleted. Returns false when
   * nothing was done.
   */
  perform(entries: readonly Entry[], reason: string): boolean {
    const step = entries.filter((entry) => this.items.has(entry.id) && this.isAllowed(entry));
    if (!this.image || step.length === 0 || this.heldBy !== "") return false;
    this.history.record(this.image.id, step);
    for (const { id, after } of step) this.restore(id, after, reason);
    if (step.length === 1 && step[0].after && !REVIEWS.includes(reason)) {
      if (!this.isChosen(step[0].id)) this.select(step[0].id);
    }
    return true;
  }

  /** What can be undone and redone on an image, to be kept for the next page load. */
  past(imageId: number): Past {
    return this.history.past(imageId);
  }

  takeChangedPasts(): readonly number[] {
    return this.history.takeChanged();
  }

  /**
   * Take over what could be undone before a reload; false when others moved on since.
   *
   * An answer that an earlier page asked for may be here already: it comes after the past.
   */
  recall(past: Past): boolean {
    const now = (id: number): Snapshot | null => {
      const item = this.find(id);
      return item && snapshotOf(item);
    };
    if (!this.image || this.redoable > 0) return false;
    const all = this.undoable > 0 ? { done: [...past.done, ...this.steps], undone: [] } : past;
    if (!fits(all, now)) return false;
    this.history.recall(this.image.id, all);
    this.show();
    return true;
  }

  undo(): boolean {
    if (!this.image || this.stroke || this.heldBy !== "") return false;
    const step = this.history.undo(this.image.id);
    if (step) this.bringBack([...step].reverse(), "before", "undo");
    return step !== null;
  }

  redo(): boolean {
    if (!this.image || this.stroke || this.heldBy !== "") return false;
    const step = this.history.redo(this.image.id);
    if (step) this.bringBack(step, "after", "redo");
    return step !== null;
  }

  // -- brush ------------------------------------------------------------------------------------

  /** Put the brush (1) or eraser (0) down on the selected instance; false when none can be. */
  beginStroke(at: Point, value: 0 | 1, radius = this.radius): boolean {
    const item = this.selected;
    if (!item || !this.image || this.obstacle !== "") return false;
    this.emit({ kind: "stroke", id: item.id, isBegin: true });
    const patch = new Patch(item.rle, this.image);
    const strokes = [{ adds: value === 1, radius, points: [at] }];
    this.stroke = { id: item.id, patch, strokes };
    this.extendStroke(at);
    return true;
  }

  /** Go on to a point, from here on with a brush of a radius where it is another. */
  extendStroke(to: Point, radius = this.brushRadius): void {
    if (!this.stroke) return;
    const { id, patch, strokes } = this.stroke;
    const { adds, radius: before, points: past } = strokes[strokes.length - 1];
    const last = past[past.length - 1];
    if (radius !== before) strokes.push({ adds, radius, points: [last] });
    const rect = patch.stamp(last, to, radius, adds ? 1 : 0);
    if (to !== last) strokes[strokes.length - 1].points.push(to);
    this.emit({ kind: "mask", id, rect });
  }

  /** Lift the brush: the mask becomes a correction and is to be saved. */
  endStroke(): void {
    const painting = this.stroke;
    const item = painting && this.items.get(painting.id);
    this.stroke = null;
    if (!painting || !item) return;
    const { rle } = painting.patch;
    this.strokes += 1;
    if (sameMask(rle, item.rle)) {
      this.repaint(item.id, NOWHERE);
      this.emit({ kind: "stroke", id: item.id, isBegin: false });
      return;
    }
    const before = snapshotOf(item);
    const after: Snapshot = { ...before, state: "corrected", rle };
    this.items.set(item.id, { ...item, ...after });
    const { strokes } = painting;
    const reason = strokes[0].adds ? "brush" : "eraser";
    this.perform([{ id: item.id, before, after, strokes }], reason);
  }

  cancelStroke(): void {
    const stroke = this.stroke;
    this.stroke = null;
    if (!stroke) return;
    this.repaint(stroke.id, null);
    this.emit({ kind: "stroke", id: stroke.id, isBegin: false });
  }

  // -- one way for everything that changes ---------------------------------------------------------

  /** Whether an act leaves a locked instance's mask, box and category alone, and others' work. */
  private isAllowed({ id, before, after }: Entry): boolean {
    const person = this.items.get(id)?.person ?? "";
    if (before && this.isForeign({ state: before.state, person })) return false;
    if (!this.isLocked(id)) return true;
    if (!before || !after || !sameMask(before.rle, after.rle)) return false;
    return before.box === after.box && before.category_id === after.category_id;
  }

  /** Bring an earlier or later state back, locked or not, and select what came. */
  private bringBack(step: Step, side: "before" | "after", reason: string): void {
    for (const entry of step) this.restore(entry.id, entry[side], reason);
    const back = step.filter((entry) => entry[side] !== null).map(({ id }) => id);
    if (back.length > 0) this.choose(back);
  }

  private restore(id: number, after: Snapshot | null, reason: string): void {
    const item = this.items.get(id);
    if (!item) return;
    this.apply(item, after);
    this.emit({ kind: "edit", change: { id, image_id: item.image_id, after, reason } });
  }

  private apply(item: Instance, after: Snapshot | null): void {
    const mine = this.person === "" ? {} : { person: this.person };
    this.items.set(item.id, { ...item, ...(after ?? { state: "deleted" }), ...mine });
    if (after === null && this.selectedId === item.id) this.selectedId = null;
    if (this.draft?.id === item.id) this.draft = null;
    this.repaint(item.id, after?.rle === item.rle ? NOWHERE : null);
  }

  private repaint(id: number, rect: Rect | null): void {
    this.emit({ kind: "mask", id, rect });
    this.show();
  }
}
