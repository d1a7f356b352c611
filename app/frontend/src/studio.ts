/** Joins the model, the server, the canvas and the parts around it; holds no rule of its own. */

import { Appearance } from "./appearance";
import { Arrivals } from "./arrivals";
import type { Bulk } from "./bulk";
import type { EditorEvent } from "./choice";
import { Commands, type CommandPorts } from "./commands";
import type { Comments } from "./comments";
import { Editor } from "./editor";
import { Foresight } from "./foresight";
import { Gallery } from "./gallery";
import type { Habits } from "./habits";
import { Input, type InputPorts } from "./input";
import { Lifeline } from "./lifeline";
import { spoken } from "./panel";
import { type Crew, CrewOrders } from "./orders";
import { Person } from "./person";
import type { Presence } from "./presence";
import type { Placeholder, Timing } from "./proposals";
import { Races } from "./races";
import type { Filter } from "./queue";
import type { Renderer } from "./renderer";
import { deskPorts, reviewParts } from "./reviewdesk";
import type { Reviewing } from "./reviewing";
import { Shell } from "./shell";
import { type CanvasState, stateOf } from "./state";
import { Sync } from "./sync";
import { Trail } from "./trail";
import { Transport } from "./transport";
import type { Annotation, Box, Counts, ImageInfo, Project } from "./types";
import { nextImage } from "./view";
import { fit, resized, type Viewport } from "./viewport";
import type { Walk } from "./walk";

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

export class Studio implements Crew {
  lastProposal: ProposalTiming | null = null;
  readonly editor = new Editor((event) => {
    this.onEditor(event);
  });
  readonly sync: Sync;
  readonly shell: Shell;
  readonly transport: Transport;
  readonly lifeline = new Lifeline({
    ask: () => this.transport.project(this.project?.id ?? 0),
    onChange: this.update.bind(this),
    tell: (text) => {
      this.shell.messages.add(text, "notice");
    },
  });
  readonly races: Races;
  readonly gallery: Gallery;
  readonly appearance: Appearance;
  readonly person: Person;
  readonly walk: Walk;
  readonly comments: Comments;
  readonly bulk: Bulk;
  readonly reviewing: Reviewing;
  readonly presence: Presence;
  readonly input: Input;
  readonly commands: Commands;
  private readonly orders = new CrewOrders(this);
  readonly arrivals = new Arrivals(this);
  readonly foresight = new Foresight({
    foresee: (box) => this.sync.proposals.foresee(box),
    isAsked: () => this.sync.proposals.isAsked,
    wait: this.lifeline.patience.wait,
    isWanted: (imageId) => this.gallery.isNear(imageId),
    onDone: (imageId) => {
      this.gallery.renewAhead(imageId);
    },
  });
  private isStale = false; // the parts around the canvas wait for a frame

  constructor(
    private readonly root: HTMLElement,
    options: MountOptions,
  ) {
    const { reach } = this.lifeline;
    this.transport = new Transport(options.base ?? "", options.token, reach.note.bind(reach));
    this.gallery = new Gallery(this.transport, this.arrivals);
    this.sync = this.makeSync();
    this.shell = new Shell(root, this.editor, this.orders, () => {
      this.onResize();
    });
    const { renderer, messages } = this.shell;
    const tell = messages.add.bind(messages);
    const refresh = renderer.refresh.bind(renderer);
    this.appearance = new Appearance(this.scene, this.editor, this.transport, { refresh, tell });
    const { wait } = this.lifeline.patience;
    const onChange = this.update.bind(this);
    this.person = new Person(this.transport, { wait, tell, onChange });
    this.races = new Races(this, this.orders, this.shell, this.sync.conflicts);
    ({
      walk: this.walk,
      comments: this.comments,
      bulk: this.bulk,
      reviewing: this.reviewing,
      presence: this.presence,
    } = reviewParts(this));
    const ports = this.makePorts();
    this.input = new Input(ports);
    this.commands = new Commands({ ...ports, input: this.input });
    this.listen();
    void this.setProject(options.projectId, options.imageId);
  }

  get scene(): Renderer["scene"] {
    return this.shell.renderer.scene;
  }

  get habits(): Habits {
    return this.person.habits;
  }

  get project(): Project | null {
    return this.gallery.project;
  }

  get info(): ImageInfo | null {
    return this.gallery.info;
  }

  // -- what the host may call -----------------------------------------------------------------------

  /** Show another project from its first image, or from the one given; the same one goes on. */
  setProject(projectId: number, imageId?: number): Promise<void> {
    return this.gallery.openProject(projectId, imageId);
  }

  /** Show an image of the project; an older call that is still loading is forgotten. */
  open(imageId: number): Promise<void> {
    return this.gallery.open(imageId);
  }

  /** Go through the masks that pass a filter, from the first, by the keys of the canvas. */
  look(wanted: Partial<Filter>): Promise<void> {
    this.bulk.close();
    this.shell.canvas.focus({ preventScroll: true });
    return this.walk.begin(wanted);
  }

  /** Resolve when everything is saved. */
  drained(): Promise<void> {
    return this.sync.saves.drained();
  }

  state(): CanvasState {
    return stateOf(this);
  }

