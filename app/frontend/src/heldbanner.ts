/** Says over an image that somebody else works on it, and lets the person take it. */

import { el, setText } from "./dom";
import { heldText } from "./presence";
import type { Desk, Orders } from "./view";

export class HeldBanner {
  readonly element = el("div", { class: "mal-held", role: "status", hidden: true });
  private readonly text = el("p");
  private readonly take = el("button", { type: "button", class: "mal-button" });

  constructor(orders: Orders) {
    this.take.addEventListener("click", () => {
      orders.takeImage();
    });
    this.element.append(this.text, this.take);
  }

  update({ presence }: Desk): void {
    const text = heldText(presence);
    this.element.hidden = text === "";
    if (text === "") return;
    setText(this.text, text);
    this.take.hidden = !presence.isFree && !presence.mayTake;
    setText(this.take, presence.isFree ? "Work on it" : "Take over");
  }
}
