/** How image and masks are shown, and whether strokes are assisted; the file is never touched. */

import { clamp } from "./boxes";

export interface Look {
  readonly opacity: number; // of masks, 0 to 1
  readonly outline: boolean; // masks as lines only
  readonly dim: boolean; // masks that are not chosen step back
  readonly difference: boolean; // what a person added to the proposal, and took away
  readonly cross: boolean; // lines through the pointer with every tool
  readonly map: boolean; // a small map while zoomed in
  readonly grid: boolean; // the pixels' borders, from eightfold zoom on
  readonly brightness: number; // added, of full scale
  readonly contrast: number; // factor around the middle
  readonly gamma: number; // above 1 lifts the shadows
  readonly stretch: boolean; // spread the values that occur over the whole scale
  readonly assist: boolean; // the model carries strokes on
}

export type Switch = { [K in keyof Look]: Look[K] extends boolean ? K : never }[keyof Look];
export type Slide = Exclude<keyof Look, Switch>;

export const PLAIN_LOOK: Look = {
  opacity: 0.45,
  outline: false,
  dim: false,
  difference: false,
  cross: false,
  map: true,
  grid: true,
  brightness: 0,
  contrast: 1,
  gamma: 1,
  stretch: false,
  assist: false,
};

/** The least and the greatest value of each slider. */
export const RANGES: Readonly<Record<Slide, readonly [low: number, high: number]>> = {
  opacity: [0, 1],
  brightness: [-0.5, 0.5],
  contrast: [0.25, 4],
  gamma: [0.25, 4],
};

/** A look as it can be shown: sliders inside their ranges. */
export function adjusted(look: Look, part: Partial<Look>): Look {
  const made = { ...look, ...part };
  const inside = (name: Slide): number => clamp(made[name], ...RANGES[name]);
  return {
    ...made,
    opacity: inside("opacity"),
    brightness: inside("brightness"),
    contrast: inside("contrast"),
    gamma: inside("gamma"),
  };
}

/** Read what `JSON.stringify` wrote of a look; what is missing or wrong is as in the plain one. */
export function readLook(text: string | null): Look {
  try {
    const found = Object(JSON.parse(text ?? "{}")) as Record<keyof Look, unknown>;
    const isRight = ([name, plain]: [string, unknown]): boolean =>
      typeof found[name as keyof Look] === typeof plain;
    const names = Object.entries(PLAIN_LOOK).filter(isRight);
    const right = names.map(([name]) => [name, found[name as keyof Look]] as const);
    return adjusted(PLAIN_LOOK, Object.fromEntries(right));
  } catch {
    return PLAIN_LOOK;
  }
}
