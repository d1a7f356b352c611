/** The comments beside the canvas: what was written, by whom, and a field for more. */

import { el, setAttribute, setText } from "./dom";
import { icon } from "./icons";
import { signed } from "./keysigns";
import type { Comment } from "./types";
import type { Desk, Orders } from "./view";

const MOST = 4000; // characters; the server takes no more

export class CommentsPanel {
  readonly element = el("section", { class: "mal-comments", "aria-label": "Comments" });
  private readonly opener: HTMLButtonElement;
  private readonly count = el("span", { class: "mal-count" });
  private readonly body = el("div", { class: "mal-comment-body", hidden: true });
  private readonly list = el("ol", { class: "mal-comment-list" });
  private readonly empty = el("p", { class: "mal-hint" });
  private readonly about = el("select", { class: "mal-select", "aria-label": "About" });
  private readonly field = el("textarea", {
    ...{ class: "mal-field mal-text", rows: 2, maxlength: MOST },
    ...{ "aria-label": "Comment", placeholder: "Write a comment" },
  });
  private readonly send = el("button", { type: "button", class: "mal-button" }, "Comment");
  private readonly leave = el("button", { type: "button", class: "mal-button" }, "Cancel");
  private readonly drafts = new Map<number, string>(); // what is written and not sent, by image
  private imageId = 0;
  private backId: number | null = null; // the mask that is being sent back
  private shown: readonly Comment[] | null = null;
  private options = "";
  private isBusy = false;

  constructor(private readonly orders: Orders) {
    this.opener = el("button", {
      ...{ type: "button", class: "mal-disclosure", "aria-expanded": "false" },
      ...signed("comment", "Comments"),
    });
    this.opener.append(icon("comment"), el("span", {}, "Comments"), this.count);
    const form = el("div", { class: "mal-answers" }, this.about, this.leave, this.send);
    this.body.append(this.list, this.empty, this.field, form);
    this.element.append(el("h2", { class: "mal-heading" }, this.opener), this.body);
    this.listen();
  }

  /** Open the panel with the cursor in its field; or close it. */
  toggle(): void {
    if (this.body.hidden) this.open();
    else this.close();
  }

  /** Ask what is to be mended of a mask, and send it back with the answer. */
  askBack(id: number): void {
    this.backId = id;
    this.open();
  }

  update(view: Desk): void {
    const { editor, comments } = view;
    this.turnTo(editor.image?.id ?? 0);
    const count = comments.all.length;
    setText(this.count, count > 0 ? String(count) : "");
    setText(this.empty, editor.image ? "Nobody wrote anything about this image yet." : "");
    this.empty.hidden = count > 0;
    this.fillList(view);
    const back = this.backId === null ? null : editor.find(this.backId);
    this.fillAbout(back ?? editor.selected, back !== null);
    this.fillForm(back?.number ?? null, editor.image !== null);
  }

  private fillForm(back: number | null, isOpen: boolean): void {
    if (back === null) this.backId = null;
    setText(this.send, back === null ? "Comment" : "Send back");
    const asks = back === null ? "Write a comment" : `What is to be mended of mask ${back}?`;
    setAttribute(this.field, "placeholder", asks);
    this.leave.hidden = back === null;
    this.send.disabled = this.isBusy || !isOpen || this.field.value.trim() === "";
  }

  private open(): void {
    this.body.hidden = false;
    setAttribute(this.opener, "aria-expanded", "true");
    this.orders.look();
    this.field.focus();
  }

  private close(): void {
    this.body.hidden = true;
    this.backId = null;
    setAttribute(this.opener, "aria-expanded", "false");
    this.opener.focus({ preventScroll: true });
    this.orders.look();
  }

  /** Each image has its own unsent words. */
  private turnTo(imageId: number): void {
    if (imageId === this.imageId || imageId === 0) return;
    this.drafts.set(this.imageId, this.field.value);
    this.field.value = this.drafts.get(imageId) ?? "";
    this.imageId = imageId;
    this.backId = null;
  }

  private fillList({ comments, editor, project }: Desk): void {
    if (comments.all === this.shown) return;
    this.shown = comments.all;
    const nameOf = (id: number): string => {
      const item = editor.find(id);
      return item ? `Mask ${item.number}` : "A deleted mask";
    };
    this.list.replaceChildren(
      ...comments.all.map((one) => this.line(one, nameOf, one.person === project?.person)),
    );
    this.list.scrollTop = this.list.scrollHeight;
  }

  private line(one: Comment, nameOf: (id: number) => string, isOwn: boolean): HTMLElement {
    const who = `${one.person || "Somebody"}${isOwn ? " (you)" : ""}`;
    const when = new Date(one.written_at).toLocaleString([], {
      ...{ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
    });
    const head = el("p", { class: "mal-comment-head" }, el("strong", {}, who), ` ${when} `);
    const { instance_id } = one;
    if (instance_id !== null) {
      const button = el("button", { type: "button", class: "mal-link" }, nameOf(instance_id));
      button.addEventListener("click", () => {
        this.orders.select(instance_id);
      });
      head.append(button);
    }
    return el("li", {}, head, el("p", { class: "mal-comment-text" }, one.text));
  }

  private fillAbout(item: { id: number; number: number } | null, isFixed: boolean): void {
    const key = item ? `${item.id}/${item.number}` : "";
    if (key !== this.options) {
      this.options = key;
      const image = el("option", { value: "" }, "The image");
      const mask = item ? [el("option", { value: item.id }, `Mask ${item.number}`)] : [];
      this.about.replaceChildren(...mask, image);
    }
    if (isFixed) this.about.value = String(item?.id ?? "");
    this.about.hidden = isFixed; // the field says which
  }

  private async submit(): Promise<void> {
    const [text, id, imageId] = [this.field.value, this.backId, this.imageId];
    if (text.trim() === "" || this.isBusy) return;
    const about = this.about.value === "" ? null : Number(this.about.value);
    this.isBusy = true;
    this.orders.look();
    const isDone = await (id === null
      ? this.orders.comment(about, text)
      : this.orders.sendBack(id, text));
    this.isBusy = false;
    if (isDone) {
      this.drafts.delete(imageId);
      if (imageId === this.imageId) this.field.value = "";
      this.backId = null;
    }
    this.orders.look();
  }

  private listen(): void {
    this.opener.addEventListener("click", () => {
      this.toggle();
    });
    this.send.addEventListener("click", () => void this.submit());
    this.leave.addEventListener("click", () => {
      this.close();
    });
    this.field.addEventListener("input", () => {
      this.orders.look();
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void this.submit();
      else if (event.key === "Escape") this.close();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }
}