  /** Take the canvas down; saves that wait are still sent, and leaving the page still warns. */
  destroy(): void {
    this.gallery.stop();
    this.presence.stop();
    this.input.stop();
    this.sync.stop();
    this.shell.stop();
    void this.drained().then(() => {
      this.lifeline.stop();
    });
  }

  countsOf(info: ImageInfo): Counts {
    if (this.editor.image?.id !== info.id) return this.gallery.countsOf(info);
    const counts = { proposed: 0, corrected: 0, accepted: 0, rejected: 0 };
    for (const { state } of this.editor.instances) if (state !== "deleted") counts[state] += 1;
    return counts;
  }

  // -- masks --------------------------------------------------------------------------------------

  private makeSync(): Sync {
    return new Sync(this.editor, this.transport, {
      wait: this.lifeline.patience.wait,
      now: () => performance.now(),
      outdate: (imageId) => {
        this.gallery.images.outdate(imageId);
      },
      onMade: ({ image_id, state }) => {
        if (image_id !== this.editor.image?.id) this.gallery.addCount(image_id, state);
      },
      onAnswer: (made, timing, from, begin) => {
        void this.onAnswer(made, timing, from, begin);
      },
      say: (text) => {
        this.shell.status.say(text);
      },
      tell: (text, kind) => {
        this.shell.messages.add(text, kind);
      },
      onConflict: (conflict, text) => {
        this.races.tell(conflict, text);
      },
      onLate: () => void this.presence.beat(),
      onProgress: this.update.bind(this),
      isAssisted: () => this.scene.look.assist,
    });
  }

  private async onAnswer(
    made: Annotation,
    timing: Timing,
    from: Placeholder,
    begin: number,
  ): Promise<void> {
    if (made.image_id !== this.editor.image?.id) {
      if (from.instance_id === null) this.gallery.addCount(made.image_id, made.state);
      return;
    }
    this.say(made.id);
    await this.shell.renderer.painted();
    const total_ms = timing.request_ms + performance.now() - begin;
    this.lastProposal = { ...timing, total_ms };
  }

  private onEditor(event: EditorEvent): void {
    if (event.kind === "mask") this.shell.renderer.touch(event.id, event.rect);
    else if (event.kind === "edit" || event.kind === "stroke") this.sync.onEdit(event);
    else {
      if (event.kind === "placing") this.appearance.arranged();
      this.sync.keepPast();
      this.update();
    }
  }

  // -- the view -----------------------------------------------------------------------------------

  private makePorts(): Omit<CommandPorts, "input"> & InputPorts {
    const { shell, scene, editor, sync, orders } = this;
    const { creations } = sync;
    const say = shell.status.say.bind(shell.status);
    const propose = (box: Box): void => {
      sync.propose(box, null);
    };
    return {
      ...{ canvas: shell.canvas, scene, editor },
      setPort: this.setPort.bind(this),
      request: shell.renderer.request.bind(shell.renderer),
      propose,
      repropose: (id, box) => {
        sync.propose(box, id);
      },
      changeBox: sync.changeBox.bind(sync),
      stepImage: this.gallery.step.bind(this.gallery),
      trail: new Trail({ editor, creations, propose, say }),
      creations,
      nextImage: () => nextImage(this),
      desk: deskPorts(this),
      findCategory: orders.findCategory.bind(orders),
      habits: () => this.habits,
      setHabits: orders.setHabits.bind(orders),
      setLook: orders.setLook.bind(orders),
      toggleMenu: shell.toggleMenu.bind(shell),
      setCategory: orders.setCategory.bind(orders),
      say,
      saySelected: this.saySelected.bind(this),
      help: shell.help.open.bind(shell.help),
      compare: () => {
        this.races.compare();
      },
      giveUpBox: () => sync.giveUpNewest(editor.image?.id ?? 0),
    };
  }

  private listen(): void {
    const { stopwatch } = this.sync;
    for (const kind of ["pointerdown", "pointerup", "wheel", "keydown"])
      this.root.addEventListener(kind, stopwatch.touch.bind(stopwatch), { passive: true });
    this.root.addEventListener("keydown", (event) => {
      this.commands.keyDown(event, this.project?.categories ?? []);
    });
    this.root.addEventListener("keyup", (event) => {
      this.commands.keyUp(event);
    });
    this.lifeline.watch(this.sync);
  }

  setPort(port: Viewport): void {
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

  saySelected(): void {
    if (this.editor.selectedId !== null) this.say(this.editor.selectedId);
  }

  private say(id: number): void {
    const item = this.editor.instances.find((one) => one.id === id);
    if (item) this.shell.status.say(spoken(item, this));
  }

  /** Show the present state everywhere, once a frame. */
  update(): void {
    this.walk.follow();
    const image = this.editor.image;
    this.scene.placeholders = image ? this.sync.placeholders(image.id) : [];
    this.shell.renderer.request();
    if (this.isStale) return;
    this.isStale = true;
    requestAnimationFrame(() => {
      this.isStale = false;
      if (this.editor.image) this.gallery.lookAhead();
      this.shell.update(this, this.sync.saves, this.sync.waiting, this.lifeline.reach.isCutOff);
    });
  }
}
