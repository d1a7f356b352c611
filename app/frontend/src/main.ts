/** The door of the bundle: `mount` puts a studio into an element of the host page. */

import { Studio as Canvas, type MountOptions } from "./studio";
import type { Filter } from "./queue";
import type { CanvasState } from "./state";
import { css } from "./styles";

/** What the host page may do with a mounted canvas. */
export interface Studio {
  /** Show an image of the project. */
  open(imageId: number): Promise<void>;
  /**
   * Show another project, at an image or at its first.
   *
   * The project that is open is only read again: what others changed shows up, and the person's
   * image, view, selection and strokes stay.
   */
  setProject(projectId: number, imageId?: number): Promise<void>;
  /** Go through the masks that pass a filter, from the first. */
  look(wanted: Partial<Filter>): Promise<void>;
  /** Resolve when everything is saved; not as long as the server refuses a save. */
  drained(): Promise<void>;
  /** A copy of what is on screen, for tests. */
  state(): CanvasState;
  /** Take the canvas down; saves that wait are still sent. */
  destroy(): void;
}

declare global {
  interface Window {
    malCanvas?: Studio;
  }
}

const STYLE_ID = "mal-studio-css";

/** Put a studio into `root`, which it fills; the newest is also `window.malCanvas`. */
export function mount(root: HTMLElement, options: MountOptions): Studio {
  if (!document.getElementById(STYLE_ID)) {
    const style = document.createElement("style");
    style.id = STYLE_ID;
    style.textContent = css;
    document.head.append(style);
  }
  const studio = new Canvas(root, options);
  window.malCanvas = studio;
  return studio;
}
