/** Small things all drawing needs: a pen, a canvas of the right size, image pixels as units. */

import type { Size } from "./types";
import type { Viewport } from "./viewport";

export type Pen = CanvasRenderingContext2D;

export function penOf(canvas: HTMLCanvasElement, options?: CanvasRenderingContext2DSettings): Pen {
  const pen = canvas.getContext("2d", options);
  if (!pen) throw new Error("this browser cannot draw on a canvas");
  return pen;
}

export function fitCanvas(canvas: HTMLCanvasElement, size: Size, ratio: number): void {
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width === width && canvas.height === height) return;
  canvas.width = width;
  canvas.height = height;
}

/** Draw in image pixels from here on; below twofold zoom smoothly, above it as sharp squares. */
export function imageTransform(pen: Pen, { scale, x, y }: Viewport, ratio: number): void {
  pen.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
  pen.imageSmoothingEnabled = scale < 2;
}

export function strokePath(pen: Pen, path: Path2D, style: string, width: number): void {
  pen.strokeStyle = style;
  pen.lineWidth = width;
  pen.stroke(path);
}
