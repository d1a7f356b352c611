/** Joins the model, the server, the canvas and the parts around it; holds no rule of its own. */

import { Commands, type CommandPorts } from "./commands";
import { Editor, type EditorEvent } from "./editor";
import { Gallery } from "./gallery";
import type { Loaded } from "./images";
import { Input } from "./input";
import type { Action } from "./keys";
import { spoken } from "./panel";
import { type Placeholder, Proposals, type Timing } from "./proposals";
import type { Renderer } from "./renderer";
import { SaveQueue } from "./saves";
import { Shell } from "./shell";
import { type CanvasState, stateOf } from "./state";
import { classify, textOf, Transport } from "./transport";
import type { Annotation, Box, Change, Counts, ImageInfo, Project } from "./types";
import type { Orders, View } from "./view";
import { fit, resized, type Viewport } from "./viewport";

export interface MountOptions {
  readonly token: string;
  readonly projectId: number;
  readonly imageId?: number;
  readonly base?: string;
}

/** How long the last mask took, in milliseconds: from the request to the answer, and painted. */
export interface ProposalTiming extends Timing {
  readonly total_ms: number;
}

export class Studio implements View, Orders {
  lastProposal: ProposalTiming | null = null;
  readonly editor = new Editor((event) => {
    this.onEditor(event);
  });
  readonly saves: SaveQueue;
  readonly proposals: Proposals;
  readonly shell: Shell;
  private readonly transport: Transport;
  private readonly gallery: Gallery;
  private readonly input: Input;
  private readonly commands: Commands;
  private readonly unloading = new AbortController(); // ends the warning about unsaved work
  private loadFailure = ""; // its message goes away with the next try
  private isStale = false; // the parts around the canvas wait for a frame
  private requests = 0;

  constructor(
    private readonly root: HTMLElement,
    options: MountOptions,
  ) {
    this.transport = new Transport(options.base ?? "", options.token);
    this.gallery = this.makeGallery();
    this.saves = this.makeSaves();
    this.proposals = this.makeProposals();
    this.shell = new Shell(root, this.editor, this, () => {
      this.onResize();
    });
    const ports = this.makePorts();
    this.input = new Input(ports);
    this.commands = new Commands({ ...ports, input: this.input });
    this.listen();
    void this.setProject(options.projectId, options.imageId);
  }

  get scene(): Renderer["scene"] {
    return this.shell.renderer.scene;
  }

  get project(): Project | null {
    return this.gallery.project;
  }

  get info(): ImageInfo | null {
    return this.gallery.info;
  }

  // -- what the host may call -----------------------------------------------------------------------

  /** Show another project from its first image, or from the one given. */
  setProject(projectId: number, imageId?: number): Promise<void> {
    return this.gallery.openProject(projectId, imageId);
  }

  /** Show an image of the project; an older call that is still loading is forgotten. */
  open(imageId: number): Promise<void> {
    return this.gallery.open(imageId);
  }

  state(): CanvasState {
    return stateOf(this);
  }

  /** Take the canvas down; saves that wait are still sent, and leaving the page still warns. */
  destroy(): void {
    this.gallery.stop();
    this.input.stop();
    this.proposals.stop();
    this.shell.stop();
    void this.saves.drained().then(() => {
      this.unloading.abort();
    });
  }

  // -- orders of the parts ------------------------------------------------------------------------

  act(action: Action): void {
    this.commands.run(action);
  }

  setRadius(radius: number): void {
    this.editor.setRadius(radius);
  }

  setOpacity(opacity: number): void {
    this.scene.opacity = opacity;
    this.update();
  }

  setCategory(id: number): void {
    this.editor.setCategory(id);
  }

  async addCategory(name: string): Promise<boolean> {
    if (!this.project) return false;
    try {
      const made = await this.transport.addCategory(this.project.id, name);
      this.gallery.addCategory(made);
      this.setCategory(made.id);
      this.shell.status.say(`Category ${made.name} added.`);
      return true;
    } catch (error) {
      this.shell.messages.add(textOf(error));
      return false;
    }
  }

  select(id: number): void {
    this.editor.select(id);
    this.saySelected();
  }

  thumb(imageId: number): Promise<Blob> {
    return this.transport.thumb(imageId);
  }

  retry(): void {
    this.saves.retryRefused();
  }

