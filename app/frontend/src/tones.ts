/** The tones of the image on screen: a table from stored to shown values, for all three channels. */

import type { Look } from "./look";

/** The values between which nearly all of an image's values lie, 0 to 255. */
export type ToneRange = readonly [low: number, high: number];

export const FULL: ToneRange = [0, 255];
const TAIL = 0.005; // of the values, on either side, that a stretch may lose

/** Whether the image is shown as it is. */
export function isPlain({ brightness, contrast, gamma, stretch }: Look): boolean {
  return brightness === 0 && contrast === 1 && gamma === 1 && !stretch;
}

/** What each stored value is shown as: stretch, then gamma, contrast and brightness. */
export function toneTable(look: Look, range: ToneRange): Uint8ClampedArray {
  const [low, high] = look.stretch ? range : FULL;
  const table = new Uint8ClampedArray(256); // rounds and clamps by itself
  for (let value = 0; value < 256; value++) {
    const share = Math.min(1, Math.max(0, (value - low) / Math.max(high - low, 1)));
    const lifted = share ** (1 / look.gamma);
    table[value] = 255 * ((lifted - 0.5) * look.contrast + 0.5 + look.brightness);
  }
  return table;
}

/** Put RGBA pixels through a table; alpha stays. */
export function applyTones(pixels: Uint8ClampedArray, table: Uint8ClampedArray): void {
  for (let i = 0; i < pixels.length; i += 4) {
    pixels[i] = table[pixels[i]];
    pixels[i + 1] = table[pixels[i + 1]];
    pixels[i + 2] = table[pixels[i + 2]];
  }
}

/** Find the range of RGBA pixels, leaving a small tail of values out on either side. */
export function toneRange(pixels: Uint8ClampedArray): ToneRange {
  const counts = new Float64Array(256);
  for (let i = 0; i < pixels.length; i++) if (i % 4 < 3) counts[pixels[i]] += 1;
  const least = TAIL * ((pixels.length / 4) * 3);
  let [low, high] = [0, 255];
  for (let sum = counts[0]; low < 255 && sum <= least; sum += counts[++low]);
  for (let sum = counts[255]; high > 0 && sum <= least; sum += counts[--high]);
  return low < high ? [low, high] : FULL;
}
