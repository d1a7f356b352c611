/** The image on screen: at the view's place and zoom, in the tones the person asked for. */

import { fitCanvas, imageTransform, type Pen, penOf } from "./pens";
import type { Scene } from "./scene";
import { applyTones, FULL, isPlain, type ToneRange, toneRange, toneTable } from "./tones";
import type { Viewport } from "./viewport";

const SAMPLE = 256; // pixels of the longer side that tones are counted on

export class Backdrop {
  private readonly toned = penOf(document.createElement("canvas"), { willReadFrequently: true });
  private range: ToneRange = FULL;
  private rangeOf: ImageBitmap | null = null; // the image the range is of

  /** Draw the image; only what is on screen is changed, so that its size does not matter. */
  draw(pen: Pen, bitmap: ImageBitmap, { port, look }: Scene, ratio: number): void {
    if (isPlain(look)) {
      put(pen, bitmap, port, ratio);
      return;
    }
    if (look.stretch) this.measure(bitmap);
    const { width, height } = pen.canvas;
    fitCanvas(this.toned.canvas, { width, height }, 1);
    this.toned.setTransform(1, 0, 0, 1, 0, 0);
    this.toned.clearRect(0, 0, width, height);
    put(this.toned, bitmap, port, ratio);
    const pixels = this.toned.getImageData(0, 0, width, height);
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

function put(pen: Pen, bitmap: ImageBitmap, port: Viewport, ratio: number): void {
  imageTransform(pen, port, ratio);
  pen.imageSmoothingQuality = "medium";
  pen.drawImage(bitmap, 0, 0);
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
