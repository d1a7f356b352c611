/** The panel beside the canvas: category, list of instances, and the buttons of review. */

import { Answers } from "./answers";
import { css } from "./color";
import { CommentsPanel } from "./commentspanel";
import { el, setAttribute, setText } from "./dom";
import { icon } from "./icons";
import type { Instance } from "./instance";
import type { Renderer } from "./renderer";
import { QueuePanel } from "./queuepanel";
import { SENT_BACK } from "./reviewing";
import { actionButton } from "./toolbar";
import { categoryOf, type Desk, may, type Orders, percent, STATE_NAMES, type View } from "./view";

interface Row {
  readonly element: HTMLLIElement;
  readonly swatch: HTMLElement;
  readonly number: HTMLElement;
  readonly name: HTMLElement;
  readonly lock: HTMLElement;
  readonly hidden: HTMLElement;
  readonly flag: HTMLElement;
  readonly said: HTMLElement;
  readonly score: HTMLElement;
  readonly state: HTMLElement;
  shown: Instance | null;
  look: string; // all that it shows besides
}

const FLAG = {
  class: "mal-flag",
  role: "img",
  title: "Suspicious mask: look twice",
  "aria-label": "flagged",
};

let made = 0; // panels, so that the ids in their rows differ

export class Panel {
  readonly element = el("aside", { class: "mal-panel", "aria-label": "Masks of this image" });
  private readonly picker: CategoryPicker;
  private readonly list = el("ul", {
    class: "mal-list",
    role: "listbox",
    tabindex: 0,
    "aria-label": "Masks",
    "aria-multiselectable": "true",
  });
  private readonly title = el("h2", { class: "mal-heading" });
  private readonly summary = el("span", { class: "mal-muted" });
  private readonly empty = el("p", { class: "mal-hint" });
  private readonly answers: Answers;
  readonly comments: CommentsPanel;
  readonly queue: QueuePanel;
  private readonly rows = new Map<number, Row>();
  private readonly prefix = `mal-${++made}-mask-`;

  constructor(
    private readonly orders: Orders,
    private readonly renderer: Renderer,
  ) {
    this.picker = new CategoryPicker(orders);
    this.answers = new Answers(orders);
    this.comments = new CommentsPanel(orders);
    this.queue = new QueuePanel(orders);
    const head = el("div", { class: "mal-panel-head" }, this.title, this.summary);
    const masks = el("div", { class: "mal-masks" }, head, this.list, this.empty);
    this.element.append(
      this.picker.element,
      this.queue.element,
      masks,
      this.comments.element,
      this.answers.element,
    );
    this.list.addEventListener("keydown", (event) => {
      this.key(event);
    });
  }

  update(view: Desk): void {
    const all = view.editor.instances;
    this.picker.update(view);
    this.queue.update(view);
    this.answers.update(view);
    this.comments.update(view);
    setText(this.title, "Masks");
    const done = all.filter((one) => one.state === "accepted").length;
    setText(this.summary, all.length > 0 ? `${done} of ${all.length} accepted` : "");
    this.empty.hidden = all.length > 0;
    setText(this.empty, view.editor.image ? "Drag a box around an object." : "");
    this.updateRows(view, all);
  }

  private updateRows(view: Desk, all: readonly Instance[]): void {
    const gone = new Set(this.rows.keys());
    all.forEach((item, index) => {
      const row = this.rows.get(item.id) ?? this.addRow(item.id);
      gone.delete(item.id);
      if (this.list.children[index] !== row.element) {
        this.list.insertBefore(row.element, this.list.children[index] ?? null);
      }
      this.fill(row, item, view);
    });
    for (const id of gone) {
      this.rows.get(id)?.element.remove();
      this.rows.delete(id);
    }
    const selected = view.editor.selected;
    setAttribute(
      this.list,
      "aria-activedescendant",
      selected ? `${this.prefix}${selected.id}` : null,
    );
  }

  private addRow(id: number): Row {
    const row: Row = {
      element: el("li", { class: "mal-row", role: "option", id: `${this.prefix}${id}` }),
      swatch: el("span", { class: "mal-swatch" }),
      number: el("span", { class: "mal-number" }),
      name: el("span", { class: "mal-row-name" }),
      lock: mark("lock", "Locked: click to unlock"),
      hidden: mark("hidden", "Hidden: click to show"),
      flag: el("span", FLAG, icon("flag")),
      said: el("span", { class: "mal-count", role: "img", title: "Comments" }),
      score: el("span", { class: "mal-score", title: "How sure the model is" }),
      state: el("span", { class: "mal-badge" }),
      shown: null,
      look: "",
    };
    const { element, swatch, number, name, lock, hidden, flag, said, score, state } = row;
    element.append(swatch, number, name, said, lock, hidden, flag, score, state);
    element.addEventListener("click", (event) => {
      const at = event.target as Node;
      if (lock.contains(at)) this.orders.place(id, { locked: false });
      else if (hidden.contains(at)) this.orders.place(id, { hidden: false });
      else this.orders.select(id, event.shiftKey || event.ctrlKey || event.metaKey);
    });
    this.rows.set(id, row);
    return row;
  }

