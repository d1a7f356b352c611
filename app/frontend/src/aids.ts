/** Aids to the eye over the image: the borders of its pixels, and the map. */

import { scaled } from "./backdrop";
import { mapFrame, sightOn } from "./minimap";
import type { Pen } from "./pens";
import type { Scene } from "./scene";
import type { Sheet } from "./sheet";
import { toImage, toView } from "./viewport";

const GRID_FROM = 8; // CSS pixels an image pixel must fill
const MAP_SIDE = 300; // pixels the map's picture has, for sharp screens

export class Aids {
  private picture: HTMLCanvasElement | null = null;
  private pictureOf: Sheet | null = null;

  /** Draw in CSS pixels, over image and masks. */
  draw(pen: Pen, image: Sheet, scene: Scene): void {
    if (scene.look.grid && scene.port.scale >= GRID_FROM) drawGrid(pen, image, scene);
    if (scene.look.map) this.drawMap(pen, image, scene);
  }

  private drawMap(pen: Pen, image: Sheet, { size, port }: Scene): void {
    const frame = mapFrame(image, size, port);
    if (!frame) return;
    const [x0, y0, x1, y1] = frame;
    pen.fillStyle = "rgb(0 0 0 / 0.5)";
    pen.fillRect(x0 - 2, y0 - 2, x1 - x0 + 4, y1 - y0 + 4);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(this.pictureFor(image), x0, y0, x1 - x0, y1 - y0);
    const [left, top, right, bottom] = sightOn(frame, image, size, port);
    for (const [style, width] of [
      ["rgb(0 0 0 / 0.7)", 3.5],
      ["#fff", 1.5],
    ] as const) {
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.strokeRect(left, top, right - left, bottom - top);
    }
  }

  private pictureFor(image: Sheet): HTMLCanvasElement {
    if (!this.picture || this.pictureOf !== image) {
      this.picture = scaled(image, MAP_SIDE).canvas;
      this.pictureOf = image;
    }
    return this.picture;
  }
}

function drawGrid(pen: Pen, image: Sheet, { port, size }: Scene): void {
  const [left, top] = toImage(port, [0, 0]).map((at) => Math.max(0, Math.floor(at)));
  const far = toImage(port, [size.width, size.height]);
  const [right, bottom] = [Math.min(image.width, far[0]), Math.min(image.height, far[1])];
  const [x0, y0] = toView(port, [left, top]);
  const [x1, y1] = toView(port, [right, bottom]);
  pen.beginPath();
  for (let x = left; x <= right; x++) {
    const at = Math.round(toView(port, [x, 0])[0]) + 0.5;
    pen.moveTo(at, y0);
    pen.lineTo(at, y1);
  }
  for (let y = top; y <= bottom; y++) {
    const at = Math.round(toView(port, [0, y])[1]) + 0.5;
    pen.moveTo(x0, at);
    pen.lineTo(x1, at);
  }
  pen.strokeStyle = "rgb(128 128 128 / 0.45)";
  pen.lineWidth = 1;
  pen.stroke();
}
