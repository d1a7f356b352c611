/**
 * Smart strokes: a finished stroke goes to the model, whose answer replaces the rest of the mask.
 *
 * The person's own strokes win over the model, there and here: whatever comes back, the pixels
 * under them stay as painted. Without an answer the plain stroke stands.
 */

import type { Entry, Step } from "./history";
import { type Crop, capsuleReach, grow, stampCapsule, trim } from "./raster";
import type { Point, Size, Snapshot, Stroke } from "./types";

const APART = 0.25; // of the radius: points of a stroke that lie closer are not sent
const MOST_POINTS = 1024; // of a stroke on its way

/**
 * The strokes that shape an instance's present mask, oldest first.
 *
 * They are the history's: a mask that came otherwise than by strokes and their answers, such as
 * one proposed for a new box or saved by somebody else, makes what was painted before it the past.
 */
export function strokesOf(steps: readonly Step[], id: number): readonly Stroke[] {
  const found: Stroke[] = [];
  let later: Entry | null = null;
  for (const step of [...steps].reverse()) {
    const entry = step.find((one) => one.id === id);
    if (!entry) continue;
    if (later && !isSame(entry.after, later.before)) break;
    if (entry.strokes) found.push(...[...entry.strokes].reverse());
    else if (!entry.isAnswer && !isSame(entry.before, entry.after)) break;
    later = entry;
  }
  return found.reverse();
}

/** The mask with the strokes painted over it again, in their order. */
export function repainted(crop: Crop, strokes: readonly Stroke[], image: Size): Crop {
  let made: Crop = { ...crop, data: crop.data.slice() };
  for (const { points, radius, adds } of strokes) {
    points.forEach((to, i) => {
      const from = points[Math.max(0, i - 1)];
      if (adds) made = grow(made, capsuleReach(from, to, radius, image), image);
      stampCapsule(made, from, to, radius, adds ? 1 : 0);
    });
  }
  return trim(made);
}

/** A stroke with fewer points, for the way to the server; both ends stay. */
export function thinned({ adds, radius, points }: Stroke, apart = APART): Stroke {
  const kept: Point[] = [];
  points.forEach((point, i) => {
    const last = kept.at(-1);
    const isFar = !last || Math.hypot(point[0] - last[0], point[1] - last[1]) >= apart * radius;
    if (isFar || i === points.length - 1) kept.push(point);
  });
  if (kept.length > MOST_POINTS) return thinned({ adds, radius, points }, 2 * apart);
  return { adds, radius, points: kept };
}

function isSame(a: Snapshot | null, b: Snapshot | null): boolean {
  return a?.rle?.counts === b?.rle?.counts;
}
