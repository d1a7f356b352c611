/** What people wrote about the open image and its masks; it only grows. */

import { NetworkError, textOf, type Transport } from "./transport";
import type { Comment } from "./types";

export interface CommentPorts {
  /** The person of this page. */
  person(): string;
  tell(text: string): void;
  onChange(): void;
}

/** A comment whose answer was lost; it may be stored, under an id that is not among the known. */
interface Doubtful {
  readonly imageId: number;
  readonly about: number | null;
  readonly text: string;
  readonly known: ReadonlySet<number>;
}

export class Comments {
  all: readonly Comment[] = []; // oldest first
  private imageId = 0;
  private doubtful: Doubtful | null = null;

  constructor(
    private readonly server: Pick<Transport, "comments" | "addComment">,
    private readonly ports: CommentPorts,
  ) {}

  /** How many there are about a mask; null counts those about the image as a whole. */
  countOf(instanceId: number | null): number {
    return this.all.filter(({ instance_id }) => instance_id === instanceId).length;
  }

  /** Id of the newest that is known; 0 while there is none. */
  get newest(): number {
    return this.all.at(-1)?.id ?? 0;
  }

  /** Another image is open. */
  async open(imageId: number): Promise<void> {
    this.imageId = imageId;
    this.all = [];
    await this.read();
  }

  async read(): Promise<void> {
    const { imageId } = this;
    try {
      const all = await this.server.comments(imageId);
      if (imageId !== this.imageId) return;
      this.all = all;
      this.ports.onChange();
    } catch (error) {
      if (imageId === this.imageId) this.ports.tell(`No comments to show: ${textOf(error)}`);
    }
  }

  /**
   * Write a comment on the open image, or on a mask of it; false where it could not be.
   *
   * Asked again with the same text after an answer was lost, it looks first whether it got through.
   */
  async add(about: number | null, text: string): Promise<boolean> {
    const { imageId } = this;
    const known = new Set(this.all.map(({ id }) => id));
    if (await this.gotThrough(about, text)) return true;
    try {
      const made = await this.server.addComment(imageId, about, text);
      if (imageId === this.imageId) this.all = [...this.all, made];
      this.doubtful = null;
      this.ports.onChange();
      return true;
    } catch (error) {
      const isLost = error instanceof NetworkError;
      this.doubtful = isLost ? { imageId, about, text, known } : null;
      this.ports.tell(`The comment was not sent: ${textOf(error)}`);
      return false;
    }
  }

  private async gotThrough(about: number | null, text: string): Promise<boolean> {
    const { doubtful } = this;
    const isSame = doubtful?.text === text && doubtful.about === about;
    if (!doubtful || !isSame || doubtful.imageId !== this.imageId) return false;
    await this.read();
    const isIt = (one: Comment): boolean =>
      !doubtful.known.has(one.id) &&
      one.instance_id === about &&
      one.text === text.trim() &&
      one.person === this.ports.person();
    if (!this.all.some(isIt)) return false;
    this.doubtful = null;
    return true;
  }
}
