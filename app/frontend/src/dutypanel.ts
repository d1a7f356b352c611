/** Whose the open image is, and the button by which one is done with it. */

import { isDone, dutyHint } from "./duty";
import { el, setText } from "./dom";
import type { Desk, Orders } from "./view";

export class DutyPanel {
  readonly element = el("div", { class: "mal-duty", hidden: true });
  private readonly text = el("p", { class: "mal-hint" });
  private readonly button = el("button", { type: "button", class: "mal-button" });
  private done = false;

  constructor(orders: Orders) {
    this.button.addEventListener("click", () => {
      orders.setDone(!this.done);
    });
    this.element.append(this.text, this.button);
  }

  update({ project, info }: Desk): void {
    const text = info && project ? dutyHint(info, project.person) : "";
    this.element.hidden = text === "";
    if (!info || !project || text === "") return;
    const mine = isDone(info, project.person);
    const isOver = info.assigned.length > 1 && info.assigned.every(({ is_done }) => is_done);
    this.done = mine === true;
    setText(this.text, text);
    this.button.hidden = mine === null || isOver;
    setText(this.button, this.done ? "Not done yet" : "Done with this image");
  }
}
