/** A reviewer's work: accept and go on, or send back with a word on what is to be mended. */

import type { Comments } from "./comments";
import { type Filter, isSame, TO_REVIEW } from "./queue";
import { recall } from "./remember";
import { may, type View } from "./view";
import type { Walk } from "./walk";

export const SENT_BACK = "send back"; // the reason of that revision; the server knows the word
const MODE = "mal-reviewer"; // kept for this browser
const DONE = { ...TO_REVIEW, states: ["corrected"] } as const;

export class Reviewing {
  private isWanted = recall(() => localStorage.getItem(MODE)) !== null;

  constructor(
    private readonly view: View,
    private readonly comments: Comments,
    private readonly walk: Walk,
    private readonly say: (text: string) => void,
  ) {}

  /** Whether the person reviews: they want to, and may. */
  get isOn(): boolean {
    return this.isWanted && may(this.view, "review");
  }

  /** What the queue shows unless the person filters: a reviewer looks at what others corrected. */
  get filter(): Filter {
    if (this.isOn) return DONE;
    return { ...TO_REVIEW, mine: this.walk.queue.mine.size > 0 ? true : null };
  }

  toggle(): void {
    if (!may(this.view, "review")) {
      this.say("Only a reviewer of this project judges what others did.");
      return;
    }
    const { filter } = this;
    this.isWanted = !this.isWanted;
    recall(() => {
      if (this.isWanted) localStorage.setItem(MODE, "on");
      else localStorage.removeItem(MODE);
    });
    if (isSame(this.walk.queue.filter, filter)) this.walk.setFilter(this.filter);
    this.say(
      this.isOn
        ? "You review: {confirm} accepts and goes on, {send.back} sends back."
        : "You annotate.",
    );
  }

  /** Why the selected mask cannot be sent back, in words; "" when it can. */
  get obstacle(): string {
    const { selected: item, heldBy, obstacle } = this.view.editor;
    if (!item || heldBy !== "") return obstacle;
    return item.rle === null ? `Mask ${item.number} is only a box.` : "";
  }

  /** Comment on a mask and put it before the annotators again; false where that was not possible. */
  async sendBack(id: number, text: string): Promise<boolean> {
    if (!(await this.comments.add(id, text))) return false;
    const { editor } = this.view;
    const item = editor.find(id);
    if (!item) return true; // another image is open by now, or somebody deleted it
    editor.edit([item], { state: "proposed" }, SENT_BACK);
    this.walk.go(1, `Mask ${item.number} sent back. `, id);
    return true;
  }
}
