/**
 * What a person does to whole masks: shapes, merging, giving up what neighbours hold.
 *
 * Each act is one step of undo, for all chosen masks together, and answers with what to say.
 */

import { largestPart } from "./components";
import type { Editor } from "./editor";
import type { Entry } from "./history";
import { cropOf, type Instance, sameMask, snapshotOf } from "./instance";
import { dilate, erode, fillHoles, smooth } from "./morphology";
import { type Crop, EMPTY, minus, union } from "./raster";
import { encode } from "./rle";
import type { Box, Size, Snapshot } from "./types";

/** Another shape for a mask; `reason` is what the history says of it. */
export interface Shape {
  readonly make: (crop: Crop, image: Size) => Crop;
  readonly reason: string;
  readonly done: string;
  readonly nothing: string;
}

function shape(make: Shape["make"], reason: string, done: string, nothing: string): Shape {
  return { make, reason, done, nothing };
}

export const SHAPES = {
  fill: shape(fillHoles, "fill holes", "Holes filled.", "There is no hole."),
  largest: shape(largestPart, "largest part", "Largest part kept.", "The mask is one part."),
  smooth: shape(smooth, "smooth", "Smoothed.", "It is smooth already."),
  grow: shape(dilate, "grow", "Grown by one pixel.", "There is nothing to grow."),
  shrink: shape(erode, "shrink", "Shrunk by one pixel.", "Nothing would be left."),
} as const;

/** Give every chosen mask another shape; one that would be empty stays as it is. */
export function reshape(editor: Editor, { make, reason, done, nothing }: Shape): string {
  const { image, obstacle } = editor;
  if (!image || obstacle !== "") return obstacle;
  const entries = editor.chosen.flatMap((item) =>
    redrawn(item, make(cropOf(item.rle), image), image),
  );
  return editor.perform(entries, reason) ? done : nothing;
}

/** Make the chosen masks one, which keeps the place and category of the selected. */
export function merge(editor: Editor): string {
  const { image, chosen } = editor;
  if (!image || chosen.length < 2) return "Choose two or more masks first, with Shift and a click.";
  const locked = chosen.find(({ id }) => editor.isLocked(id));
  if (locked) return `Mask ${locked.number} is locked. Unlock it first.`;
  const foreign = chosen.find((one) => editor.isForeign(one));
  if (foreign)
    return `Only a reviewer changes mask ${foreign.number}, which ${foreign.person} made.`;
  const [first, ...rest] = chosen;
  const crop = chosen.reduce((sum, item) => union(sum, cropOf(item.rle), image), EMPTY);
  const before = snapshotOf(first);
  const rle = encode(crop, image.height, image.width);
  const after: Snapshot = { ...before, state: "corrected", rle, box: boxAround(chosen) };
  const gone = rest.map((item) => ({ id: item.id, before: snapshotOf(item), after: null }));
  editor.perform([{ id: first.id, before, after }, ...gone], "merge");
  editor.select(first.id);
  return `${chosen.length} masks merged into mask ${first.number}.`;
}

/** Take from the chosen masks what any other mask holds too; hidden and rejected ones don't count. */
export function removeOverlap(editor: Editor): string {
  const { image, obstacle } = editor;
  if (!image || obstacle !== "") return obstacle;
  const counts = (item: Instance): boolean =>
    !editor.isChosen(item.id) && editor.isShown(item) && item.state !== "rejected";
  const neighbours = editor.instances.filter(counts);
  const entries = editor.chosen.flatMap((item) => {
    const whole = cropOf(item.rle);
    const left = neighbours.reduce((crop, { rle }) => minus(crop, cropOf(rle)), whole);
    return redrawn(item, left, image);
  });
  const isDone = editor.perform(entries, "overlap");
  return isDone ? "Overlap with the neighbours removed." : "No overlap that could be removed.";
}

/** The entry that gives an instance another mask; none when that is the same, or empty. */
export function redrawn(item: Instance, crop: Crop, image: Size): Entry[] {
  const rle = encode(crop, image.height, image.width);
  if (crop.w === 0 || sameMask(rle, item.rle)) return [];
  const before = snapshotOf(item);
  return [{ id: item.id, before, after: { ...before, state: "corrected", rle } }];
}

function boxAround(items: readonly Instance[]): Box {
  const side = (index: 0 | 1 | 2 | 3): number[] => items.map(({ box }) => box[index]);
  return [Math.min(...side(0)), Math.min(...side(1)), Math.max(...side(2)), Math.max(...side(3))];
}
