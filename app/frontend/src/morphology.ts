/**
 * What a mask's shape can be made into, pixel by pixel.
 *
 * Beyond the border of the image nothing is known: an object that the border cuts is neither
 * eaten from there nor rounded off.
 */

import { type Crop, cropRect, cut, trim } from "./raster";
import type { Rect, Size } from "./types";

const SMOOTH = 2; // pixels to each side that vote on a pixel

/** Add every pixel that touches the mask with a side. */
export function dilate(crop: Crop, image: Size): Crop {
  return byNeighbours(crop, image, 0, (here, beside) => here === 1 || beside > 0);
}

/** Take away every pixel that touches the outside with a side. */
export function erode(crop: Crop, image: Size): Crop {
  return byNeighbours(crop, image, 1, (here, beside) => here === 1 && beside === 4);
}

/** Give every pixel the value most of the 5 x 5 around it have; at a draw it stays. */
export function smooth(crop: Crop, image: Size): Crop {
  const wide = widen(crop, image, SMOOTH);
  const { w, h, data } = wide;
  const sums = rowSums(wide);
  const made = new Uint8Array(w * h);
  for (let y = 0; y < h; y++) {
    const [top, bottom] = [Math.max(0, y - SMOOTH), Math.min(h, y + SMOOTH + 1)];
    const tall = inImage(wide.y + y, image.height);
    for (let x = 0; x < w; x++) {
      let votes = 0;
      for (let row = top; row < bottom; row++) votes += sums[row * w + x];
      const twice = 2 * votes - tall * inImage(wide.x + x, image.width);
      made[y * w + x] = twice === 0 ? data[y * w + x] : Number(twice > 0);
    }
  }
  return trim({ ...wide, data: made });
}

/** Fill what the mask encloses: the outside that no path of sides leads out of. */
export function fillHoles(crop: Crop): Crop {
  const { x, y, w, h } = crop;
  if (w === 0 || h === 0) return crop;
  const frame: Rect = { x0: x - 1, y0: y - 1, x1: x + w + 1, y1: y + h + 1 };
  const around = cut(crop, frame);
  flood(around);
  for (let i = 0; i < around.data.length; i++) around.data[i] = around.data[i] === 2 ? 0 : 1;
  return cut(around, cropRect(crop));
}

/** Mark with 2 all zeros that can be reached from the corner by sides. */
function flood({ w, h, data }: Crop): void {
  const open = [0];
  data[0] = 2;
  const visit = (at: number): void => {
    if (data[at] !== 0) return;
    data[at] = 2;
    open.push(at);
  };
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const x = at % w;
    if (x > 0) visit(at - 1);
    if (x < w - 1) visit(at + 1);
    if (at >= w) visit(at - w);
    if (at < w * (h - 1)) visit(at + w);
  }
}

/** Decide each pixel from itself and how many of its four neighbours are set. */
function byNeighbours(
  crop: Crop,
  image: Size,
  beyond: 0 | 1, // what stands beyond the image
  rule: (here: number, beside: number) => boolean,
): Crop {
  const wide = widen(crop, image, 1);
  const { w, h, data } = wide;
  const made = new Uint8Array(w * h);
  const at = (x: number, y: number): number => {
    if (x >= 0 && y >= 0 && x < w && y < h) return data[y * w + x];
    const [ix, iy] = [wide.x + x, wide.y + y];
    return ix < 0 || iy < 0 || ix >= image.width || iy >= image.height ? beyond : 0;
  };
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const beside = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1);
      made[y * w + x] = Number(rule(data[y * w + x], beside));
    }
  }
  return trim({ ...wide, data: made });
}

/** The crop with a border of zeros, as far as the image goes. */
function widen(crop: Crop, image: Size, by: number): Crop {
  const { x, y, w, h } = crop;
  if (w === 0 || h === 0) return crop;
  return cut(crop, {
    x0: Math.max(0, x - by),
    y0: Math.max(0, y - by),
    x1: Math.min(image.width, x + w + by),
    y1: Math.min(image.height, y + h + by),
  });
}

/** For each pixel the sum over its row from `SMOOTH` to the left to as many to the right. */
function rowSums({ w, h, data }: Crop): Uint8Array {
  const sums = new Uint8Array(w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const last = Math.min(w - 1, x + SMOOTH);
      for (let i = Math.max(0, x - SMOOTH); i <= last; i++) sums[y * w + x] += data[y * w + i];
    }
  }
  return sums;
}

/** How many of the 5 around a place lie in the image. */
function inImage(at: number, side: number): number {
  return Math.min(side, at + SMOOTH + 1) - Math.max(0, at - SMOOTH);
}
