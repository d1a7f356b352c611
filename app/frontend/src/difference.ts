/** What a person added to a proposal and what they took away, as two masks in two colours. */

import { cropOf, type Instance, sameMask } from "./instance";
import { type Ink, Layers, type Lens } from "./layers";
import type { Pen } from "./pens";
import { type Crop, minus } from "./raster";
import { encode } from "./rle";
import type { Rle } from "./types";

// Blue and orange are told apart with any colour vision.
const ADDED: Ink = { color: [0, 170, 255], opacity: 1, rim: null };
const REMOVED: Ink = { color: [255, 110, 0], opacity: 1, rim: null };

interface Pair {
  readonly added: Rle;
  readonly removed: Rle;
}

export class Difference {
  private readonly pairs = new WeakMap<Rle, { from: Rle; pair: Pair }>();
  private readonly layers = { added: new Layers(), removed: new Layers() };

  /** Draw where a mask differs from its proposal; the pen is in image pixels. */
  draw(pen: Pen, { id, rle }: Instance, proposal: Rle | undefined, lens: Lens): void {
    if (!proposal || !rle || sameMask(proposal, rle)) return;
    const { added, removed } = this.pairOf(rle, proposal);
    this.layers.added.draw(pen, { id, rle: added }, ADDED, lens);
    this.layers.removed.draw(pen, { id, rle: removed }, REMOVED, lens);
  }

  clear(): void {
    this.layers.added.clear();
    this.layers.removed.clear();
  }

  private pairOf(rle: Rle, proposal: Rle): Pair {
    const known = this.pairs.get(rle);
    if (known?.from === proposal) return known.pair;
    const [height, width] = rle.size;
    const [now, proposed] = [cropOf(rle), cropOf(proposal)];
    const code = (crop: Crop): Rle => encode(crop, height, width);
    const pair = { added: code(minus(now, proposed)), removed: code(minus(proposed, now)) };
    this.pairs.set(rle, { from: proposal, pair });
    return pair;
  }
}
