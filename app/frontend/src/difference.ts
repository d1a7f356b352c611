/** What a person added to a proposal and what they took away, as two masks in two colours. */

import type { Rgb } from "./color";
import { cropOf, type Instance, sameMask } from "./instance";
import { Layers } from "./layers";
import type { Pen } from "./pens";
import { type Crop, minus } from "./raster";
import type { Rle } from "./types";

const ADDED: Rgb = [0, 170, 255]; // blue and orange are told apart with any colour vision
const REMOVED: Rgb = [255, 110, 0];

interface Pair {
  readonly added: Crop;
  readonly removed: Crop;
}

export class Difference {
  private readonly pairs = new WeakMap<Rle, { from: Rle; pair: Pair }>();
  private readonly layers = { added: new Layers(), removed: new Layers() };

  /** Draw where a mask differs from its proposal; the pen is in image pixels. */
  draw(pen: Pen, item: Instance, proposal: Rle | undefined): void {
    if (!proposal || !item.rle || sameMask(proposal, item.rle)) return;
    const { added, removed } = this.pairOf(item.rle, item.crop, proposal);
    for (const [name, crop, color] of [
      ["added", added, ADDED],
      ["removed", removed, REMOVED],
    ] as const) {
      const layers = this.layers[name];
      const part = { ...item, crop };
      if (layers.cropOf(item.id) !== crop) layers.touch(part, color, null);
      layers.draw(pen, part, color);
    }
  }

  clear(): void {
    this.layers.added.clear();
    this.layers.removed.clear();
  }

  private pairOf(rle: Rle, crop: Crop, proposal: Rle): Pair {
    const known = this.pairs.get(rle);
    if (known?.from === proposal) return known.pair;
    const proposed = cropOf(proposal);
    const pair = { added: minus(crop, proposed), removed: minus(proposed, crop) };
    this.pairs.set(rle, { from: proposal, pair });
    return pair;
  }
}
