/** The dialog that shows both sides of a lost race, and asks which is to stand. */

import { type Conflict } from "./conflicts";
import { css, type Rgb } from "./color";
import { el, setText } from "./dom";
import { cropOf } from "./instance";
import type { Sheet } from "./sheet";
import type { Box, Size, Snapshot } from "./types";

export type Choice = "theirs" | "mine" | "both";

/** What the dialog needs besides the conflict. */
export interface Setting {
  readonly image: Sheet;
  readonly color: Rgb;
  readonly nameOf: (categoryId: number) => string;
  readonly isForeign: boolean; // theirs is not this person's to replace
}

const SIDE = 264; // CSS pixels of a picture
const MARGIN = 0.15; // of the shown part, around both masks
const KEYS: Readonly<Record<string, Choice>> = { 1: "theirs", 2: "mine", 3: "both" };

export class VersusDialog {
  readonly element: HTMLDialogElement;
  private readonly title = el("h2");
  private readonly sides = { theirs: new Side("Theirs"), mine: new Side("Mine") };
  private readonly buttons: Readonly<Record<Choice, HTMLButtonElement>>;
  private conflict: Conflict | null = null;

  constructor(private readonly decide: (conflict: Conflict, choice: Choice) => void) {
    this.buttons = {
      theirs: this.button("theirs", "1", "Take theirs"),
      mine: this.button("mine", "2", "Take mine"),
      both: this.button("both", "3", "Keep both"),
    };
    const later = el("button", { type: "button", class: "mal-button" }, kbd("Esc"), "Later");
    const { theirs, mine } = this.sides;
    this.element = el(
      "dialog",
      { class: "mal-dialog mal-versus", "aria-label": "Which mask is to stand?" },
      this.title,
      el("div", { class: "mal-sides" }, theirs.element, mine.element),
      el("div", { class: "mal-answers" }, ...Object.values(this.buttons), later),
    );
    later.addEventListener("click", () => {
      this.element.close();
    });
    this.element.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the canvas behind is not meant
      const choice = event.ctrlKey || event.altKey || event.metaKey ? undefined : KEYS[event.key];
      if (choice && !this.buttons[choice].disabled) this.choose(choice);
    });
  }

  open(conflict: Conflict, setting: Setting): void {
    this.conflict = conflict;
    const { mine, theirs } = conflict;
    const who = theirs.person === "" ? "Somebody" : theirs.person;
    setText(this.title, `${who} saved mask ${theirs.number} before you`);
    const stands = theirs.state === "deleted" ? null : theirs;
    const part = partOf(stands, mine.after, setting.image);
    const when = new Date(theirs.saved_at).toLocaleTimeString();
    this.sides.theirs.show(stands, part, setting, `${who}, ${when}`);
    this.sides.mine.show(mine.after, part, setting, `you, ${mine.reason}`);
    this.buttons.both.disabled = mine.after === null;
    this.buttons.mine.disabled = setting.isForeign;
    this.buttons.mine.title = setting.isForeign ? `Only a reviewer replaces what ${who} saved` : "";
    if (!this.element.open) this.element.showModal();
    this.buttons.theirs.focus();
  }

  private choose(choice: Choice): void {
    const { conflict } = this;
    this.conflict = null;
    this.element.close();
    if (conflict) this.decide(conflict, choice);
  }

  private button(choice: Choice, key: string, text: string): HTMLButtonElement {
    const options = { type: "button", class: "mal-button", "aria-keyshortcuts": key };
    const button = el("button", options, kbd(key), text);
    button.addEventListener("click", () => {
      this.choose(choice);
    });
    return button;
  }
}

/** One mask on its part of the image, with what is known of it. */
class Side {
  readonly element: HTMLElement;
  private readonly canvas = el("canvas", { width: SIDE * 2, height: SIDE * 2, role: "img" });
  private readonly facts = el("figcaption");

  constructor(private readonly name: string) {
    this.element = el("figure", {}, el("h3", {}, name), this.canvas, this.facts);
  }

  show(snapshot: Snapshot | null, part: Box, setting: Setting, who: string): void {
    const what = snapshot
      ? `${snapshot.state}, ${setting.nameOf(snapshot.category_id)}`
      : "deleted";
    setText(this.facts, `${who}: ${what}`);
    this.canvas.setAttribute("aria-label", `${this.name}: ${what}`);
    const pen = this.canvas.getContext("2d");
    if (pen) paint(pen, snapshot, part, setting);
  }
}

/** Paint a part of the image, square, with the mask upon it. */
function paint(
  pen: CanvasRenderingContext2D,
  snapshot: Snapshot | null,
  [x0, y0, x1, y1]: Box,
  { image, color }: Setting,
): void {
  const side = pen.canvas.width;
  const scale = side / Math.max(x1 - x0, y1 - y0);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, side, side);
  pen.setTransform(scale, 0, 0, scale, side / 2, side / 2);
  pen.translate(-(x0 + x1) / 2, -(y0 + y1) / 2);
  image.draw(pen, { x0, y0, x1, y1 }, scale);
  const { x, y, w, h, data } = cropOf(snapshot?.rle ?? null);
  if (w === 0 || h === 0) return;
  const pixels = new ImageData(w, h);
  const [red, green, blue] = color;
  data.forEach((value, at) => {
    pixels.data.set([red, green, blue, value * 150], at * 4);
  });
  const layer = el("canvas", { width: w, height: h });
  layer.getContext("2d")?.putImageData(pixels, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(layer, x, y);
  const [bx0, by0, bx1, by1] = snapshot?.box ?? [0, 0, 0, 0];
  pen.strokeStyle = css(color);
  pen.lineWidth = 3 / scale;
  pen.strokeRect(bx0, by0, bx1 - bx0, by1 - by0);
}

/** The part of the image to show: both boxes and both masks, and something around them. */
function partOf(a: Snapshot | null, b: Snapshot | null, image: Size): Box {
  const boxes = [a, b].flatMap((one): Box[] => {
    if (!one) return [];
    const { x, y, w, h } = cropOf(one.rle);
    return w > 0 ? [one.box, [x, y, x + w, y + h]] : [one.box];
  });
  if (boxes.length === 0) return [0, 0, image.width, image.height];
  const low = (at: 0 | 1): number => Math.min(...boxes.map((box) => box[at]));
  const high = (at: 2 | 3): number => Math.max(...boxes.map((box) => box[at]));
  const [x0, y0, x1, y1] = [low(0), low(1), high(2), high(3)];
  const margin = Math.max(x1 - x0, y1 - y0) * MARGIN;
  return [x0 - margin, y0 - margin, x1 + margin, y1 + margin];
}

function kbd(key: string): HTMLElement {
  return el("kbd", { "aria-hidden": "true" }, key);
}
