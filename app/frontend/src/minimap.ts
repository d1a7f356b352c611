/** The small map in a corner of the view: where in the image one is. */

import type { Box, Point, Size } from "./types";
import { toImage, type Viewport } from "./viewport";

const SIDE = 150; // CSS pixels of the map's longer side
const MARGIN = 12; // CSS pixels from the corner
const SHARE = 0.3; // of the view's lesser side, at most

/** Where the map lies in the view; null while the whole image is in sight. */
export function mapFrame(image: Size, view: Size, port: Viewport): Box | null {
  const [left, top] = toImage(port, [0, 0]);
  const [right, bottom] = toImage(port, [view.width, view.height]);
  if (left <= 0 && top <= 0 && right >= image.width && bottom >= image.height) return null;
  const side = Math.min(SIDE, SHARE * Math.min(view.width, view.height));
  const scale = side / Math.max(image.width, image.height);
  const [w, h] = [image.width * scale, image.height * scale];
  return [MARGIN, view.height - MARGIN - h, MARGIN + w, view.height - MARGIN];
}

/** What is in sight, as a box in the view's pixels on the map. */
export function sightOn(frame: Box, image: Size, view: Size, port: Viewport): Box {
  const scale = (frame[2] - frame[0]) / image.width;
  const [left, top] = toImage(port, [0, 0]);
  const [right, bottom] = toImage(port, [view.width, view.height]);
  const x = (at: number): number => frame[0] + Math.min(Math.max(at, 0), image.width) * scale;
  const y = (at: number): number => frame[1] + Math.min(Math.max(at, 0), image.height) * scale;
  return [x(left), y(top), x(right), y(bottom)];
}

/** The image point under a point of the map. */
export function fromMap(frame: Box, image: Size, [x, y]: Point): Point {
  const scale = (frame[2] - frame[0]) / image.width;
  return [(x - frame[0]) / scale, (y - frame[1]) / scale];
}
