/** One small bitmap an instance, kept in step with its mask by the rectangles that changed. */

import { css, type Rgb } from "./color";
import type { Instance } from "./instance";
import { outline } from "./outline";
import { penOf } from "./pens";
import { type Crop, cropRect } from "./raster";
import type { Rect } from "./types";

interface Layer {
  canvas: HTMLCanvasElement;
  pen: CanvasRenderingContext2D;
  crop: Crop;
  key: string; // colour the pixels have
  border: Path2D | null; // null: to be made when the mask holds still
}

export class Layers {
  private readonly layers = new Map<number, Layer>();

  /** Note that a part of a mask changed; null means all of it. */
  touch(item: Instance, color: Rgb, rect: Rect | null): void {
    const layer = this.layers.get(item.id);
    if (!layer || rect === null) {
      this.layers.delete(item.id);
      return;
    }
    layer.border = null;
    if (!sameFrame(layer.crop, item.crop)) this.reframe(layer, item.crop);
    layer.crop = item.crop;
    fill(layer, color, rect);
  }

  drop(id: number): void {
    this.layers.delete(id);
  }

  clear(): void {
    this.layers.clear();
  }

  /** The mask an instance's layer shows, if it has one. */
  cropOf(id: number): Crop | null {
    return this.layers.get(id)?.crop ?? null;
  }

  /** Draw the mask at its place; the pen is in image pixels. */
  draw(pen: CanvasRenderingContext2D, item: Instance, color: Rgb): void {
    const layer = this.layerOf(item, color);
    if (layer) pen.drawImage(layer.canvas, layer.crop.x, layer.crop.y);
  }

  /** The border of the mask in image pixels; null when there is none. */
  border(item: Instance, color: Rgb): Path2D | null {
    const layer = this.layerOf(item, color);
    if (layer) layer.border ??= pathOf(item.crop);
    return layer?.border ?? null;
  }

  private layerOf(item: Instance, color: Rgb): Layer | null {
    const key = css(color);
    let layer = this.layers.get(item.id);
    if (item.crop.w === 0 || item.crop.h === 0) return null;
    if (!layer || layer.key !== key) {
      layer = { ...blank(item.crop), crop: item.crop, key, border: null };
      this.layers.set(item.id, layer);
      fill(layer, color, cropRect(item.crop));
    }
    return layer;
  }

  /** Give a layer the frame its mask has grown to, keeping the pixels it has. */
  private reframe(layer: Layer, crop: Crop): void {
    const { canvas, pen } = blank(crop);
    pen.drawImage(layer.canvas, layer.crop.x - crop.x, layer.crop.y - crop.y);
    layer.canvas = canvas;
    layer.pen = pen;
  }
}

function blank({ w, h }: Crop): { canvas: HTMLCanvasElement; pen: CanvasRenderingContext2D } {
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  return { canvas, pen: penOf(canvas) };
}

/** Put the pixels of a rectangle of the mask into its layer. */
function fill({ pen, crop }: Layer, [red, green, blue]: Rgb, rect: Rect): void {
  const x0 = Math.max(rect.x0, crop.x);
  const y0 = Math.max(rect.y0, crop.y);
  const w = Math.min(rect.x1, crop.x + crop.w) - x0;
  const h = Math.min(rect.y1, crop.y + crop.h) - y0;
  if (w <= 0 || h <= 0) return;
  const pixels = new ImageData(w, h);
  const words = new Uint32Array(pixels.data.buffer);
  const word = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // little-endian RGBA
  for (let y = 0; y < h; y++) {
    const row = (y0 + y - crop.y) * crop.w + x0 - crop.x;
    for (let x = 0; x < w; x++) if (crop.data[row + x] === 1) words[y * w + x] = word;
  }
  pen.putImageData(pixels, x0 - crop.x, y0 - crop.y);
}

function pathOf(crop: Crop): Path2D {
  const path = new Path2D();
  const pieces = outline(crop);
  for (let i = 0; i < pieces.length; i += 4) {
    path.moveTo(pieces[i], pieces[i + 1]);
    path.lineTo(pieces[i + 2], pieces[i + 3]);
  }
  return path;
}

function sameFrame(a: Crop, b: Crop): boolean {
  return a.x === b.x && a.y === b.y && a.w === b.w && a.h === b.h;
}
