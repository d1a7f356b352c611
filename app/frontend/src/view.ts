/** What the parts around the canvas show, and what they may ask for. */

import type { Bulk } from "./bulk";
import type { Comments } from "./comments";
import type { Conflict } from "./conflicts";
import type { Editor } from "./editor";
import type { Habits } from "./habits";
import type { Action } from "./keys";
import type { Look } from "./look";
import type { Placing } from "./placings";
import type { Presence } from "./presence";
import type { Filter } from "./queue";
import type { Reviewing } from "./reviewing";
import type { Scene } from "./scene";
import type { Category, Counts, ImageInfo, Project, Right, State } from "./types";
import type { Choice } from "./versus";
import type { Walk } from "./walk";

/** The state of the studio as its parts read it. */
export interface View {
  readonly editor: Editor;
  readonly scene: Scene;
  readonly project: Project | null;
  readonly info: ImageInfo | null; // of the image that is open or being opened
  readonly habits: Habits;
  countsOf(info: ImageInfo): Counts;
}

/** The state of what belongs to reviewing besides. */
export interface Desk extends View {
  readonly walk: Walk;
  readonly bulk: Bulk;
  readonly comments: Comments;
  readonly reviewing: Reviewing;
  readonly presence: Presence;
}

/** What the parts ask the studio to do. */
export interface Orders {
  act(action: Action): void;
  setRadius(radius: number): void;
  setLook(part: Partial<Look>): void;
  setHabits(part: Partial<Habits>): void;
  setCategory(id: number): void;
  addCategory(name: string): Promise<boolean>;
  /** Select an instance, or add it to the chosen ones and take it out again. */
  select(id: number, isAdded?: boolean): void;
  place(id: number, part: Partial<Placing>): void;
  findCategory(): void;
  open(imageId: number): Promise<void>;
  thumb(imageId: number): Promise<Blob>;
  retry(): void;
  decide(conflict: Conflict, choice: Choice): void;
  setFilter(part: Partial<Filter>): void;
  /** Go to a mask, on whatever image it is. */
  visit(imageId: number, id: number): void;
  setScore(score: number): void;
  acceptAll(): void;
  comment(about: number | null, text: string): Promise<boolean>;
  sendBack(id: number, text: string): Promise<boolean>;
  /** Work on the open image in place of somebody else. */
  takeImage(): void;
  /** Say that one is done with the open image, or not yet. */
  setDone(isDone: boolean): void;
  /** Something is to be shown otherwise. */
  look(): void;
}

/** The states in the order people meet them, with the words they read. */
export const STATE_NAMES: Readonly<Record<Exclude<State, "deleted">, string>> = {
  proposed: "Proposed",
  corrected: "Corrected",
  accepted: "Accepted",
  rejected: "Rejected",
};

export const STATES = Object.keys(STATE_NAMES) as (keyof typeof STATE_NAMES)[];

export function categoryOf(view: View, id: number): Category | undefined {
  return view.project?.categories.find((one) => one.id === id);
}

/** Whether the person has a right in the open project; what they have not is not offered. */
export function may({ project }: Pick<View, "project">, right: Right): boolean {
  return project?.rights.includes(right) ?? false;
}

/** The image after the open one; null at the end. */
export function nextImage({ project, info }: Pick<View, "project" | "info">): ImageInfo | null {
  const images = project?.images ?? [];
  const at = images.findIndex(({ id }) => id === info?.id);
  return at < 0 ? null : (images.at(at + 1) ?? null);
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
