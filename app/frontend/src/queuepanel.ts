/** The queue beside the canvas: what is left, the way through it, and the filter. */

import { BulkPanel } from "./bulkpanel";
import { el, setAttribute, setText } from "./dom";
import { DutyPanel } from "./dutypanel";
import { icon } from "./icons";
import { signed } from "./keysigns";
import { EVERYTHING, type Filter, isSame, TO_REVIEW } from "./queue";
import { actionButton } from "./toolbar";
import { may, type Orders, STATE_NAMES, STATES, type Desk, type View } from "./view";
import type { Walk } from "./walk";

type Option = readonly [value: string, text: string];
type Part = Exclude<keyof Filter, "low" | "high" | "finding">;

const ORDER = "Those come first that looking at saves most time";
const ANY: Option = ["", "Any"];

export class QueuePanel {
  readonly element = el("section", { class: "mal-queue", "aria-label": "Queue" });
  private readonly count = el("span", { class: "mal-muted", title: ORDER });
  private readonly finding = el("p", { class: "mal-finding" });
  private readonly hint = el("p", { class: "mal-hint" });
  private readonly clear = el("button", { type: "button", class: "mal-button" }, "Clear filter");
  private readonly opener: HTMLButtonElement;
  private readonly form = el("div", { class: "mal-filter", role: "group", "aria-label": "Filter" });
  private readonly fields = new Map<Part, HTMLSelectElement>();
  private readonly bounds: Readonly<Record<"low" | "high", HTMLInputElement>>;
  private readonly steps: readonly HTMLButtonElement[];
  private readonly bulk: BulkPanel;
  private readonly mode: HTMLButtonElement;
  private readonly duty: DutyPanel;
  private usual: Filter = TO_REVIEW; // unless the person filters

  constructor(private readonly orders: Orders) {
    this.opener = el("button", {
      ...{ type: "button", class: "mal-button mal-plain", "aria-expanded": "false" },
      ...{ ...signed("queue.filter", "Filter"), "aria-label": "Filter" },
    });
    this.opener.append(icon("filter"));
    this.steps = [
      actionButton(orders, "queue.previous", "left", "Previous of the queue"),
      actionButton(orders, "queue.next", "right", "Next", { look: "mal-next", text: true }),
    ];
    this.bounds = { low: this.bound("low", "Least score"), high: this.bound("high", "Most score") };
    this.bulk = new BulkPanel(orders);
    this.duty = new DutyPanel(orders);
    this.mode = actionButton(orders, "reviewer", "eye", "Reviewer", { look: "", text: true });
    this.build();
  }

  /** Open or close the filter, and take the focus there or back. */
  toggle(): void {
    this.form.hidden = !this.form.hidden;
    setAttribute(this.opener, "aria-expanded", String(!this.form.hidden));
    const first = this.fields.get("states");
    (this.form.hidden ? this.opener : first)?.focus({ preventScroll: true });
  }

  update(view: Desk): void {
    const { walk, reviewing } = view;
    const { queue } = walk;
    this.bulk.update(view);
    this.duty.update(view);
    this.usual = reviewing.filter;
    setAttribute(this.mode, "aria-pressed", String(reviewing.isOn));
    this.mode.hidden = !may(view, "review");
    const { masks, images } = queue.left;
    setText(this.count, masks === 0 ? "" : leftText(masks, images));
    const isFiltered = !isSame(queue.filter, this.usual);
    setAttribute(this.opener, "data-on", isFiltered ? "" : null);
    this.finding.hidden = queue.filter.finding === null || walk.finding === "";
    setText(this.finding, `From Health: ${walk.finding}`);
    setText(
      this.hint,
      walk.hasRead && masks === 0 ? emptyText(view, isFiltered, reviewing.isOn) : "",
    );
    this.hint.hidden = this.hint.textContent === "";
    this.clear.hidden = !isFiltered;
    for (const button of this.steps) button.disabled = masks === 0;
    this.fill(view, walk);
  }

