/** Says while the studio cannot be reached that nothing is lost, and what waits to be sent. */

import { el, setText } from "./dom";
import type { Orders, View } from "./view";

/** What waits in this browser, by image. */
export type Waiting = ReadonlyMap<number, { masks: number; boxes: number }>;

export class Banner {
  readonly element = el("div", { class: "mal-banner", role: "status", hidden: true });
  private readonly text = el("p");

  constructor(orders: Orders) {
    const retry = el("button", { type: "button", class: "mal-button" }, "Try now");
    retry.addEventListener("click", () => {
      orders.retry();
    });
    this.element.append(this.text, retry);
  }

  update({ project }: View, waiting: Waiting, isCutOff: boolean): void {
    this.element.hidden = !isCutOff;
    if (!isCutOff) return;
    const names = new Map(project?.images.map(({ id, file_name }) => [id, file_name]));
    setText(
      this.text,
      bannerText(waiting, (id) => names.get(id) ?? "another project"),
    );
  }
}

/** "The studio does not answer. 2 masks on a.jpg wait in this browser …". */
export function bannerText(waiting: Waiting, nameOf: (imageId: number) => string): string {
  const places = [...waiting].map(([id, { masks, boxes }]) => {
    const parts = [count(masks, "mask", "masks"), count(boxes, "box", "boxes")];
    return `${parts.filter(Boolean).join(" and ")} on ${nameOf(id)}`;
  });
  const here = places.slice(0, 3).join(", ") + (places.length > 3 ? " and elsewhere" : "");
  const what = here === "" ? "Nothing waits" : `Waiting here in your browser: ${here}`;
  return `The studio does not answer. ${what}; you can go on.`;
}

function count(number: number, one: string, many: string): string {
  return number === 0 ? "" : `${number} ${number === 1 ? one : many}`;
}
