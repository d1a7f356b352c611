/** An instance as the canvas holds it: what the server sent, and its mask as pixels. */

import { type Crop, EMPTY } from "./raster";
import { decode } from "./rle";
import type { Annotation, Rle, Snapshot } from "./types";

/** An annotation with its mask as pixels; `crop` runs ahead of `rle` while a stroke lasts. */
export interface Instance extends Annotation {
  readonly crop: Crop;
}

export function snapshotOf({ state, category_id, box, rle }: Snapshot): Snapshot {
  return { state, category_id, box, rle };
}

export function withCrop(annotation: Annotation): Instance {
  return { ...annotation, crop: cropOf(annotation.rle) };
}

export function cropOf(rle: Rle | null): Crop {
  return rle ? decode(rle) : EMPTY;
}

export function sameMask(a: Rle | null, b: Rle | null): boolean {
  return a?.counts === b?.counts;
}
