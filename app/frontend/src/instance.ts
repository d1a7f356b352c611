/** An instance as the canvas holds it: what the server sent, its mask as a run-length code. */

import { type Crop, EMPTY } from "./raster";
import { decode } from "./rle";
import type { Annotation, Rle, Snapshot } from "./types";

/** Pixels are made of a mask where they are needed, and not kept: see cells.ts and patch.ts. */
export type Instance = Annotation;

export function snapshotOf({ state, category_id, box, rle }: Snapshot): Snapshot {
  return { state, category_id, box, rle };
}

export function cropOf(rle: Rle | null): Crop {
  return rle ? decode(rle) : EMPTY;
}

export function sameMask(a: Rle | null, b: Rle | null): boolean {
  return a?.counts === b?.counts;
}
