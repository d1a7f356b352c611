/** Whose an image is, and what is left to do for the person of this page. Pure. */

import type { ImageInfo, Project } from "./types";

/** The images that are this person's, and that they are not done with, in order. */
export function mineLeft({ images, person }: Project): readonly number[] {
  const isMine = ({ assigned }: ImageInfo): boolean =>
    assigned.some((one) => one.person === person && !one.is_done);
  return images.filter(isMine).map(({ id }) => id);
}

/** The images that are others' only, and that they are not done with. */
export function othersLeft({ images, person }: Project): readonly number[] {
  const isTheirs = ({ assigned }: ImageInfo): boolean =>
    assigned.length > 0 && assigned.every((one) => one.person !== person && !one.is_done);
  return images.filter(isTheirs).map(({ id }) => id);
}

/** Whether this person is done with an image of theirs; null where it is not theirs. */
export function isDone({ assigned }: ImageInfo, person: string): boolean | null {
  return assigned.find((one) => one.person === person)?.is_done ?? null;
}

/** Whose an image is, in a few words: "You, Bob (done)"; "" while it is nobody's. */
export function dutyText({ assigned }: ImageInfo, person: string): string {
  const nameOf = (one: string): string => (one === person ? "You" : one);
  return assigned
    .map((one) => `${nameOf(one.person)}${one.is_done ? " (done)" : ""}`)
    .sort((a, b) => Number(b.startsWith("You")) - Number(a.startsWith("You")))
    .join(", ");
}

/** What the panel says of the open image; "" while it is nobody's. */
export function dutyHint(info: ImageInfo, person: string): string {
  const mine = isDone(info, person);
  if (mine === null) return info.assigned.length === 0 ? "" : `For ${dutyText(info, person)}.`;
  if (info.assigned.length === 1) return mine ? "You are done with this image." : "Yours to do.";
  const end = info.assigned.every((one) => one.is_done)
    ? "All are done: a reviewer compares."
    : mine
      ? "You are done; the others are not yet."
      : "You see only your own masks until all are done and a reviewer merges.";
  return `For ${dutyText(info, person).replace("You", "you")}. ${end}`;
}
