/**
 * Small bitmaps of the masks in sight, as coarse as the screen shows them.
 *
 * A layer holds one mask at one level of the pyramid, cut to what is in sight and a margin around
 * it: what masks cost follows the screen, and not the image. While a mask is painted, its layer is
 * kept in step by the rectangles that change.
 */

import { cellsOf, isEmpty, meet, repaint, rimOf, toCells, toPixels } from "./cells";
import type { Rgb } from "./color";
import { outline } from "./outline";
import type { Patch } from "./patch";
import { type Pen, penOf } from "./pens";
import { type Crop, cropRect, cut } from "./raster";
import { boundsOf } from "./rle";
import type { Rect, Rle, Size } from "./types";
import { inSight, levelFor } from "./tiles";
import type { Viewport } from "./viewport";

/** How the view shows masks now. */
export interface Lens {
  readonly level: number;
  readonly sight: Rect; // in pixels of the image
  readonly frame: Rect; // in cells: the sight and a margin
  readonly rim: number; // cells that a thin line takes
}

/** What a layer shows of an instance. */
export interface Shown {
  readonly id: number;
  readonly rle: Rle | null;
}

/** How a mask is filled, and how strongly; with a rim its cells at the edge are opaque. */
export interface Ink {
  readonly color: Rgb;
  readonly opacity: number;
  readonly rim: Rgb | null;
}

interface Layer {
  rle: Rle | null;
  patch: Patch | null;
  cells: Crop;
  pen: Pen;
  ink: Ink;
  rimmed: number; // cells of its rim
  readonly lens: Lens;
  border: Path2D | null;
}

const BARE: Ink = { color: [0, 0, 0], opacity: -1, rim: null }; // not coloured yet
const MARGIN = 0.25; // of the view's sides
const LINE = 1.25; // CSS pixels
const SLACK = 64; // cells a layer grows beyond a stroke

export function lensOf(image: Size, view: Size, port: Viewport, ratio: number): Lens {
  const scale = port.scale * ratio;
  const level = levelFor(scale);
  return {
    level,
    sight: inSight(image, view, port),
    frame: toCells(inSight(image, view, port, MARGIN), level),
    rim: Math.max(1, Math.round((LINE * ratio) / (scale * 2 ** level))),
  };
}

export class Layers {
  private readonly layers = new Map<number, Layer>();

  /** Note that a part of a mask changed; null means all of it. */
  touch({ id, rle }: Shown, rect: Rect | null, patch: Patch | null): void {
    const layer = this.layers.get(id);
    if (!layer || rect === null) {
      this.layers.delete(id);
      return;
    }
    layer.rle = rle;
    layer.patch = patch;
    layer.border = null;
    if (!patch || isEmpty(rect)) return;
    const { level, frame } = layer.lens;
    const changed = meet(toCells(rect, level), frame);
    if (isEmpty(changed)) return;
    widen(layer, changed);
    repaint(layer.cells, patch, level, changed);
    fill(layer, changed, null);
  }

  drop(id: number): void {
    this.layers.delete(id);
  }

  clear(): void {
    this.layers.clear();
  }

  /** Draw the mask at its place; the pen is in image pixels. */
  draw(pen: Pen, item: Shown, ink: Ink, lens: Lens, patch: Patch | null = null): void {
    const layer = this.layerOf(item, lens, patch);
    if (!layer) return;
    const steps = ink.rim ? lens.rim : 0;
    if (!isSame(layer.ink, ink) || layer.rimmed !== steps) color(layer, ink, steps);
    const { cells, pen: own } = layer;
    const { x0, y0, x1, y1 } = toPixels(cropRect(cells), lens.level);
    pen.drawImage(own.canvas, x0, y0, x1 - x0, y1 - y0);
  }

  /** The border of the mask in cells; null when there is none in sight. */
  border(item: Shown, lens: Lens): Path2D | null {
    const layer = this.layerOf(item, lens, null);
    if (layer) layer.border ??= pathOf(layer.cells);
    return layer?.border ?? null;
  }

