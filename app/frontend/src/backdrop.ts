/** The image on screen: at the view's place and zoom, in the tones the person asked for. */

import { fitCanvas, imageTransform, type Pen, penOf } from "./pens";
import type { Scene } from "./scene";
import type { Sheet } from "./sheet";
import { inSight } from "./tiles";
import { applyTones, FULL, isPlain, type ToneRange, toneRange, toneTable } from "./tones";

const SAMPLE = 256; // pixels of the longer side that tones are counted on

export class Backdrop {
  private readonly toned = penOf(document.createElement("canvas"), { willReadFrequently: true });
  private range: ToneRange = FULL;
  private rangeOf: Sheet | null = null; // the image the range is of

  /** Draw the image; only what is on screen is changed, so that its size does not matter. */
  draw(pen: Pen, image: Sheet, scene: Scene, ratio: number): void {
    const { look } = scene;
    if (isPlain(look)) {
      put(pen, image, scene, ratio);
      return;
    }
    if (look.stretch) this.measure(image);
    const { width, height } = pen.canvas;
    fitCanvas(this.toned.canvas, { width, height }, 1);
    this.toned.setTransform(1, 0, 0, 1, 0, 0);
    this.toned.clearRect(0, 0, width, height);
    put(this.toned, image, scene, ratio);
    const pixels = this.toned.getImageData(0, 0, width, height);
    applyTones(pixels.data, toneTable(look, this.range));
    pen.putImageData(pixels, 0, 0);
  }

  private measure(image: Sheet): void {
    if (image === this.rangeOf) return;
    const pen = scaled(image, SAMPLE);
    const { width, height } = pen.canvas;
    this.range = toneRange(pen.getImageData(0, 0, width, height).data);
    this.rangeOf = image;
  }
}

function put(pen: Pen, image: Sheet, { port, size }: Scene, ratio: number): void {
  imageTransform(pen, port, ratio);
  image.draw(pen, inSight(image, size, port), port.scale * ratio);
}

/** The image with its longer side at most so many pixels. */
export function scaled({ width, height, small }: Sheet, side: number): Pen {
  const scale = Math.min(1, side / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const pen = penOf(canvas);
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  return pen;
}
