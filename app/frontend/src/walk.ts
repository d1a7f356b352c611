/** Leads a person through the queue, across images, and reads it where it may have changed. */

import { mineLeft } from "./duty";
import { spoken } from "./panel";
import { EVERYTHING, type Filter, Queue, TO_REVIEW } from "./queue";
import { revealed } from "./reveal";
import { textOf, type Transport } from "./transport";
import type { ImageInfo, Project } from "./types";
import { nextImage, type View } from "./view";
import type { Viewport } from "./viewport";

export interface WalkPorts {
  open(imageId: number): Promise<void>;
  setPort(port: Viewport): void;
  say(text: string): void;
  tell(text: string): void;
  onChange(): void;
}

/** A mask on an image that is on its way, and what is to be said there first. */
interface Target {
  readonly imageId: number;
  readonly id: number;
  readonly said: string;
}

export class Walk {
  readonly queue = new Queue();
  people: readonly string[] = [];
  models: readonly { readonly id: number; readonly name: string }[] = [];
  finding = ""; // the title of the one that is filtered by
  hasRead = false;
  private target: Target | null = null;
  private projectId = 0;
  private ticket = 0;

  constructor(
    private readonly view: View,
    private readonly server: Pick<Transport, "queue">,
    private readonly ports: WalkPorts,
  ) {}

  /** Another project is open, or the same one with other categories. */
  onProject(project: Project): void {
    const left = new Set(mineLeft(project));
    const hadAny = this.queue.mine.size > 0;
    this.queue.mine = left;
    if (project.id === this.projectId) {
      if (hadAny && left.size === 0 && this.queue.filter.mine) this.setFilter({ mine: null });
      return;
    }
    this.projectId = project.id;
    this.queue.read([]);
    [this.people, this.models, this.hasRead] = [[], [], false];
    this.setFilter({ ...TO_REVIEW, mine: left.size > 0 ? true : null });
  }

  setFilter(part: Partial<Filter>): void {
    this.queue.filter = { ...this.queue.filter, ...part };
    void this.read();
  }

  /** Go to the first mask of a queue of its own; what is not said of the filter lets all through. */
  async begin(part: Partial<Filter>): Promise<void> {
    this.queue.filter = { ...EVERYTHING, ...part };
    if (!(await this.read())) return;
    const first = this.queue.next(0, null, 1);
    if (first) this.visit(first.imageId, first.id);
    else this.ports.say("No mask passes this filter.");
  }

  /** Ask the server what there is to look at, and in which order; false where that did not work. */
  async read(): Promise<boolean> {
    const ticket = ++this.ticket;
    try {
      const answer = await this.server.queue(this.projectId, this.queue.filter);
      if (ticket !== this.ticket) return false;
      this.queue.read(answer.images);
      [this.people, this.models, this.hasRead] = [answer.people, answer.models, true];
      this.finding = answer.finding;
      this.ports.onChange();
      return true;
    } catch (error) {
      if (ticket === this.ticket) this.ports.tell(`The queue cannot be read: ${textOf(error)}`);
      return false;
    }
  }

  /** Go to a mask wherever it is. */
  visit(imageId: number, id: number, said = ""): void {
    const target = { imageId, id, said };
    if (imageId === this.view.editor.image?.id) this.arrive(target);
    else {
      this.target = target;
      void this.ports.open(imageId);
    }
  }

  /** Take in what the masks of the open image are now. */
  follow(): void {
    const { image, instances } = this.view.editor;
    if (image) this.queue.show(image.id, instances);
  }

  /** Go to the next (or previous) mask of the queue; `said` is told first. */
  go(by: 1 | -1, said = "", from = this.view.editor.selectedId): void {
    this.follow();
    const at = this.target ?? { imageId: this.view.info?.id ?? 0, id: from };
    const place = this.queue.next(at.imageId, at.id, by);
    if (!place) {
      this.ports.say(said + this.end);
      return;
    }
    if (place.isRound) void this.read();
    this.visit(place.imageId, place.id, said + (place.isRound ? "Round again. " : ""));
  }

  /** An image is on screen: select the mask it was opened for. */
  onLoaded(): void {
    const { target } = this;
    this.target = null;
    this.follow();
    if (target && target.imageId === this.view.editor.image?.id) this.arrive(target);
  }

  /** The image to fetch ahead: the queue's next, else the project's. */
  get ahead(): ImageInfo | null {
    const id = this.queue.imageAfter(this.view.info?.id ?? 0);
    return this.view.project?.images.find((one) => one.id === id) ?? nextImage(this.view);
  }

  private get end(): string {
    const { left, taken } = this.queue;
    if (left.masks === 0) return "Nothing left to review.";
    return taken.size > 0 ? "Others work on all that is left." : "This is the only one left.";
  }

  private arrive({ id, said }: Target): void {
    const { editor, scene } = this.view;
    this.target = null;
    editor.select(id);
    const { selected, image } = editor;
    if (!selected || !image) return; // somebody deleted it
    this.ports.setPort(revealed(scene.port, selected.box, image, scene.size));
    this.ports.say(`${said}${this.queue.left.masks} left. ${spoken(selected, this.view)}`);
  }
}
