/** Boxes as people drag them: clamped to the image, whole pixels, moved and resized by handles. */

import type { Box, Point, Size } from "./types";

/** Where a handle sits: -1 the low side, 0 the middle, 1 the high side, for x and y. */
export type Handle = readonly [x: -1 | 0 | 1, y: -1 | 0 | 1];

export const HANDLES: readonly Handle[] = [
  [-1, -1],
  [0, -1],
  [1, -1],
  [1, 0],
  [1, 1],
  [0, 1],
  [-1, 1],
  [-1, 0],
];
export const LEAST_SIDE = 3; // pixels; a smaller drag is a slip of the hand

/** The box between two corners in any order, in whole pixels inside the image. */
export function boxOf(a: Point, b: Point, image: Size): Box {
  const x = (value: number): number => clamp(Math.round(value), 0, image.width);
  const y = (value: number): number => clamp(Math.round(value), 0, image.height);
  return [
    x(Math.min(a[0], b[0])),
    y(Math.min(a[1], b[1])),
    x(Math.max(a[0], b[0])),
    y(Math.max(a[1], b[1])),
  ];
}

export function isLargeEnough([x0, y0, x1, y1]: Box): boolean {
  return x1 - x0 >= LEAST_SIDE && y1 - y0 >= LEAST_SIDE;
}

/** Shift a box without changing its size; it stops at the border. */
export function moveBox([x0, y0, x1, y1]: Box, [dx, dy]: Point, image: Size): Box {
  const stepX = clamp(Math.round(dx), -x0, Math.max(-x0, image.width - x1));
  const stepY = clamp(Math.round(dy), -y0, Math.max(-y0, image.height - y1));
  return [x0 + stepX, y0 + stepY, x1 + stepX, y1 + stepY];
}

/** Drag one handle to a point; the opposite side stays, and sides may swap. */
export function dragHandle([x0, y0, x1, y1]: Box, [hx, hy]: Handle, to: Point, image: Size): Box {
  const a: Point = [hx < 0 ? to[0] : x0, hy < 0 ? to[1] : y0];
  const b: Point = [hx > 0 ? to[0] : x1, hy > 0 ? to[1] : y1];
  return boxOf(a, b, image);
}

/** Move the low-right corner by steps, never below the least size (for the keyboard). */
export function resizeBox([x0, y0, x1, y1]: Box, [dx, dy]: Point, image: Size): Box {
  return [
    x0,
    y0,
    clamp(Math.round(x1 + dx), x0 + LEAST_SIDE, Math.max(image.width, x0 + LEAST_SIDE)),
    clamp(Math.round(y1 + dy), y0 + LEAST_SIDE, Math.max(image.height, y0 + LEAST_SIDE)),
  ];
}

export function handlePoint([x0, y0, x1, y1]: Box, [hx, hy]: Handle): Point {
  return [x0 + ((hx + 1) / 2) * (x1 - x0), y0 + ((hy + 1) / 2) * (y1 - y0)];
}

/** The handle within `reach` pixels of a point, if any; corners win over sides. */
export function handleAt(box: Box, point: Point, reach: number): Handle | null {
  const near = (handle: Handle): boolean => {
    const [x, y] = handlePoint(box, handle);
    return Math.max(Math.abs(x - point[0]), Math.abs(y - point[1])) <= reach;
  };
  const corners = HANDLES.filter(([x, y]) => x !== 0 && y !== 0);
  return corners.find(near) ?? HANDLES.find(near) ?? null;
}

export function inBox([x0, y0, x1, y1]: Box, [x, y]: Point): boolean {
  return x >= x0 && x < x1 && y >= y0 && y < y1;
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
