/** What is selected, and the answers to it: an annotator's, or a reviewer's. */

import { el, setAttribute, setText } from "./dom";
import type { Action } from "./keys";
import type { IconName } from "./icons";
import { spoken } from "./panel";
import { actionButton } from "./toolbar";
import type { Desk, Orders } from "./view";

export class Answers {
  readonly element = el("div", { class: "mal-review", role: "group", "aria-label": "Review" });
  private readonly text = el("p", { class: "mal-selected" });
  private readonly own: Readonly<Record<"accept" | "reject" | "remove", HTMLButtonElement>>;
  private readonly reviewer: Readonly<Record<"accept" | "back", HTMLButtonElement>>;

  constructor(orders: Orders) {
    const make = (
      action: Action,
      name: IconName,
      label: string,
      look: string,
      key = action,
    ): HTMLButtonElement => actionButton(orders, action, name, label, { look, text: true, key });
    this.own = {
      accept: make("accept", "check", "Accept", "mal-accept", "confirm"),
      reject: make("reject", "cross", "Reject", "mal-reject", "cancel"),
      remove: make("delete", "trash", "Delete", "mal-delete"),
    };
    this.reviewer = {
      accept: make("accept.next", "check", "Accept", "mal-accept", "confirm"),
      back: make("send.back", "undo", "Send back", "mal-reject"),
    };
    const buttons = [...Object.values(this.own), ...Object.values(this.reviewer)];
    this.element.append(this.text, el("div", { class: "mal-answers" }, ...buttons));
  }

  update(view: Desk): void {
    const { selected: item, chosen } = view.editor;
    const { isOn } = view.reviewing;
    setText(this.text, selectedText(view));
    for (const button of Object.values(this.own)) button.hidden = isOn;
    for (const button of Object.values(this.reviewer)) button.hidden = !isOn;
    const { accept, reject, remove } = this.own;
    label(accept, item?.rle === null ? "Propose mask" : "Accept");
    const own = chosen.filter((one) => !view.editor.isForeign(one));
    accept.disabled = own.every(({ state }) => state === "accepted");
    reject.disabled = own.every(({ state }) => state === "rejected");
    remove.disabled = own.length === 0;
    this.reviewer.accept.disabled = !item;
    this.reviewer.back.disabled = chosen.length !== 1 || item?.rle === null;
  }
}

/** What is selected, and whether somebody else has the word on it. */
function selectedText(view: Desk): string {
  const { editor } = view;
  const { selected: item, chosen, instances } = editor;
  if (chosen.length > 1) return `${chosen.length} masks chosen`;
  if (!item) return instances.length === 0 ? "" : "Select a mask to review it.";
  return spoken(item, view) + (editor.isForeign(item) ? ". Only a reviewer changes it." : "");
}

function label(button: HTMLButtonElement, text: string): void {
  setText(button.lastElementChild as Element, text);
  setAttribute(button, "data-name", text); // its title follows: see keysigns.ts
}
