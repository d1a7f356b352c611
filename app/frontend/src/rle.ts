/**
 * COCO run-length codes, byte-equal to pycocotools.
 *
 * A mask is the runs of the whole image in column-major order, zeros first, each run written in
 * characters of 5 bits, low first (32 marks "more", 16 the sign); from the fourth run on the
 * difference from the run two before it is written. Only the crop around an object is ever dense.
 */

import { type Crop, EMPTY } from "./raster";
import type { Point, Rect, Rle } from "./types";

const BLOCK = 32; // columns transposed together, so that the column walk stays in the cache

const areas = new WeakMap<Rle, number>();
const bounds = new WeakMap<Rle, Rect>();
const NOWHERE: Rect = { x0: 0, y0: 0, x1: 0, y1: 0 };

/** Collect runs of alternating value, merging pieces of the same value. */
class RunWriter {
  readonly runs: number[] = [];
  private value = 0;
  private length = 0;

  add(value: number, length: number): void {
    if (length === 0) return;
    if (value !== this.value) {
      this.runs.push(this.length);
      this.length = 0;
      this.value = value;
    }
    this.length += length;
  }

  close(): number[] {
    if (this.length > 0) this.runs.push(this.length);
    return this.runs;
  }
}

/** Walks along runs from pixel to pixel. */
class RunReader {
  private index = 0;
  private at = 0; // pixels behind us
  private left: number; // of the present run

  constructor(private readonly runs: readonly number[]) {
    this.left = runs.length > 0 ? runs[0] : 0;
  }

  /** Go on to a pixel, or to the end, and write what lies on the way. */
  copy(to: number, writer: RunWriter | null): void {
    while (this.at < to && this.index < this.runs.length) {
      const length = Math.min(this.left, to - this.at);
      writer?.add(this.index % 2, length);
      this.at += length;
      this.left -= length;
      if (this.left === 0 && ++this.index < this.runs.length) this.left = this.runs[this.index];
    }
  }
}

/** Write a crop as the code of the whole height x width image. */
export function encode(crop: Crop, height: number, width: number): Rle {
  return { size: [height, width], counts: runsToText(cropToRuns(crop, height, width)) };
}

/** Read a code into the tight crop of its mask; an empty mask gives a crop of no pixels. */
export function decode(rle: Rle): Crop {
  const [height] = rle.size;
  const runs = textToRuns(rle.counts);
  const box = tightBox(runs, height);
  if (!box) return EMPTY;
  const crop = { ...box, data: new Uint8Array(box.w * box.h) };
  fillRuns(crop, runs, height);
  return crop;
}

/** Number of pixels of a mask; remembered, since it is asked for while the pointer moves. */
export function areaOf(rle: Rle): number {
  let known = areas.get(rle);
  if (known === undefined) {
    known = textToRuns(rle.counts).reduce((sum, run, i) => (i % 2 === 1 ? sum + run : sum), 0);
    areas.set(rle, known);
  }
  return known;
}

/** The tight rectangle of a mask, remembered; one of no pixels when the mask has none. */
export function boundsOf(rle: Rle): Rect {
  let known = bounds.get(rle);
  if (!known) {
    const box = tightBox(textToRuns(rle.counts), rle.size[0]);
    known = box ? { x0: box.x, y0: box.y, x1: box.x + box.w, y1: box.y + box.h } : NOWHERE;
    bounds.set(rle, known);
  }
  return known;
}

/** True when the pixel that holds the point belongs to the mask. */
export function holds(rle: Rle, [px, py]: Point): boolean {
  const [x, y, { x0, y0, x1, y1 }] = [Math.floor(px), Math.floor(py), boundsOf(rle)];
  if (x < x0 || y < y0 || x >= x1 || y >= y1) return false;
  const at = x * rle.size[0] + y;
  let end = 0;
  return textToRuns(rle.counts).findIndex((run) => (end += run) > at) % 2 === 1;
}

/** A rectangle of a mask as pixels. */
export function cutRuns(runs: readonly number[], height: number, rect: Rect): Crop {
  const [w, h] = [rect.x1 - rect.x0, rect.y1 - rect.y0];
  const crop = { x: rect.x0, y: rect.y0, w, h, data: new Uint8Array(w * h) };
  eachColumn(runs, height, rect, (x, y0, y1) => {
    for (let y = y0, at = (y0 - crop.y) * w + x - crop.x; y < y1; y++, at += w) crop.data[at] = 1;
  });
  return crop;
}

