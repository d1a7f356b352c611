/** Leads a person through the races they lost: tells of one, goes to its image, and shows it. */

import type { Conflict, Conflicts } from "./conflicts";
import { withKeys } from "./keysigns";
import type { Shell } from "./shell";
import { categoryOf, type Orders, type View } from "./view";

export class Races {
  private isAsked = false; // and the image is on its way
  private told = ""; // what was said of a race last

  constructor(
    private readonly view: View,
    private readonly orders: Pick<Orders, "open">,
    private readonly shell: Pick<Shell, "messages" | "status" | "versus" | "renderer">,
    private readonly conflicts: Conflicts,
  ) {}

  /** Say that a race was lost, and offer to compare. */
  tell({ mine }: Conflict, text: string): void {
    const act = (): void => {
      this.compare(mine.image_id);
    };
    const remedy = { label: withKeys("Compare ({conflict})", this.view.habits.keys), act };
    this.told = text;
    this.shell.messages.add(text, "notice", remedy);
  }

  /** Show a race nobody has decided: one of this image first, else the image of another. */
  compare(imageId = this.here): void {
    const all = [imageId, ...(this.view.project?.images ?? []).map(({ id }) => id)];
    const next = all.map((id) => this.conflicts.first(id)).find(Boolean);
    this.isAsked = false;
    if (!next) this.shell.status.say("Nobody saved a mask before you.");
    else if (next.mine.image_id === this.here) this.show(next);
    else {
      this.isAsked = true;
      void this.orders.open(next.mine.image_id);
    }
  }

  /** An image came: show its race if that was what it was opened for, else tell of it. */
  onLoaded(): void {
    const { isAsked } = this;
    this.isAsked = false;
    const next = this.conflicts.first(this.here);
    if (!next) return;
    if (isAsked) this.show(next);
    else
      this.tell(next, `Mask ${next.theirs.number}: somebody saved first; yours waits for a word.`);
  }

  /** The image whose pixels are on screen; 0 when there is none. */
  private get here(): number {
    return this.view.editor.image?.id ?? 0;
  }

  private show(conflict: Conflict): void {
    const { image } = this.view.scene;
    const color = this.shell.renderer.colorOf(conflict.theirs);
    const nameOf = (id: number): string => categoryOf(this.view, id)?.name ?? "no category";
    this.shell.messages.remove(this.told);
    const isForeign = this.view.editor.isForeign(conflict.theirs);
    if (image) this.shell.versus.open(conflict, { image, color, nameOf, isForeign });
  }
}