  countsOf(info: ImageInfo): Counts {
    if (this.editor.image?.id !== info.id) return this.gallery.countsOf(info);
    const counts = { proposed: 0, corrected: 0, accepted: 0, rejected: 0 };
    for (const { state } of this.editor.instances) if (state !== "deleted") counts[state] += 1;
    return counts;
  }

  // -- images -------------------------------------------------------------------------------------

  private makeGallery(): Gallery {
    return new Gallery(this.transport, {
      onLeave: this.onLeave.bind(this),
      onProject: this.onProject.bind(this),
      onChosen: this.update.bind(this),
      onLoaded: this.onLoaded.bind(this),
      onEmpty: () => {
        this.shell.showNotice("No images yet: add some on the Library page.");
      },
      onFailed: (error) => {
        this.loadFailure = textOf(error);
        this.shell.messages.add(this.loadFailure);
        this.shell.showNotice("This could not be loaded. Choose an image below to try again.");
      },
    });
  }

  private onLeave(): void {
    if (this.info && this.editor.image) {
      this.gallery.setCounts(this.info.id, this.countsOf(this.info));
    }
    this.input.cancel();
    this.editor.close();
    this.shell.renderer.reset(null);
    this.shell.messages.remove(this.loadFailure);
    this.shell.showNotice("Loading…");
  }

  private onProject({ categories }: Project): void {
    this.scene.categories = categories;
    const isKnown = categories.some(({ id }) => id === this.editor.categoryId);
    if (!isKnown) this.editor.categoryId = categories.at(0)?.id ?? 0;
    this.update();
  }

  private onLoaded({ info, bitmap, annotations, isAhead }: Loaded): void {
    this.shell.showNotice("");
    this.shell.renderer.reset(bitmap);
    this.editor.open(info, annotations);
    for (const { id, version } of annotations) this.saves.learn(id, version);
    for (const { id } of this.editor.instances) {
      const change = this.saves.waiting(id);
      if (change) this.editor.overlay(change);
    }
    this.scene.size = this.shell.size;
    this.setPort(fit(info, this.scene.size));
    this.shell.focusIfFree();
    this.shell.status.say(info.notice || `${info.file_name} is open.`);
    if (isAhead) void this.refresh(info.id);
  }

  /** Take over what others saved since the annotations were fetched. */
  private async refresh(imageId: number): Promise<void> {
    const fresh = await this.transport.annotations(imageId).catch(() => []);
    if (this.editor.image?.id !== imageId) return;
    for (const one of fresh) {
      const isNews = one.version > this.saves.version(one.id) && !this.saves.waiting(one.id);
      if (!isNews || this.editor.strokingId === one.id) continue;
      this.saves.learn(one.id, one.version);
      this.editor.receive(one);
    }
  }

  // -- masks --------------------------------------------------------------------------------------

  private propose(box: Box, instance_id: number | null): void {
    const image_id = this.editor.image?.id;
    if (image_id === undefined) return;
    const item = this.editor.instances.find(({ id }) => id === instance_id);
    const category_id = item?.category_id ?? this.editor.categoryId;
    if (category_id === 0) {
      this.shell.messages.add("Add a category first: press + in the panel.", "notice");
      return;
    }
    const key = `${Date.now().toString(36)}-${++this.requests}`;
    this.shell.status.say("Looking for the mask…");
    void this.proposals.propose({ key, image_id, box, category_id, instance_id });
  }

  private makeProposals(): Proposals {
    const ports = {
      send: this.transport.propose.bind(this.transport),
      wait,
      now: () => performance.now(),
      onAnswer: (made: Annotation, timing: Timing, from: Placeholder) => {
        void this.onAnswer(made, timing, from);
      },
      onConflict: (current: Annotation) => {
        this.editor.receive(current);
        const text = `Somebody saved mask ${current.number} first. Their version is shown.`;
        this.shell.messages.add(text, "notice");
      },
      onFailed: (error: unknown) => {
        this.shell.messages.add(textOf(error));
      },
      onProgress: this.update.bind(this),
    };
    return new Proposals(ports, this.saves);
  }