/** Visit the pieces of columns that a mask has in a rectangle. */
export function eachColumn(
  runs: readonly number[],
  height: number,
  rect: Rect,
  visit: (x: number, y0: number, y1: number) => void,
): void {
  const end = rect.x1 * height;
  let at = 0;
  for (let i = 0; i < runs.length && at < end; at += runs[i++]) {
    const stop = Math.min(at + runs[i], end);
    if (i % 2 === 0 || stop <= rect.x0 * height) continue;
    for (let x = Math.max(rect.x0, Math.floor(at / height)); x * height < stop; x++) {
      const y0 = Math.max(rect.y0, at - x * height);
      const y1 = Math.min(rect.y1, height, stop - x * height);
      if (y0 < y1) visit(x, y0, y1);
    }
  }
}

/** The runs of a mask with the pixels of one rectangle replaced. */
export function splice(runs: readonly number[], crop: Crop, height: number): number[] {
  const columns = new Uint8Array(BLOCK * crop.h);
  const writer = new RunWriter();
  const old = new RunReader(runs);
  for (let left = 0; left < crop.w; left += BLOCK) {
    const count = Math.min(BLOCK, crop.w - left);
    transpose(crop.data, crop.w, crop.h, left, count, columns);
    for (let column = 0; column < count; column++) {
      const start = (crop.x + left + column) * height + crop.y;
      old.copy(start, writer);
      addColumn(writer, columns.subarray(column * crop.h, (column + 1) * crop.h));
      old.copy(start + crop.h, null);
    }
  }
  old.copy(Infinity, writer);
  return writer.close();
}

export function cropToRuns(crop: Crop, height: number, width: number): number[] {
  const { w, h, data } = crop;
  if (w === 0 || h === 0) return [height * width];
  const writer = new RunWriter();
  const columns = new Uint8Array(BLOCK * h);
  writer.add(0, crop.x * height);
  for (let left = 0; left < w; left += BLOCK) {
    const count = Math.min(BLOCK, w - left);
    transpose(data, w, h, left, count, columns);
    for (let column = 0; column < count; column++) {
      writer.add(0, crop.y);
      addColumn(writer, columns.subarray(column * h, (column + 1) * h));
      writer.add(0, height - crop.y - h);
    }
  }
  writer.add(0, (width - crop.x - w) * height);
  return writer.close();
}

export function runsToText(runs: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < runs.length; i++) {
    let rest = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    for (let more = true; more;) {
      let code = rest & 31;
      rest >>= 5;
      more = code & 16 ? rest !== -1 : rest !== 0;
      if (more) code |= 32;
      parts.push(String.fromCharCode(code + 48));
    }
  }
  return parts.join("");
}

export function textToRuns(text: string): number[] {
  const runs: number[] = [];
  for (let at = 0; at < text.length;) {
    let value = 0;
    let shift = 0;
    for (let more = true; more; shift += 5) {
      const code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      more = (code & 32) !== 0;
      if (!more && code & 16) value |= -1 << (shift + 5);
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

function transpose(
  data: Uint8Array,
  w: number,
  h: number,
  left: number,
  count: number,
  out: Uint8Array,
): void {
  for (let y = 0; y < h; y++) {
    const row = y * w + left;
    for (let i = 0; i < count; i++) out[i * h + y] = data[row + i];
  }
}

function addColumn(writer: RunWriter, column: Uint8Array): void {
  for (let start = 0, value = column[0]; start < column.length; value = 1 - value) {
    const turn = column.indexOf(1 - value, start);
    const stop = turn < 0 ? column.length : turn;
    writer.add(value, stop - start);
    start = stop;
  }
}

function tightBox(runs: readonly number[], height: number): Omit<Crop, "data"> | null {
  let [x0, y0, x1, y1] = [Infinity, Infinity, 0, 0];
  let at = 0;
  for (let i = 0; i < runs.length; at += runs[i++]) {
    if (i % 2 === 0 || runs[i] === 0) continue;
    const last = at + runs[i] - 1;
    const [first, end] = [Math.floor(at / height), Math.floor(last / height)];
    x0 = Math.min(x0, first);
    x1 = end + 1;
    y0 = Math.min(y0, first === end ? at % height : 0);
    y1 = Math.max(y1, first === end ? (last % height) + 1 : height);
  }
  return x1 === 0 ? null : { x: x0, y: y0, w: x1 - x0, h: y1 - y0 };
}

function fillRuns(crop: Crop, runs: readonly number[], height: number): void {
  let at = 0;
  for (let i = 0; i < runs.length; at += runs[i++]) {
    if (i % 2 === 0) continue;
    let [x, y] = [Math.floor(at / height), at % height];
    for (let left = runs[i]; left > 0; x++, y = 0) {
      const stop = Math.min(height, y + left);
      left -= stop - y;
      for (let p = (y - crop.y) * crop.w + x - crop.x; y < stop; y++, p += crop.w) crop.data[p] = 1;
    }
  }
}
