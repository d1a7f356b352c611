/**
 * Where the image lies in the view: view = image * scale + (x, y), in CSS pixels.
 *
 * All functions are pure; a viewport is a value.
 */

import { clamp } from "./boxes";
import type { Point, Size } from "./types";

export interface Viewport {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

const MARGIN = 16; // CSS pixels kept free around a fitted image
const KEEP = 48; // CSS pixels of the image that stay in sight whatever one pans
const MOST = 64; // CSS pixels an image pixel may fill

export function toImage(port: Viewport, [x, y]: Point): Point {
  return [(x - port.x) / port.scale, (y - port.y) / port.scale];
}

export function toView(port: Viewport, [x, y]: Point): Point {
  return [x * port.scale + port.x, y * port.scale + port.y];
}

/** The whole image, centred; small images are enlarged at most eightfold. */
export function fit(image: Size, view: Size): Viewport {
  const free = (side: number): number => Math.max(side - 2 * MARGIN, side / 2, 1);
  const scale = Math.min(free(view.width) / image.width, free(view.height) / image.height, 8);
  return {
    scale,
    x: (view.width - image.width * scale) / 2,
    y: (view.height - image.height * scale) / 2,
  };
}

/** Zoom by a factor with the image point under `at` staying there. */
export function zoomAt(
  port: Viewport,
  at: Point,
  factor: number,
  image: Size,
  view: Size,
): Viewport {
  const least = Math.min(fit(image, view).scale / 4, 1);
  const scale = clamp(port.scale * factor, least, MOST);
  const [x, y] = toImage(port, at);
  return keepInSight({ scale, x: at[0] - x * scale, y: at[1] - y * scale }, image, view);
}

export function panBy(port: Viewport, [dx, dy]: Point, image: Size, view: Size): Viewport {
  return keepInSight({ ...port, x: port.x + dx, y: port.y + dy }, image, view);
}

/** Keep the image point at the view's centre there when the view changes its size. */
export function resized(port: Viewport, before: Size, after: Size): Viewport {
  return {
    ...port,
    x: port.x + (after.width - before.width) / 2,
    y: port.y + (after.height - before.height) / 2,
  };
}

function keepInSight(port: Viewport, image: Size, view: Size): Viewport {
  const range = (at: number, side: number, whole: number): number =>
    clamp(at, Math.min(KEEP, whole / 2) - side * port.scale, whole - Math.min(KEEP, whole / 2));
  return {
    ...port,
    x: range(port.x, image.width, view.width),
    y: range(port.y, image.height, view.height),
  };
}
