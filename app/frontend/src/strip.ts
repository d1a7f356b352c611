/** The strip of images with thumbnails, fetched when they come into sight, and their states. */

import { dutyText } from "./duty";
import { el, setAttribute, setText } from "./dom";
import type { ImageInfo } from "./types";
import { type Desk, type Orders, STATE_NAMES, STATES } from "./view";

interface Cell {
  readonly button: HTMLButtonElement;
  readonly picture: HTMLImageElement;
  readonly dots: HTMLElement;
  readonly people: HTMLElement;
  readonly owner: HTMLElement;
  shown: string;
}

export class Strip {
  readonly element = el("div", { class: "mal-strip" });
  private readonly list = el("ol", { class: "mal-thumbs", "aria-label": "Images" });
  private readonly cells = new Map<number, Cell>();
  private readonly urls = new Map<number, string>();
  private readonly watcher: IntersectionObserver;
  private current: number | null = null;
  private order = "";

  constructor(private readonly orders: Orders) {
    this.element.append(this.list);
    this.watcher = new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          if (isIntersecting) void this.fetch(Number((target as HTMLElement).dataset["image"]));
        }
      },
      { root: this.list, rootMargin: "0px 400px" },
    );
  }

  update(view: Desk): void {
    const images = view.project?.images ?? [];
    const order = images.map(({ id }) => id).join();
    const isOther = order !== this.order;
    if (isOther) this.rebuild(images);
    this.order = order;
    for (const info of images) this.fill(info, view);
    const current = view.info?.id ?? null;
    if (isOther || current !== this.current) this.reveal(current);
    this.current = current;
  }

  stop(): void {
    this.watcher.disconnect();
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    this.urls.clear();
  }

  private rebuild(images: readonly ImageInfo[]): void {
    this.stop();
    this.cells.clear();
    this.list.replaceChildren(...images.map((info) => el("li", {}, this.cell(info))));
    for (const { button } of this.cells.values()) this.watcher.observe(button);
  }

  private cell({ id, file_name }: ImageInfo): HTMLButtonElement {
    const picture = el("img", { alt: "", class: "mal-picture", draggable: "false" });
    const dots = el("span", { class: "mal-dots" });
    const people = el("span", { class: "mal-people" });
    const owner = el("span", { class: "mal-owner" });
    const button = el("button", {
      type: "button",
      class: "mal-thumb",
      title: file_name,
      "data-image": id,
    });
    button.append(el("span", { class: "mal-hidden" }, file_name), picture, owner, dots, people);
    button.addEventListener("click", () => {
      void this.orders.open(id);
    });
    this.cells.set(id, { button, picture, dots, people, owner, shown: "" });
    return button;
  }

  private fill(info: ImageInfo, view: Desk): void {
    const cell = this.cells.get(info.id);
    if (!cell) return;
    setAttribute(cell.button, "aria-current", info.id === view.info?.id ? "true" : null);
    const here = view.presence.others.filter(({ image_id }) => image_id === info.id);
    setText(cell.people, here.map(({ person }) => person || "Somebody").join(", "));
    setText(cell.owner, dutyText(info, view.project?.person ?? ""));
    const counts = view.countsOf(info);
    const shown = STATES.map((state) => counts[state]).join();
    if (shown === cell.shown) return;
    cell.shown = shown;
    const present = STATES.filter((state) => counts[state] > 0);
    cell.dots.replaceChildren(
      ...present.map((state) => {
        const words = el("span", { class: "mal-hidden" }, ` ${STATE_NAMES[state].toLowerCase()} `);
        return el("span", { class: "mal-dot", "data-state": state }, String(counts[state]), words);
      }),
    );
  }

  private async fetch(id: number): Promise<void> {
    const cell = this.cells.get(id);
    if (!cell || this.urls.has(id)) return;
    this.watcher.unobserve(cell.button);
    this.urls.set(id, "");
    try {
      const url = URL.createObjectURL(await this.orders.thumb(id));
      this.urls.set(id, url);
      cell.picture.src = url;
    } catch {
      this.urls.delete(id); // the name still stands; opening the image tells what is wrong
      setAttribute(cell.button, "data-broken", "");
    }
  }

  /** Scroll the strip, and never the page, to the image that was opened. */
  private reveal(id: number | null): void {
    const button = id === null ? undefined : this.cells.get(id)?.button;
    if (!button) return;
    const left = button.offsetLeft - (this.list.clientWidth - button.offsetWidth) / 2;
    this.list.scrollTo({ left, behavior: "auto" });
  }
}
