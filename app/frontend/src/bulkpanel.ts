/** The preview of "accept all above a score": how many, which, and the button that does it. */

import type { Bulk } from "./bulk";
import { el, setText } from "./dom";
import { signed } from "./keysigns";
import type { Candidate } from "./types";
import { type Desk, may, type Orders, percent } from "./view";

const SHOWN = 12; // pictures
const SIDE = 56; // CSS pixels of one

export class BulkPanel {
  readonly element = el("div", { class: "mal-bulk" });
  private readonly opener = el("button", {
    ...{ type: "button", class: "mal-button" },
    ...signed("accept.above", "Accept all above a score"),
  });
  private readonly body = el("div", { class: "mal-bulk-body", role: "group", hidden: true });
  private readonly slider = el("input", {
    ...{ type: "range", min: 0, max: 100, step: 1, class: "mal-slider" },
    "aria-label": "Least score, percent",
  });
  private readonly value = el("output", { class: "mal-value" });
  private readonly text = el("p", { class: "mal-bulk-text", "aria-live": "polite" });
  private readonly pictures = el("ul", { class: "mal-bulk-list", "aria-label": "Least certain" });
  private readonly accept = el("button", { type: "button", class: "mal-button mal-accept" });
  private readonly cancel = el("button", { type: "button", class: "mal-button" }, "Cancel");
  private readonly thumbs = new Map<number, Promise<ImageBitmap>>();
  private shown = "";

  constructor(private readonly orders: Orders) {
    this.opener.append("Accept all above…");
    this.body.setAttribute("aria-label", "Accept all above a score");
    const line = el(
      "label",
      { class: "mal-line" },
      el("span", { class: "mal-label" }, "Score from"),
    );
    line.append(this.slider, this.value);
    const answers = el("div", { class: "mal-answers" }, this.accept, this.cancel);
    this.body.append(line, this.text, this.pictures, answers);
    this.element.append(this.opener, this.body);
    this.listen();
  }

  update(view: Desk): void {
    const { bulk } = view;
    const wasOpen = !this.body.hidden;
    this.body.hidden = !bulk.isOpen;
    this.opener.hidden = bulk.isOpen || !may(view, "review");
    this.opener.disabled = bulk.isBusy || !view.project;
    if (!bulk.isOpen) {
      if (wasOpen) this.forget();
      return;
    }
    this.slider.value = String(Math.round(bulk.score * 100));
    setText(this.value, percent(bulk.score));
    this.slider.setAttribute("aria-valuetext", percent(bulk.score));
    const { masks } = bulk;
    setText(this.text, previewText(masks, view.editor.image?.id ?? 0));
    setText(this.accept, `Accept ${masks.length}`);
    this.accept.disabled = masks.length === 0 || bulk.isBusy;
    this.fill(masks.slice(0, SHOWN), view);
    if (!wasOpen) this.slider.focus({ preventScroll: true });
  }

  private fill(masks: readonly Candidate[], view: Desk): void {
    const key = masks.map(({ id }) => id).join();
    if (key === this.shown) return;
    this.shown = key;
    this.pictures.replaceChildren(...masks.map((mask) => el("li", {}, this.picture(mask, view))));
  }

  /** A small picture of what a mask's box holds; a click goes there. */
  private picture(mask: Candidate, { project }: Desk): HTMLButtonElement {
    const info = project?.images.find(({ id }) => id === mask.image_id);
    const name = `Mask ${mask.number} on ${info?.file_name ?? "another image"}`;
    const title = `${name}, ${percent(mask.score)}`;
    const button = el("button", { type: "button", class: "mal-crop", title, "aria-label": title });
    const canvas = el("canvas", { width: SIDE * 2, height: SIDE * 2 });
    button.append(canvas, el("span", {}, percent(mask.score)));
    button.addEventListener("click", () => {
      this.orders.visit(mask.image_id, mask.id);
    });
    if (info) void this.draw(canvas, mask, info.width);
    return button;
  }

  private async draw(canvas: HTMLCanvasElement, mask: Candidate, width: number): Promise<void> {
    const fetched = this.thumbs.get(mask.image_id) ?? this.thumb(mask.image_id);
    this.thumbs.set(mask.image_id, fetched);
    const thumb = await fetched.catch(() => null);
    const pen = canvas.getContext("2d");
    if (!thumb || !pen) return; // the name still stands
    const scale = thumb.width / width;
    const [x0, y0, x1, y1] = mask.box.map((side) => side * scale);
    const side = Math.max(x1 - x0, y1 - y0) * 1.15;
    const size = canvas.width;
    const [left, top] = [(x0 + x1 - side) / 2, (y0 + y1 - side) / 2];
    pen.drawImage(thumb, left, top, side, side, 0, 0, size, size);
  }

  private async thumb(imageId: number): Promise<ImageBitmap> {
    return createImageBitmap(await this.orders.thumb(imageId));
  }

  private forget(): void {
    for (const one of this.thumbs.values()) {
      one.then(
        (bitmap) => {
          bitmap.close();
        },
        () => undefined,
      );
    }
    this.thumbs.clear();
    this.pictures.replaceChildren();
    this.shown = "";
    this.opener.focus({ preventScroll: true });
  }

  private listen(): void {
    this.opener.addEventListener("click", () => {
      this.orders.act("accept.above");
    });
    this.slider.addEventListener("input", () => {
      this.orders.setScore(Number(this.slider.value) / 100);
    });
    this.accept.addEventListener("click", () => {
      this.orders.acceptAll();
    });
    this.cancel.addEventListener("click", () => {
      this.orders.act("accept.above");
    });
    this.body.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.orders.act("accept.above");
    });
  }
}

/** "12 masks on 3 images; 4 of them here, highlighted." */
function previewText(masks: Bulk["masks"], here: number): string {
  const images = new Set(masks.map(({ image_id }) => image_id)).size;
  const shown = masks.filter(({ image_id }) => image_id === here).length;
  if (masks.length === 0) return "No proposal has such a score.";
  const what = masks.length === 1 ? "1 mask" : `${masks.length} masks`;
  const where = images === 1 ? "1 image" : `${images} images`;
  const mark = shown > 0 ? `; ${shown} here, highlighted` : "";
  return `${what} on ${where}${mark}. The least certain:`;
}
