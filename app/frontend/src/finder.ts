/** Finding a category by a part of its name; those used last come first. */

import { el, setAttribute } from "./dom";
import type { Category } from "./types";

/**
 * The categories a query fits, best first: the name begins with it, a word does, or it holds it.
 *
 * Equals stand in the order last used, then in the project's.
 */
export function findCategories(
  categories: readonly Category[],
  recent: readonly number[],
  query: string,
): readonly Category[] {
  const wanted = query.trim().toLowerCase();
  const rank = ({ name }: Category): number => {
    const at = ` ${name.toLowerCase()}`.indexOf(wanted);
    if (wanted === "" || name.toLowerCase().startsWith(wanted)) return 0;
    return ` ${name.toLowerCase()}`.includes(` ${wanted}`) ? 1 : at < 0 ? 3 : 2;
  };
  const age = ({ id }: Category): number => (recent.includes(id) ? recent.indexOf(id) : Infinity);
  const fitting = categories.filter((one) => rank(one) < 3);
  return fitting.sort((a, b) => rank(a) - rank(b) || compare(age(a), age(b)));
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

let made = 0; // finders, so that the ids in their lists differ

export class CategoryFinder {
  readonly element: HTMLDialogElement;
  private readonly field: HTMLInputElement;
  private readonly list: HTMLElement;
  private readonly prefix = `mal-finder-${++made}-`;
  private categories: readonly Category[] = [];
  private recent: readonly number[] = []; // ids, the one used last first
  private fitting: readonly Category[] = [];
  private at = 0;

  constructor(private readonly onPick: (id: number) => void) {
    this.list = el("ul", {
      ...{ id: `${this.prefix}list`, class: "mal-finder-list" },
      ...{ role: "listbox", "aria-label": "Categories" },
    });
    this.field = el("input", {
      ...{ type: "text", class: "mal-field", placeholder: "Find a category", autocomplete: "off" },
      ...{ role: "combobox", "aria-label": "Find a category", "aria-expanded": "true" },
      "aria-controls": `${this.prefix}list`,
    });
    this.element = el("dialog", { class: "mal-help mal-finder", "aria-label": "Find a category" });
    this.element.append(this.field, this.list);
    this.field.addEventListener("input", () => {
      this.show(0);
    });
    this.element.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the canvas behind is not meant
      this.key(event);
    });
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close();
    });
  }

  /** Remember that a category was used, in whatever way it was chosen. */
  used(id: number): void {
    this.recent = [id, ...this.recent.filter((one) => one !== id)];
  }

  open(categories: readonly Category[]): void {
    if (this.element.open) return;
    this.categories = categories;
    this.field.value = "";
    this.show(0);
    this.element.showModal();
    this.field.focus();
  }

  private key(event: KeyboardEvent): void {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by !== undefined) this.show(this.at + by);
    else if (event.key === "Enter") this.pick(this.fitting.at(this.at));
    else return;
    event.preventDefault();
  }

  private pick(category: Category | undefined): void {
    if (!category) return;
    this.element.close();
    this.onPick(category.id);
  }

  private show(at: number): void {
    this.fitting = findCategories(this.categories, this.recent, this.field.value);
    const count = this.fitting.length;
    this.at = count === 0 ? 0 : (at + count) % count;
    const none = el("li", { class: "mal-hint" }, "No category of that name.");
    const lines = this.fitting.map((one, index) => this.line(one, index));
    this.list.replaceChildren(...(count > 0 ? lines : [none]));
    this.list.children[this.at].scrollIntoView({ block: "nearest" });
    const active = count > 0 ? `${this.prefix}${this.at}` : null;
    setAttribute(this.field, "aria-activedescendant", active);
  }

  private line(category: Category, index: number): HTMLElement {
    const swatch = el("span", { class: "mal-swatch" });
    swatch.style.background = category.color;
    const isAt = index === this.at;
    const line = el(
      "li",
      {
        ...{ class: "mal-row", role: "option", id: `${this.prefix}${index}` },
        "aria-selected": String(isAt),
      },
      swatch,
      el("span", { class: "mal-row-name" }, category.name),
    );
    line.addEventListener("click", () => {
      this.pick(category);
    });
    return line;
  }
}