  private build(): void {
    const head = el(
      "div",
      { class: "mal-panel-head" },
      el("h2", { class: "mal-heading" }, "Queue"),
      this.count,
      this.opener,
    );
    const range = el(
      "div",
      { class: "mal-range" },
      this.bounds.low,
      el("span", {}, "to"),
      this.bounds.high,
      el("span", {}, "%"),
    );
    this.form.hidden = true;
    this.form.append(
      this.select("mine", "Images"),
      this.select("states", "State"),
      this.select("category_id", "Category"),
      el("div", { class: "mal-line" }, el("span", { class: "mal-label" }, "Score"), range),
      this.select("person", "Saved by"),
      this.select("model_id", "Model"),
      this.select("flagged", "Flag"),
    );
    const below = el("div", { class: "mal-below" }, this.bulk.element, this.mode);
    const steps = el("div", { class: "mal-answers" }, ...this.steps);
    this.element.append(
      head,
      this.form,
      this.finding,
      this.hint,
      this.clear,
      steps,
      this.duty.element,
      below,
    );
    this.opener.addEventListener("click", () => {
      this.toggle();
    });
    this.clear.addEventListener("click", () => {
      this.orders.setFilter(this.usual);
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.toggle();
    });
  }

  private fill({ project }: View, { queue: { filter }, people, models }: Walk): void {
    const categories = (project?.categories ?? []).map(({ id, name }): Option => [`${id}`, name]);
    const states = STATES.map((state): Option => [state, STATE_NAMES[state]]);
    const named = models.map(({ id, name }): Option => [`${id}`, name]);
    const flags: readonly Option[] = [ANY, ["true", "Flagged"], ["false", "Not flagged"]];
    const isDealt = project?.images.some(({ assigned }) => assigned.length > 0) ?? false;
    this.fields.get("mine")?.closest("label")?.toggleAttribute("hidden", !isDealt);
    this.show("mine", [ANY, ["true", "Yours, left"]], filter.mine);
    this.show("states", [ANY, ...states], filter.states.join());
    this.show("category_id", [ANY, ...categories], filter.category_id);
    this.show(
      "person",
      [ANY, ...people.map((one): Option => [one, one || "no name"])],
      filter.person,
    );
    this.show("model_id", [ANY, ...named], filter.model_id);
    this.show("flagged", flags, filter.flagged);
    for (const [name, field] of Object.entries(this.bounds)) {
      const value = filter[name as "low" | "high"];
      if (field !== document.activeElement) {
        field.value = value === null ? "" : String(Math.round(value * 100));
      }
    }
  }

  private show(
    part: Part,
    options: readonly Option[],
    value: string | number | boolean | null,
  ): void {
    const field = this.fields.get(part);
    if (!field) return;
    const key = JSON.stringify(options);
    if (field.dataset["options"] !== key) {
      field.dataset["options"] = key;
      field.replaceChildren(...options.map(([one, text]) => el("option", { value: one }, text)));
    }
    field.value = value === null ? "" : String(value);
  }

  private select(part: Part, text: string): HTMLElement {
    const field = el("select", { class: "mal-select" });
    field.addEventListener("change", () => {
      this.orders.setFilter({ [part]: toValue(part, field.value) });
    });
    this.fields.set(part, field);
    return el("label", { class: "mal-line" }, el("span", { class: "mal-label" }, text), field);
  }

  private bound(name: "low" | "high", label: string): HTMLInputElement {
    const kind = { type: "number", min: 0, max: 100, step: 1, inputmode: "numeric" };
    const field = el("input", { ...kind, class: "mal-field", "aria-label": `${label}, percent` });
    field.addEventListener("change", () => {
      const share = Math.min(Math.max(field.valueAsNumber / 100, 0), 1);
      this.orders.setFilter({ [name]: Number.isNaN(share) ? null : share });
    });
    return field;
  }
}

function leftText(masks: number, images: number): string {
  return `${masks} left on ${images === 1 ? "1 image" : `${images} images`}`;
}

function emptyText(view: View, isFiltered: boolean, isReviewer: boolean): string {
  if (isFiltered) return "No mask passes this filter.";
  const images = view.project?.images ?? [];
  const counts = images.flatMap((info) => Object.values(view.countsOf(info)));
  if (counts.every((count) => count === 0)) return "No masks yet: drag a box around an object.";
  if (isReviewer) return "No corrected mask waits for a reviewer.";
  return "All reviewed. Draw more boxes, or look again with the filter.";
}

/** What a field of the form means; the empty text lets all through. */
function toValue(part: Part, text: string): unknown {
  if (text === "") return EVERYTHING[part];
  if (part === "states") return [text];
  if (part === "flagged" || part === "mine") return text === "true";
  return part === "person" ? text : Number(text);
}
