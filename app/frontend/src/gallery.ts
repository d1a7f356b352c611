/**
 * Which project and image are open, and how one comes to the next.
 *
 * Every opening takes a ticket; what arrives with an old ticket is ignored, so that one image's
 * pixels never meet another's masks however slow the network is.
 */

import type { Past } from "./history";
import { Images, type Loaded } from "./images";
import type { Transport } from "./transport";
import type { Annotation, Assigned, Category, Counts, ImageInfo, Project, State } from "./types";

export interface GalleryPorts {
  /** The present image goes away. */
  onLeave(): void;
  onProject(project: Project): void;
  /** Get ready for a project before its first image is shown. */
  prepare(project: Project): Promise<void>;
  /** What could be undone on an image when an earlier page left it. */
  recall(imageId: number): Promise<Past | null>;
  /** The image that is likely to be opened next. */
  ahead(): ImageInfo | null;
  /** That image's masks are here. */
  onAhead(info: ImageInfo, annotations: readonly Annotation[]): void;
  /** The image to be shown is known, its pixels are not here yet. */
  onChosen(): void;
  onLoaded(loaded: Loaded, past: Past | null): void;
  onEmpty(): void;
  onFailed(error: unknown): void;
  /** The open project was read again, and the open image is still the same. */
  onRefreshed(): void;
  /** The open project could not be read again; all stays as it is. */
  onNotRefreshed(error: unknown): void;
}

export class Gallery {
  project: Project | null = null;
  info: ImageInfo | null = null;
  readonly images: Images;
  private readonly counts = new Map<number, Counts>(); // where they differ from the project's
  private ticket = 0;
  private aheadId: number | null = null; // of the image that was fetched last for what comes next
  private projectId: number | null = null; // of the project that is open or being opened
  private entering = Promise.resolve();
  private hasFailed = false;

  constructor(
    private readonly transport: Transport,
    private readonly ports: GalleryPorts,
  ) {
    this.images = new Images(transport);
  }

  /** Open a project at an image, or at its first; one that is open is only read again. */
  openProject(projectId: number, imageId?: number): Promise<void> {
    if (projectId === this.projectId) return this.reopen(projectId, imageId);
    this.projectId = projectId;
    this.entering = this.enter(projectId, imageId);
    return this.entering;
  }

  private enter(projectId: number, imageId?: number): Promise<void> {
    return this.attempt(async (isCurrent) => {
      this.project = null;
      this.counts.clear();
      this.images.clear();
      this.aheadId = null;
      const project = await this.transport.project(projectId);
      if (!isCurrent()) return;
      this.adopt(project);
      await this.ports.prepare(project);
      if (!isCurrent()) return;
      const first = project.images.find(({ id }) => id === imageId) ?? project.images.at(0);
      if (first) await this.choose(first, isCurrent);
      else this.ports.onEmpty();
    });
  }

  /** Once the project is here, read it again, and open an image only if one is asked for. */
  private async reopen(projectId: number, imageId?: number): Promise<void> {
    await this.entering;
    if (projectId !== this.projectId) return;
    if (!this.project) {
      this.projectId = null; // the first try failed
      await this.openProject(projectId, imageId);
      return;
    }
    if (imageId !== undefined) await this.open(imageId);
    await this.refresh(projectId);
  }

  /** Read the project again, until nothing of it changed here meanwhile. */
  private async refresh(projectId: number): Promise<void> {
    const known = this.project;
    if (known?.id !== projectId) return;
    try {
      const fresh = await this.transport.project(projectId);
      if (this.project !== known) await this.refresh(projectId);
      else await this.renew(known, fresh);
    } catch (error) {
      if (projectId === this.projectId) this.ports.onNotRefreshed(error);
    }
  }

  private async renew(known: Project, fresh: Project): Promise<void> {
    this.counts.clear();
    this.info = fresh.images.find(({ id }) => id === this.info?.id) ?? this.info;
    this.adopt(fresh);
    const first = fresh.images.at(0);
    if (known.images.length === 0 && first) await this.open(first.id);
    else this.ports.onRefreshed();
  }

  /** Open an image of the project; the present one is left alone when it is asked for again. */
  async open(imageId: number): Promise<void> {
    if (imageId === this.info?.id && !this.hasFailed) return;
    await this.attempt(async (isCurrent) => {
      const info = await this.find(imageId);
      if (isCurrent()) await this.choose(info, isCurrent);
    });
  }

