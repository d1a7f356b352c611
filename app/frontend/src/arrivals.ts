/** What happens around the canvas when projects and images come and go. */

import type { GalleryPorts } from "./gallery";
import type { Past } from "./history";
import type { Loaded } from "./images";
import type { Crew } from "./orders";
import { textOf } from "./transport";
import type { Annotation, ImageInfo, Project } from "./types";
import { may } from "./view";
import { fit } from "./viewport";

/** When an image was asked for and when it was painted, in milliseconds of the page's clock. */
export interface Opening {
  readonly image_id: number;
  readonly asked_at: number;
  readonly painted_at: number;
}

export class Arrivals implements GalleryPorts {
  lastOpening: Opening | null = null;
  private leftAt = 0;
  private loadFailure = ""; // its message goes away with the next try

  constructor(private readonly crew: Crew) {}

  onLeave(): void {
    const { info, editor, gallery, input, shell } = this.crew;
    this.leftAt = performance.now();
    if (info && editor.image) gallery.setCounts(info.id, this.crew.countsOf(info));
    input.cancel();
    editor.close();
    shell.renderer.reset(null);
    shell.messages.remove(this.loadFailure);
    shell.showNotice("Loading…");
  }

  onProject(project: Project): void {
    const { scene, editor, walk } = this.crew;
    const { categories } = project;
    walk.onProject(project);
    scene.categories = categories;
    editor.person = project.rights.includes("review") ? "" : project.person;
    const isKnown = categories.some(({ id }) => id === editor.categoryId);
    if (!isKnown) editor.categoryId = categories.at(0)?.id ?? 0;
    this.crew.update();
  }

  prepare(project: Project): Promise<void> {
    void this.crew.person.open(project);
    return this.crew.lifeline.prepare(project, this.crew.sync);
  }

  recall(imageId: number): Promise<Past | null> {
    return this.crew.lifeline.recall(imageId);
  }

  ahead(): ImageInfo | null {
    return this.crew.walk.ahead;
  }

  onAhead({ id }: ImageInfo, annotations: readonly Annotation[]): void {
    void this.crew.foresight.begin(id, annotations);
  }

  onChosen(): void {
    this.crew.update();
  }

  onLoaded({ info, image, annotations, isAhead }: Loaded, past: Past | null): void {
    const { shell, sync, scene } = this.crew;
    shell.showNotice("");
    shell.renderer.reset(image);
    sync.open(info, annotations, isAhead);
    this.crew.appearance.opened();
    sync.recall(info.id, past, () => {
      this.crew.lifeline.forget(info.id);
    });
    this.crew.races.onLoaded();
    scene.size = shell.size;
    this.crew.setPort(fit(info, scene.size));
    shell.focusIfFree();
    shell.status.say(info.notice || `${info.file_name} is open.`);
    this.crew.walk.onLoaded();
    this.crew.bulk.show();
    void this.crew.comments.open(info.id);
    void this.crew.presence.open(this.crew.project?.id ?? 0, info.id);
    void this.note(info.id, this.leftAt);
  }

  onEmpty(): void {
    const who = may(this.crew, "manage") ? "add some" : "an admin of this project adds them";
    this.crew.shell.showNotice(`No images yet: ${who} on the Library page.`);
  }

  onFailed(error: unknown): void {
    const { messages } = this.crew.shell;
    this.loadFailure = textOf(error);
    messages.add(this.loadFailure);
    this.crew.shell.showNotice("This could not be loaded. Choose an image below to try again.");
  }

  onRefreshed(): void {
    const { image } = this.crew.editor;
    void this.crew.walk.read();
    if (!image) return;
    void this.crew.sync.refresh(image.id);
    void this.crew.comments.read();
  }

  onNotRefreshed(error: unknown): void {
    this.crew.shell.messages.add(`Not up to date: ${textOf(error)}`);
  }

  private async note(image_id: number, asked_at: number): Promise<void> {
    await this.crew.shell.renderer.painted();
    this.lastOpening = { image_id, asked_at, painted_at: performance.now() };
  }
}