  private async onAnswer(made: Annotation, timing: Timing, from: Placeholder): Promise<void> {
    const start = performance.now();
    const isNew = from.instance_id === null;
    this.gallery.images.outdate(made.image_id);
    this.editor.propose(made, isNew);
    if (made.image_id !== this.editor.image?.id) {
      if (isNew) this.gallery.addCount(made.image_id, made.state);
      return;
    }
    this.say(made.id);
    await this.shell.renderer.painted();
    const total_ms = timing.request_ms + performance.now() - start;
    this.lastProposal = { ...timing, total_ms };
  }

  private makeSaves(): SaveQueue {
    return new SaveQueue({
      send: this.transport.save.bind(this.transport),
      classify,
      wait,
      onSaved: (annotation) => {
        this.editor.acknowledge(annotation);
      },
      onConflict: this.onConflict.bind(this),
      onRefused: (_change, error) => {
        this.shell.messages.add(`Not saved: ${textOf(error)}`);
      },
      onProgress: this.update.bind(this),
    });
  }

  private onConflict(change: Change, current: Annotation | null, kept: number | null): void {
    const mine = this.editor.instances.find(({ id }) => id === change.id);
    const number = current?.number ?? mine?.number;
    const what = number === undefined ? "a mask" : `mask ${number}`;
    const place = kept === null ? "in the history" : `in the history as revision ${kept}`;
    const text = `Somebody saved ${what} first. Their version is shown; yours is kept ${place}.`;
    this.shell.messages.add(text, "notice");
    this.shell.status.say("Somebody was first.");
    if (current) this.editor.receive(current);
    else void this.refresh(change.image_id);
  }

  private onEditor(event: EditorEvent): void {
    if (event.kind === "mask") this.shell.renderer.touch(event.id, event.rect);
    else if (event.kind === "view") this.update();
    else {
      this.proposals.giveUp(event.change.id);
      this.gallery.images.outdate(event.change.image_id);
      this.saves.push(event.change);
    }
  }

  // -- the view -----------------------------------------------------------------------------------

  private makePorts(): Omit<CommandPorts, "input"> & {
    canvas: HTMLCanvasElement;
    request(): void;
  } {
    const { shell, scene, editor } = this;
    return {
      ...{ canvas: shell.canvas, scene, editor },
      setPort: this.setPort.bind(this),
      request: shell.renderer.request.bind(shell.renderer),
      propose: (box) => {
        this.propose(box, null);
      },
      repropose: (id, box) => {
        this.propose(box, id);
      },
      stepImage: this.gallery.step.bind(this.gallery),
      setCategory: this.setCategory.bind(this),
      say: shell.status.say.bind(shell.status),
      saySelected: this.saySelected.bind(this),
      help: shell.help.open.bind(shell.help),
    };
  }

  private listen(): void {
    this.root.addEventListener("keydown", (event) => {
      this.commands.keyDown(event, this.project?.categories ?? []);
    });
    this.root.addEventListener("keyup", (event) => {
      this.commands.keyUp(event);
    });
    const warn = (event: BeforeUnloadEvent): void => {
      if (this.saves.pending > 0) event.preventDefault();
    };
    window.addEventListener("beforeunload", warn, { signal: this.unloading.signal });
  }

  private setPort(port: Viewport): void {
    this.scene.port = port;
    this.update();
  }

  private onResize(): void {
    const [before, after] = [this.scene.size, this.shell.size];
    if (after.width === 0 || after.height === 0) return;
    const isSame = before.width === after.width && before.height === after.height;
    const { image } = this.editor;
    this.scene.size = after;
    if (isSame || !image) return;
    if (before.width === 0) this.setPort(fit(image, after));
    else this.setPort(resized(this.scene.port, before, after));
  }

  private saySelected(): void {
    if (this.editor.selectedId !== null) this.say(this.editor.selectedId);
  }

  private say(id: number): void {
    const item = this.editor.instances.find((one) => one.id === id);
    if (item) this.shell.status.say(spoken(item, this));
  }

  /** Show the present state everywhere, once a frame. */
  private update(): void {
    const image = this.editor.image;
    this.scene.placeholders = image ? this.proposals.placeholders(image.id) : [];
    this.shell.renderer.request();
    if (this.isStale) return;
    this.isStale = true;
    requestAnimationFrame(() => {
      this.isStale = false;
      this.shell.update(this, this.saves);
    });
  }
}

function wait(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
