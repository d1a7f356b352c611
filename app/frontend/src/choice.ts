/** The instances of one image, and which of them a person looks at: chosen, hidden, in front. */

import type { Instance } from "./instance";
import { type Placing, Placings } from "./placings";
import { areaOf, holds } from "./rle";
import type { Box, Change, Point, Rect, Size } from "./types";

/** A box being drawn or changed that nobody has confirmed yet; id null makes a new instance. */
export interface Draft {
  readonly id: number | null;
  readonly box: Box;
}

export interface ImageRef extends Size {
  readonly id: number;
}

export type EditorEvent =
  | { readonly kind: "edit"; readonly change: Change }
  | { readonly kind: "stroke"; readonly id: number; readonly isBegin: boolean } // or came to nothing
  | { readonly kind: "mask"; readonly id: number; readonly rect: Rect | null } // null: all of it
  | { readonly kind: "placing" }
  | { readonly kind: "view" };

export abstract class Choice {
  image: ImageRef | null = null;
  selectedId: number | null = null; // the one that tools work on
  draft: Draft | null = null;
  trail: readonly Point[] = []; // clicked so far, of a polygon, a cut or extreme points
  isAlone = false; // only the chosen are shown
  heldBy = ""; // who works on the image while this person only looks; "" when it is theirs
  person = ""; // whose page it is; "" where that makes no difference to what may be changed
  readonly placings = new Placings();
  protected readonly items = new Map<number, Instance>();
  private readonly others = new Set<number>(); // chosen besides the selected one

  constructor(protected readonly emit: (event: EditorEvent) => void) {}

  // -- what there is ---------------------------------------------------------------------------

  /** The instances in order of their numbers, without deleted ones. */
  get instances(): readonly Instance[] {
    const present = [...this.items.values()].filter((item) => item.state !== "deleted");
    return present.sort((a, b) => a.number - b.number);
  }

  get selected(): Instance | null {
    return this.selectedId === null ? null : this.find(this.selectedId);
  }

  /** All that are chosen, the selected one first. */
  get chosen(): readonly Instance[] {
    const ids = this.selectedId === null ? [] : [this.selectedId, ...this.others];
    return ids.map((id) => this.find(id)).filter((item) => item !== null);
  }

  isChosen(id: number): boolean {
    return id === this.selectedId || this.others.has(id);
  }

  find(id: number): Instance | null {
    const item = this.items.get(id);
    return item && item.state !== "deleted" ? item : null;
  }

  /** The version of an instance of the open image; 0 when it is not here. */
  version(id: number): number {
    return this.items.get(id)?.version ?? 0;
  }

  // -- choosing ---------------------------------------------------------------------------------

  select(id: number | null): void {
    this.selectedId = id;
    this.others.clear();
    if (this.draft?.id !== undefined && this.draft.id !== id) this.draft = null;
    this.show();
  }

  setTrail(points: readonly Point[]): void {
    this.trail = points;
    this.show();
  }

  /** Add an instance to the chosen ones, or take it out. */
  toggle(id: number): void {
    const ids = this.chosen.map((item) => item.id);
    const rest = ids.filter((one) => one !== id);
    this.choose(rest.length < ids.length ? rest : [...ids, id]);
  }

  /** Choose all that can be seen. */
  selectAll(): void {
    const ids = this.instances.filter((item) => this.isShown(item)).map(({ id }) => id);
    const first = ids.filter((id) => id === this.selectedId);
    this.choose([...first, ...ids.filter((id) => id !== this.selectedId)]);
  }

  /** The instance under a point: the one in front, and of several there the smallest. */
  at(point: Point): Instance | null {
    const isUnder = (item: Instance): boolean =>
      item.rle !== null && this.isShown(item) && holds(item.rle, point);
    const under = this.instances.filter(isUnder);
    const size = ({ rle }: Instance): number => (rle ? areaOf(rle) : 0);
    const level = ({ id }: Instance): number => this.placings.of(id).level;
    return under.sort((a, b) => level(b) - level(a) || size(a) - size(b)).at(0) ?? null;
  }

  /** Select the next (or previous) instance in order of numbers, round and round. */
  step(by: 1 | -1): void {
    const all = this.instances;
    if (all.length === 0) return;
    const at = all.findIndex((item) => item.id === this.selectedId);
    const start = at < 0 && by < 0 ? 0 : at;
    this.select(all[(start + by + all.length) % all.length].id);
  }

  /** Select the next instance nobody has looked at; false when there is none. */
  stepToProposed(): boolean {
    const all = this.instances;
    const at = all.findIndex((item) => item.id === this.selectedId);
    const rest = [...all.slice(at + 1), ...all.slice(0, Math.max(at, 0))];
    const next = rest.find((item) => item.state === "proposed");
    if (next) this.select(next.id);
    return next !== undefined;
  }

  // -- arranging ----------------------------------------------------------------------------------

  isShown({ id }: Instance): boolean {
    if (this.placings.of(id).hidden) return false;
    return !this.isAlone || this.selected === null || this.isChosen(id);
  }

  isLocked(id: number): boolean {
    return this.placings.of(id).locked;
  }

  /** What is drawn, from the back to the front. */
  get inOrder(): readonly Instance[] {
    const level = ({ id }: Instance): number => this.placings.of(id).level;
    const shown = this.instances.filter((item) => this.isShown(item));
    return shown.sort((a, b) => level(a) - level(b));
  }

  place(id: number, part: Partial<Placing>): void {
    this.placings.change(id, part);
    this.arranged();
  }

  /** Show only the chosen masks, or all again. */
  setAlone(isAlone: boolean): void {
    this.isAlone = isAlone;
    this.show();
  }

  showAll(): void {
    this.isAlone = false;
    for (const { id } of this.instances) this.placings.change(id, { hidden: false });
    this.arranged();
  }

  /** Why the selected instance cannot be changed, in words; "" when it can. */
  get obstacle(): string {
    if (this.heldBy !== "") return `${this.heldBy} is working on this image: you only look.`;
    const item = this.selected;
    if (!item) return "Select a mask first.";
    if (this.isForeign(item)) {
      const { person, state, number } = item;
      return `${person} ${state} mask ${number}: only a reviewer changes it. Comment instead.`;
    }
    if (this.isLocked(item.id)) return `Mask ${item.number} is locked. Unlock it first.`;
    if (!this.isShown(item)) return `Mask ${item.number} is hidden. Show it first.`;
    return "";
  }

  /** Whether somebody else finished a mask, and this person may not judge that. */
  isForeign({ state, person }: Pick<Instance, "state" | "person">): boolean {
    return this.person !== "" && state !== "proposed" && person !== this.person;
  }

  /** The image is somebody else's to work on, or this person's again ("''" for nobody). */
  setHeld(heldBy: string): void {
    this.heldBy = heldBy;
    this.show();
  }

  protected show(): void {
    this.emit({ kind: "view" });
  }

  /** Choose these, the first as the selected one. */
  choose(ids: readonly number[]): void {
    this.select(ids.at(0) ?? null);
    for (const id of ids.slice(1)) this.others.add(id);
    this.show();
  }

  private arranged(): void {
    this.emit({ kind: "placing" });
    this.show();
  }
}
