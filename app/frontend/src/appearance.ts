/** How image and masks are shown, and what of that the browser remembers. */

import type { Editor } from "./editor";
import { adjusted, type Look, readLook } from "./look";
import { recall } from "./remember";
import type { Scene } from "./scene";
import { textOf, type Transport } from "./transport";

export interface AppearancePorts {
  /** Draw all masks anew. */
  refresh(): void;
  tell(text: string): void;
}

const LOOK = "mal-look"; // kept for this browser
const PLACINGS = "mal-placings"; // kept until the tab is closed

export class Appearance {
  constructor(
    private readonly scene: Scene,
    private readonly editor: Editor,
    private readonly server: Pick<Transport, "proposals">,
    private readonly ports: AppearancePorts,
  ) {
    scene.look = readLook(recall(() => localStorage.getItem(LOOK)));
    editor.placings.read(recall(() => sessionStorage.getItem(PLACINGS)));
  }

  set(part: Partial<Look>): void {
    this.scene.look = adjusted(this.scene.look, part);
    const text = JSON.stringify(this.scene.look);
    recall(() => {
      localStorage.setItem(LOOK, text);
    });
    if (part.difference) void this.readProposals();
    this.ports.refresh();
  }

  /** Another image is open. */
  opened(): void {
    this.scene.proposals = new Map();
    if (this.scene.look.difference) void this.readProposals();
  }

  /** The masks are arranged otherwise. */
  arranged(): void {
    const text = this.editor.placings.write();
    recall(() => {
      sessionStorage.setItem(PLACINGS, text);
    });
    this.ports.refresh();
  }

  /** Read what the model proposed for the masks of the open image, to show the difference. */
  private async readProposals(): Promise<void> {
    const imageId = this.editor.image?.id;
    if (imageId === undefined) return;
    try {
      const proposals = await this.server.proposals(imageId);
      if (imageId !== this.editor.image?.id) return;
      this.scene.proposals = new Map(proposals.map(({ id, rle }) => [id, rle]));
      this.ports.refresh();
    } catch (error) {
      this.ports.tell(`No difference to show: ${textOf(error)}`);
    }
  }
}
