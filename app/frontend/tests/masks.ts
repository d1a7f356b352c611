/** Masks for tests: the fixtures of pycocotools, and small helpers to build annotations. */

import { readFileSync } from "node:fs";

import type { Crop } from "../src/raster";
import type { Annotation, Rle } from "../src/types";

export interface Fixture {
  readonly name: string;
  readonly height: number;
  readonly width: number;
  readonly bits: string;
  readonly counts: string;
}

export const FIXTURES = JSON.parse(
  readFileSync(new URL("../fixtures/rle.json", import.meta.url), "utf8"),
) as readonly Fixture[];

/** The whole mask of a fixture as a crop at the origin. */
export function dense({ height, width, bits }: Fixture): Crop {
  const bytes = Buffer.from(bits, "base64");
  const data = new Uint8Array(height * width);
  for (let i = 0; i < data.length; i++) data[i] = (bytes[i >> 3] >> (7 - (i & 7))) & 1;
  return { x: 0, y: 0, w: width, h: height, data };
}

export function rleOf({ height, width, counts }: Fixture): Rle {
  return { size: [height, width], counts };
}

/** The mask that annotations of tests have. */
export const BLOB: Rle = rleOf(FIXTURES.find(({ name }) => name === "blob 3") ?? FIXTURES[0]);

/** The size of the image that `BLOB` belongs to. */
export const IMAGE = { id: 1, width: BLOB.size[1], height: BLOB.size[0] };

export function annotation(part: Partial<Annotation> = {}): Annotation {
  return {
    id: 1,
    image_id: 1,
    number: 1,
    version: 1,
    state: "proposed",
    category_id: 1,
    box: [10, 10, 60, 60],
    rle: BLOB,
    score: 0.9,
    flagged: false,
    model_id: 1,
    model: "base",
    person: "ada",
    reason: "proposed",
    saved_at: "2026-11-23T00:00:00Z",
    ...part,
  };
}