  private layerOf(item: Shown, lens: Lens, patch: Patch | null): Layer | null {
    const known = this.layers.get(item.id);
    const wanted = cellsWanted(item.rle, lens);
    const sight = meet(wanted, toCells(lens.sight, lens.level));
    if (known && isUsable(known, item, lens, patch) && covers(cropRect(known.cells), sight)) {
      return known;
    }
    const frame = patch ? lens.frame : wanted;
    if (isEmpty(frame)) {
      this.layers.delete(item.id);
      return null;
    }
    const cells = cellsOf(item.rle, patch, lens.level, frame);
    const { rle } = item;
    const layer = {
      rle,
      patch,
      cells,
      pen: blank(cells),
      ink: BARE,
      rimmed: 0,
      lens,
      border: null,
    };
    this.layers.set(item.id, layer);
    return layer;
  }
}

function isUsable(layer: Layer, item: Shown, lens: Lens, patch: Patch | null): boolean {
  // While it is painted a layer may reach beyond its mask; only a move of the view makes it anew.
  const isHere = !patch || covers(layer.lens.frame, toCells(lens.sight, lens.level));
  const isIt = layer.rle === item.rle && layer.patch === patch;
  return isIt && isHere && layer.lens.level === lens.level;
}

function isSame(a: Ink, b: Ink): boolean {
  return (
    a.opacity === b.opacity &&
    String(a.color) === String(b.color) &&
    String(a.rim) === String(b.rim)
  );
}

function cellsWanted(rle: Rle | null, { level, frame }: Lens): Rect {
  return meet(toCells(rle ? boundsOf(rle) : { x0: 0, y0: 0, x1: 0, y1: 0 }, level), frame);
}

function covers(outer: Rect, inner: Rect): boolean {
  const { x0, y0, x1, y1 } = inner;
  return isEmpty(inner) || (outer.x0 <= x0 && outer.y0 <= y0 && outer.x1 >= x1 && outer.y1 >= y1);
}

/** Make room for a rectangle of cells, with some slack so that a long stroke seldom copies. */
function widen(layer: Layer, rect: Rect): void {
  const { cells, lens } = layer;
  const own = cropRect(cells);
  if (covers(own, rect)) return;
  const grown = {
    x0: Math.min(own.x0, rect.x0 - SLACK),
    y0: Math.min(own.y0, rect.y0 - SLACK),
    x1: Math.max(own.x1, rect.x1 + SLACK),
    y1: Math.max(own.y1, rect.y1 + SLACK),
  };
  const wide = cut(cells, meet(grown, lens.frame));
  const pen = blank(wide);
  pen.drawImage(layer.pen.canvas, cells.x - wide.x, cells.y - wide.y);
  layer.cells = wide;
  layer.pen = pen;
}

function blank({ w, h }: Crop): Pen {
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  return penOf(canvas);
}

/** Colour a layer anew. */
function color(layer: Layer, ink: Ink, steps: number): void {
  layer.ink = ink;
  layer.rimmed = steps;
  fill(layer, cropRect(layer.cells), steps > 0 ? rimOf(layer.cells, steps) : null);
}

/** Put a rectangle of cells into the bitmap of a layer. */
function fill({ pen, cells, ink }: Layer, rect: Rect, rim: Crop | null): void {
  const { x0, y0, x1, y1 } = meet(rect, cropRect(cells));
  const [w, h] = [x1 - x0, y1 - y0];
  if (w <= 0 || h <= 0) return;
  const pixels = new ImageData(w, h);
  const words = new Uint32Array(pixels.data.buffer);
  const [inner, outer] = [wordOf(ink.color, ink.opacity), wordOf(ink.rim ?? ink.color, 1)];
  for (let y = 0; y < h; y++) {
    const row = (y0 + y - cells.y) * cells.w + x0 - cells.x;
    for (let x = 0; x < w; x++) {
      if (cells.data[row + x] === 1) words[y * w + x] = rim?.data[row + x] === 1 ? outer : inner;
    }
  }
  pen.putImageData(pixels, x0 - cells.x, y0 - cells.y);
}

/** A colour as canvas pixels lie in memory: RGBA, low byte first. */
function wordOf([red, green, blue]: Rgb, opacity: number): number {
  return ((Math.round(255 * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function pathOf(cells: Crop): Path2D {
  const path = new Path2D();
  const pieces = outline(cells);
  for (let i = 0; i < pieces.length; i += 4) {
    path.moveTo(pieces[i], pieces[i + 1]);
    path.lineTo(pieces[i + 2], pieces[i + 3]);
  }
  return path;
}
