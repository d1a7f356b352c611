/**
 * COCO run-length codes, byte-equal to pycocotools.
 *
 * A mask is the runs of the whole image in column-major order, zeros first, each run written in
 * characters of 5 bits, low first (32 marks "more", 16 the sign); from the fourth run on the
 * difference from the run two before it is written. Only the crop around an object is ever dense.
 */

import { type Crop, EMPTY } from "./raster";
import type { Rle } from "./types";

const BLOCK = 32; // columns transposed together, so that the column walk stays in the cache

const areas = new WeakMap<Rle, number>();

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
