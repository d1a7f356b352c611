/** Moves the view only as far as it takes to see a box whole. */

import type { Box, Size } from "./types";
import { fit, toView, type Viewport } from "./viewport";

const ROOM = 24; // CSS pixels to see around the box

/** The same viewport where it shows the box, else the box at its centre, else the whole image. */
export function revealed(port: Viewport, box: Box, image: Size, view: Size): Viewport {
  const [left, top] = toView(port, [box[0], box[1]]);
  const [right, bottom] = toView(port, [box[2], box[3]]);
  if (left >= 0 && top >= 0 && right <= view.width && bottom <= view.height) return port;
  const isLarge = right - left > view.width - ROOM || bottom - top > view.height - ROOM;
  if (isLarge) return fit(image, view);
  const x = port.x + (view.width - left - right) / 2;
  const y = port.y + (view.height - top - bottom) / 2;
  return { scale: port.scale, x, y };
}
