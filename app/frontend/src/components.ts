/** The parts of a mask, pixels that touch by side or corner, and cutting one into several. */

import { type Crop, EMPTY, stampCapsule, trim } from "./raster";
import type { Point } from "./types";

const KNIFE = 0.75; // radius of a cut in pixels: wide enough to part what touches by a corner
const CRUMB = 0.005; // of the area that was cut: what is smaller is no part of its own
const NEIGHBOURS = [
  ...[-1, 0, 1].map((dx) => [dx, -1] as const),
  ...[[-1, 0] as const, [1, 0] as const],
  ...[-1, 0, 1].map((dx) => [dx, 1] as const),
];

/** Which part each pixel belongs to, from 1 in reading order, 0 outside; and the parts' sizes. */
export interface Parts {
  readonly labels: Int32Array;
  readonly areas: readonly number[]; // of part 1 first
}

export function partsOf(crop: Crop): Parts {
  const labels = new Int32Array(crop.data.length);
  const areas: number[] = [];
  for (let at = crop.data.indexOf(1); at >= 0; at = crop.data.indexOf(1, at + 1)) {
    if (labels[at] !== 0) continue;
    areas.push(spread(crop, labels, [at], areas.length + 1));
  }
  return { labels, areas };
}

/** The largest part alone; of two alike, the first in reading order. */
export function largestPart(crop: Crop): Crop {
  const { labels, areas } = partsOf(crop);
  return areas.length < 2 ? crop : pick(crop, labels, areas.indexOf(Math.max(...areas)) + 1);
}

/** Every part as a mask of its own, the largest first. */
export function separate(crop: Crop): readonly Crop[] {
  const { labels, areas } = partsOf(crop);
  return bySize(areas).map((label) => pick(crop, labels, label));
}

/**
 * Cut a mask along a line.
 *
 * The pixels under the line go to the part they are nearest to, and so do crumbs, so that the
 * pieces together are the mask. Parts that the line does not divide stay with the first piece.
 *
 * Returns the pieces: the first holds the largest that was cut; only one when nothing was.
 */
export function split(crop: Crop, line: readonly Point[]): readonly Crop[] {
  const whole = partsOf(crop);
  const { pieces, labels } = cutAlong(crop, line, whole);
  if (pieces.length < 2) return [crop];
  const [first, ...rest] = pieces;
  const others = new Set(rest);
  const home = labels.map((label) => (label === 0 || others.has(label) ? label : first));
  return [first, ...rest].map((label) => pick(crop, home, label));
}

/** The labels after a cut, and which of them are pieces of a part that it divided. */
function cutAlong(
  crop: Crop,
  line: readonly Point[],
  whole: Parts,
): { pieces: readonly number[]; labels: Int32Array } {
  const left = { ...crop, data: crop.data.slice() };
  line.slice(1).forEach((to, i) => {
    stampCapsule(left, line[i], to, KNIFE, 0);
  });
  const { labels, areas } = partsOf(left);
  const origin = areas.map((_, i) => whole.labels[labels.indexOf(i + 1)]);
  const isPiece = areas.map((area, i) => area > CRUMB * whole.areas[origin[i] - 1]);
  const count = (part: number): number =>
    origin.filter((one, i) => isPiece[i] && one === part).length;
  const kept = labels.map((label) => (label > 0 && isPiece[label - 1] ? label : 0));
  nearest(crop, kept, whole);
  const divided = bySize(areas).filter(
    (label) => isPiece[label - 1] && count(origin[label - 1]) > 1,
  );
  return { pieces: divided, labels: kept };
}

/** Give pixels of the mask without a label that of the nearest labelled one, step by step. */
function nearest(crop: Crop, labels: Int32Array, whole: Parts): void {
  let front: number[] = [];
  labels.forEach((label, at) => {
    if (label > 0) front.push(at);
  });
  while (front.length > 0) {
    const next: number[] = [];
    for (const at of front) {
      around(crop, at, (beside) => {
        if (labels[beside] !== 0 || whole.labels[beside] !== whole.labels[at]) return;
        labels[beside] = labels[at];
        next.push(beside);
      });
    }
    front = next;
  }
  labels.forEach((label, at) => {
    if (label === 0 && crop.data[at] === 1) labels[at] = -1; // a part that the cut took whole
  });
}

/** Label a part from its first pixels on; returns its size. */
function spread(crop: Crop, labels: Int32Array, open: number[], label: number): number {
  let area = open.length;
  for (const at of open) labels[at] = label;
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    around(crop, at, (beside) => {
      if (labels[beside] !== 0) return;
      labels[beside] = label;
      area += 1;
      open.push(beside);
    });
  }
  return area;
}

/** Visit the pixels of the mask that touch one by side or corner. */
function around({ w, h, data }: Crop, at: number, visit: (beside: number) => void): void {
  const [x, y] = [at % w, Math.floor(at / w)];
  for (const [dx, dy] of NEIGHBOURS) {
    const [nx, ny] = [x + dx, y + dy];
    if (nx < 0 || ny < 0 || nx >= w || ny >= h) continue;
    if (data[ny * w + nx] === 1) visit(ny * w + nx);
  }
}

function bySize(areas: readonly number[]): number[] {
  return areas.map((_, i) => i + 1).sort((a, b) => areas[b - 1] - areas[a - 1] || a - b);
}

function pick(crop: Crop, labels: Int32Array, label: number): Crop {
  if (crop.w === 0) return EMPTY;
  const data = Uint8Array.from(labels, (one) => Number(one === label));
  return trim({ ...crop, data });
}
