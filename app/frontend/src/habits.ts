/** What a person is used to, on whatever machine: their keys, their hand, their pen. */

import { KeyMap, readKeys } from "./keymap";

export interface Habits {
  readonly keys: KeyMap;
  readonly leftHanded: boolean; // the panels are mirrored
  readonly pressure: boolean; // of the pen, sets the brush's size
}

export type Habit = { [K in keyof Habits]: Habits[K] extends boolean ? K : never }[keyof Habits];

export const PLAIN_HABITS: Habits = { keys: new KeyMap(), leftHanded: false, pressure: false };

/** Read what `toStored` made of habits, or what anybody put in its place. */
export function readHabits(value: unknown): Habits {
  const { keys, left_handed, pressure } = Object(value) as Record<string, unknown>;
  return { keys: readKeys(keys), leftHanded: left_handed === true, pressure: pressure === true };
}

export function toStored({ keys, leftHanded, pressure }: Habits): unknown {
  return { keys: keys.changes, left_handed: leftHanded, pressure };
}