  /** Open the next or previous image; false at either end. */
  step(by: 1 | -1): boolean {
    const images = this.project?.images ?? [];
    const at = images.findIndex(({ id }) => id === this.info?.id);
    if (at < 0 || at + by < 0 || at + by >= images.length) return false;
    void this.open(images[at + by].id);
    return true;
  }

  /** Fetch what is likely to be opened next, if it is not what was fetched already. */
  lookAhead(): void {
    const next = this.ports.ahead();
    if (!next || next.id === this.aheadId) return;
    this.aheadId = next.id;
    void this.fetchAhead(next, (masks) => {
      this.ports.onAhead(next, masks);
    });
  }

  /** Whether an image is open, or fetched to be opened next. */
  isNear(imageId: number): boolean {
    return imageId === this.info?.id || imageId === this.aheadId;
  }

  /** The masks of the image that comes next changed: have them here again. */
  renewAhead(imageId: number): void {
    const info = this.project?.images.find(({ id }) => id === imageId);
    if (info && imageId === this.aheadId) void this.fetchAhead(info, () => undefined);
  }

  private async fetchAhead(
    info: ImageInfo,
    take: (masks: readonly Annotation[]) => void,
  ): Promise<void> {
    try {
      take(await this.images.prefetch(info));
    } catch {
      // It shows when the image is opened.
    }
  }

  /** Forget everything under way. */
  stop(): void {
    this.ticket += 1;
    this.project = null;
    this.projectId = null;
    this.images.clear();
  }

  addCategory(category: Category): void {
    if (!this.project) return;
    const others = this.project.categories.filter(({ id }) => id !== category.id);
    this.adopt({ ...this.project, categories: [...others, category] });
  }

  /** Somebody is done with an image, or not yet. */
  setAssigned(imageId: number, assigned: readonly Assigned[]): void {
    if (!this.project) return;
    const images = this.project.images.map((one) =>
      one.id === imageId ? { ...one, assigned } : one,
    );
    if (this.info?.id === imageId) this.info = { ...this.info, assigned };
    this.adopt({ ...this.project, images });
  }

  countsOf(info: ImageInfo): Counts {
    return this.counts.get(info.id) ?? info.counts;
  }

  setCounts(imageId: number, counts: Counts): void {
    this.counts.set(imageId, counts);
  }

  /** Count one more instance of an image that is not open. */
  addCount(imageId: number, state: State): void {
    const info = this.project?.images.find(({ id }) => id === imageId);
    if (!info || state === "deleted") return;
    const counts = this.countsOf(info);
    this.counts.set(imageId, { ...counts, [state]: counts[state] + 1 });
  }

  private async attempt(work: (isCurrent: () => boolean) => Promise<void>): Promise<void> {
    this.ports.onLeave();
    const ticket = ++this.ticket;
    this.info = null;
    this.hasFailed = false;
    try {
      await work(() => ticket === this.ticket);
    } catch (error) {
      if (ticket !== this.ticket) return;
      this.hasFailed = true;
      this.ports.onFailed(error);
    }
  }

  private async choose(info: ImageInfo, isCurrent: () => boolean): Promise<void> {
    this.info = info;
    this.ports.onChosen();
    this.aheadId = null;
    const { images, ports } = this;
    const [loaded, past] = await Promise.all([images.load(info), ports.recall(info.id)]);
    if (!isCurrent()) return;
    ports.onLoaded(loaded, past);
    this.lookAhead();
  }

  /** An image of the project; asks the server again when it is not known yet. */
  private async find(imageId: number): Promise<ImageInfo> {
    const isIt = ({ id }: ImageInfo): boolean => id === imageId;
    const known = this.project?.images.find(isIt);
    if (known || !this.project) return known ?? missing(imageId);
    const project = await this.transport.project(this.project.id);
    this.adopt(project);
    return project.images.find(isIt) ?? missing(imageId);
  }

  private adopt(project: Project): void {
    this.project = project;
    this.ports.onProject(project);
  }
}

function missing(imageId: number): never {
  throw new Error(`This project has no image ${imageId}. Choose one below.`);
}