  private fill(row: Row, item: Instance, view: Desk): void {
    const isSelected = item.id === view.editor.selectedId;
    const { locked, hidden } = view.editor.placings.of(item.id);
    const name = categoryOf(view, item.category_id)?.name ?? "no category";
    const color = css(this.renderer.colorOf(item));
    const isChosen = view.editor.isChosen(item.id);
    const look = [isSelected, isChosen, locked, hidden, color, name].join();
    if (row.shown === item && row.look === look) return; // hundreds of rows, at every move
    [row.shown, row.look] = [item, look];
    const wasSelected = row.element.hasAttribute("data-current");
    row.swatch.style.background = color;
    setText(row.number, String(item.number));
    setText(row.name, name);
    setText(row.score, item.score === null ? "" : percent(item.score));
    setText(row.state, stateText(item));
    const said = view.comments.countOf(item.id);
    setText(row.said, said > 0 ? String(said) : "");
    setAttribute(row.said, "aria-label", said === 1 ? "1 comment" : `${said} comments`);
    row.said.hidden = said === 0;
    row.flag.hidden = !item.flagged;
    row.lock.hidden = !locked;
    row.hidden.hidden = !hidden;
    setAttribute(row.element, "data-state", item.state);
    setAttribute(row.element, "aria-selected", String(isChosen));
    setAttribute(row.element, "data-current", isSelected ? "" : null);
    if (isSelected && !wasSelected) row.element.scrollIntoView({ block: "nearest" });
  }

  private key(event: KeyboardEvent): void {
    const actions = { ArrowDown: "select.next", ArrowUp: "select.previous" } as const;
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    event.stopPropagation();
    this.orders.act(actions[event.key]);
  }
}

/** A sign in a row that a click takes away. */
function mark(name: "lock" | "hidden", title: string): HTMLElement {
  return el(
    "span",
    { class: "mal-flag mal-mark", role: "img", title, "aria-label": name },
    icon(name),
  );
}

function stateText({ state, reason }: Instance): string {
  if (state === "deleted") return "";
  return state === "proposed" && reason === SENT_BACK ? "Sent back" : STATE_NAMES[state];
}

/** One instance in words: "Mask 3, person, 87 %, proposed". */
export function spoken(item: Instance, view: View): string {
  const parts = [`Mask ${item.number}`, categoryOf(view, item.category_id)?.name ?? "no category"];
  if (item.score !== null) parts.push(percent(item.score));
  parts.push(stateText(item).toLowerCase());
  const { locked, hidden } = view.editor.placings.of(item.id);
  if (locked) parts.push("locked");
  if (hidden) parts.push("hidden");
  if (item.rle === null) parts.push("no mask yet");
  if (item.flagged) parts.push("flagged");
  return parts.join(", ");
}

/** Chooses a category for the next box, or for the selected instance, and adds new ones. */
class CategoryPicker {
  readonly element = el("div", { class: "mal-category" });
  private readonly swatch = el("span", { class: "mal-swatch" });
  private readonly select = el("select", { class: "mal-select", "aria-label": "Category" });
  private readonly label = el("span", { class: "mal-label" });
  private readonly field = el("input", {
    type: "text",
    class: "mal-field",
    maxlength: 80,
    placeholder: "New category",
    "aria-label": "Name of a new category",
    autocomplete: "off",
  });
  private readonly form: HTMLElement;
  private readonly opener: HTMLButtonElement;
  private shown = "";

  constructor(private readonly orders: Orders) {
    this.opener = el("button", {
      type: "button",
      class: "mal-button mal-plain",
      title: "Add a category",
      "aria-label": "Add a category",
      "aria-expanded": "false",
    });
    this.opener.append(icon("plus"));
    const add = el("button", { type: "button", class: "mal-button" }, "Add");
    this.form = el("div", { class: "mal-add", hidden: true }, this.field, add);
    const find = actionButton(orders, "category.search", "find", "Find a category");
    const line = el("div", { class: "mal-pick" }, this.swatch, this.select, find, this.opener);
    this.element.append(this.label, line, this.form);
    this.listen(add);
  }

  update(view: View): void {
    const { editor, project } = view;
    const categories = project?.categories ?? [];
    const item = editor.drawsBoxes ? null : editor.selected;
    const id = item?.category_id ?? editor.categoryId;
    this.fill(categories);
    this.select.value = String(id);
    this.select.disabled = categories.length === 0;
    this.opener.hidden = !may(view, "manage");
    setText(this.label, item ? `Category of mask ${item.number}` : "Category of new boxes");
    this.swatch.style.background = categoryOf(view, id)?.color ?? "transparent";
  }

  private fill(categories: readonly { id: number; name: string }[]): void {
    const key = JSON.stringify(categories);
    if (key === this.shown) return;
    this.shown = key;
    const options = categories.map(({ id, name }, index) =>
      el("option", { value: id }, index < 9 ? `${index + 1}  ${name}` : name),
    );
    const none = el("option", { value: 0 }, "No categories yet");
    this.select.replaceChildren(...(options.length > 0 ? options : [none]));
  }

  private listen(add: HTMLButtonElement): void {
    this.select.addEventListener("change", () => {
      this.orders.setCategory(Number(this.select.value));
    });
    this.opener.addEventListener("click", () => {
      this.toggle(this.form.hasAttribute("hidden"));
    });
    add.addEventListener("click", () => void this.submit());
    this.field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") void this.submit();
      if (event.key === "Escape") this.toggle(false);
    });
  }

  private toggle(open: boolean): void {
    this.form.toggleAttribute("hidden", !open);
    setAttribute(this.opener, "aria-expanded", String(open));
    (open ? this.field : this.opener).focus();
  }

  private async submit(): Promise<void> {
    const name = this.field.value.trim();
    if (name === "") {
      this.field.focus();
      return;
    }
    if (!(await this.orders.addCategory(name))) return;
    this.field.value = "";
    this.toggle(false);
  }
}
