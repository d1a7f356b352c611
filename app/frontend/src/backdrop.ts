/** The image on screen: at the view's place and zoom, in the tones the person asked for. */

import { type Pen, penOf, imageTransform } from "./pens";
import type { Scene } from "./scene";
import { applyTones, FULL, isPlain, type ToneRange, toneRange, toneTable } from "./tones";

const SAMPLE = 256; // pixels of the longer side that tones are counted on

export class Backdrop {
  private range: ToneRange = FULL;
  private rangeOf: ImageBitmap | null = null; // the image the range is of

  /** Draw the image; only what is on screen is changed, so that its size does not matter. */
  draw(pen: Pen, bitmap: ImageBitmap, { port, look }: Scene, ratio: number): void {
    imageTransform(pen, port, ratio);
    pen.imageSmoothingQuality = "medium";
    pen.drawImage(bitmap, 0, 0);
    if (isPlain(look)) return;
    if (look.stretch) this.measure(bitmap);
    const { width, height } = pen.canvas;
    const pixels = pen.getImageData(0, 0, width, height);
    applyTones(pixels.data, toneTable(look, this.range));
    pen.putImageData(pixels, 0, 0);
  }

  private measure(bitmap: ImageBitmap): void {
    if (bitmap === this.rangeOf) return;
    const pen = scaled(bitmap, SAMPLE);
    const { width, height } = pen.canvas;
    this.range = toneRange(pen.getImageData(0, 0, width, height).data);
    this.rangeOf = bitmap;
  }
}

/** The image with its longer side at most so many pixels. */
export function scaled(bitmap: ImageBitmap, side: number): Pen {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = penOf(canvas);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return pen;
}
