/** How hard a pen is pressed, as the size of the brush. */

import { LEAST_RADIUS } from "./editor";

const LEVELS = 10; // of pressure: a stroke stays a few discs swept along lines, not one a point

/** The radius of the brush under a pressure of 0 to 1; full pressure gives all of it. */
export function radiusUnder(pressure: number, radius: number): number {
  const level = Math.min(Math.max(Math.ceil(pressure * LEVELS), 1), LEVELS);
  return Math.max((radius * level) / LEVELS, LEAST_RADIUS);
}
