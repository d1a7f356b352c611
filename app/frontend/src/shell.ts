/** The frame of the studio: its places on the page, the canvas, and the space it may take. */

import { Banner, type Waiting } from "./banner";
import { el, setAttribute, setText } from "./dom";
import type { Editor } from "./editor";
import { CategoryFinder } from "./finder";
import { HeldBanner } from "./heldbanner";
import { HelpDialog } from "./help";
import { showKeys, withKeys } from "./keysigns";
import { Panel } from "./panel";
import { Renderer } from "./renderer";
import type { SaveQueue } from "./saves";
import { Messages, StatusLine } from "./status";
import { Strip } from "./strip";
import { Rail, TopBar } from "./toolbar";
import type { Size } from "./types";
import { VersusDialog } from "./versus";
import type { Desk, Orders } from "./view";

const FIELDS =
  "input, select, textarea, label, dialog, .mal-category, .mal-pop, .mal-comments, .mal-bulk"; // a click there keeps the focus

const DESCRIPTION =
  "Drag a box around an object to get its mask. {box.start} starts a box by keyboard. " +
  "{select.next} selects the next mask, {confirm} accepts it, {cancel} rejects it. " +
  "{help} lists the keys.";

export class Shell {
  readonly canvas = el("canvas", {
    class: "mal-canvas",
    tabindex: 0,
    role: "application",
    "aria-label": "Image with masks",
  });
  readonly renderer: Renderer;
  readonly status: StatusLine;
  readonly messages = new Messages();
  readonly help: HelpDialog;
  readonly finder: CategoryFinder;
  readonly versus: VersusDialog;
  private readonly banner: Banner;
  private readonly held: HeldBanner;
  private readonly notice = el("p", { class: "mal-empty" });
  private readonly rail: Rail;
  private readonly top: TopBar;
  private readonly panel: Panel;
  private readonly strip: Strip;
  private readonly stage = el("div", { class: "mal-stage" });
  private readonly watcher: ResizeObserver;

  constructor(
    private readonly root: HTMLElement,
    editor: Editor,
    orders: Orders,
    onResize: () => void,
  ) {
    this.renderer = new Renderer(this.canvas, editor);
    this.help = new HelpDialog(orders);
    this.status = new StatusLine(orders);
    this.finder = new CategoryFinder(orders.setCategory.bind(orders));
    this.banner = new Banner(orders);
    this.held = new HeldBanner(orders);
    this.versus = new VersusDialog((conflict, choice) => {
      orders.decide(conflict, choice);
    });
    this.rail = new Rail(orders);
    this.top = new TopBar(orders);
    this.panel = new Panel(orders, this.renderer);
    this.strip = new Strip(orders);
    this.build();
    this.watcher = new ResizeObserver(() => {
      this.place();
      onResize();
    });
    for (const one of [root, this.stage, document.body]) this.watcher.observe(one);
  }

  /** The size of the view in CSS pixels; zero while the page hides it. */
  get size(): Size {
    return { width: this.stage.clientWidth, height: this.stage.clientHeight };
  }

  toggleMenu(name: "mask" | "view"): void {
    this.top.toggleMenu(name);
  }

  /** Say something in place of an image; "" when there is one. */
  showNotice(text: string): void {
    setText(this.notice, text);
    this.notice.hidden = text === "";
  }

  /** Let the keys work at once, unless the person is busy elsewhere on the page. */
  focusIfFree(): void {
    if (document.activeElement === document.body) this.canvas.focus({ preventScroll: true });
  }

  toggleFilter(): void {
    this.panel.queue.toggle();
  }

  askBack(id: number): void {
    this.panel.comments.askBack(id);
  }

  toggleComments(): void {
    this.panel.comments.toggle();
  }

  update(view: Desk, saves: SaveQueue, waiting: Waiting, isCutOff: boolean): void {
    this.rail.update(view);
    this.top.update(view);
    this.panel.update(view);
    this.strip.update(view);
    const { keys, leftHanded } = view.habits;
    this.status.update(saves, keys, view.presence.others);
    this.held.update(view);
    this.banner.update(view, waiting, isCutOff);
    this.help.update(view);
    showKeys(this.root, keys);
    setAttribute(this.canvas, "aria-description", withKeys(DESCRIPTION, keys));
    this.root.toggleAttribute("data-left", leftHanded);
  }

  stop(): void {
    this.watcher.disconnect();
    this.strip.stop();
    this.top.stop();
    this.renderer.stop();
    this.root.replaceChildren();
    this.root.classList.remove("mal-studio");
  }

  private build(): void {
    this.messages.element.prepend(this.held.element);
    this.stage.append(this.canvas, this.notice, this.messages.element, this.banner.element);
    this.root.classList.add("mal-studio");
    this.root.replaceChildren(
      this.top.element,
      this.rail.element,
      this.stage,
      this.panel.element,
      this.strip.element,
      this.status.element,
      this.help.element,
      this.finder.element,
      this.versus.element,
    );
    // After a click the keys are meant for the canvas again; after a key press focus stays.
    this.root.addEventListener("click", (event) => {
      if (event.detail === 0 || !(event.target instanceof Element)) return;
      if (event.target.closest(FIELDS) === null) this.canvas.focus({ preventScroll: true });
    });
  }

  /** Tell the style sheet where on the page the studio begins, so that it can fill the rest. */
  private place(): void {
    if (this.root.clientWidth === 0) return;
    const top = this.root.getBoundingClientRect().top + window.scrollY;
    this.root.style.setProperty("--mal-from-top", `${Math.round(top)}px`);
  }
}
