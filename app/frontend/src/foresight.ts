/**
 * Gives the boxes of the image that comes next their masks before the person is there.
 *
 * One box at a time, and none while the person waits for a mask. What goes wrong is left: nobody
 * asked, and whoever comes to such a box can.
 */

import type { Annotation } from "./types";

export interface ForesightPorts {
  /** Ask for one mask; false when there is no use in asking for more now. */
  foresee(box: Annotation): Promise<boolean>;
  /** Whether a person waits for the model. */
  isAsked(): boolean;
  wait(seconds: number): Promise<void>;
  /** Whether the image is still the next one, or open by now. */
  isWanted(imageId: number): boolean;
  /** An image's masks changed. */
  onDone(imageId: number): void;
}

interface Batch {
  readonly imageId: number;
  readonly boxes: readonly Annotation[];
}

const PAUSE = 0.1; // seconds between looks whether the person still waits

export class Foresight {
  private next: Batch | null = null;
  private isRunning = false;

  constructor(private readonly ports: ForesightPorts) {}

  /** Go on with the boxes of this image once those of the one before are done or unwanted. */
  async begin(imageId: number, annotations: readonly Annotation[]): Promise<void> {
    const isBare = ({ rle, state }: Annotation): boolean => rle === null && state === "proposed";
    this.next = { imageId, boxes: annotations.filter(isBare) };
    if (this.isRunning) return;
    this.isRunning = true;
    while (this.next) {
      const batch: Batch = this.next;
      this.next = null;
      await this.run(batch);
    }
    this.isRunning = false;
  }

  private async run({ imageId, boxes }: Batch): Promise<void> {
    for (const box of boxes) {
      while (this.ports.isAsked()) await this.ports.wait(PAUSE);
      if (!this.ports.isWanted(imageId) || !(await this.ports.foresee(box))) return;
    }
    if (boxes.length > 0) this.ports.onDone(imageId);
  }
}
