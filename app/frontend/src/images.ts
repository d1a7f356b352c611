/** Decoded images and their annotations, fetched once, and the neighbours fetched ahead. */

import type { Transport } from "./transport";
import type { Annotation, ImageInfo } from "./types";

/** All that is needed to show an image; annotations fetched ahead may be some seconds old. */
export interface Loaded {
  readonly info: ImageInfo;
  readonly bitmap: ImageBitmap;
  readonly annotations: readonly Annotation[];
  readonly isAhead: boolean; // or changed since they were asked for
}

const KEPT = 3; // decoded images in memory: the one shown and its neighbours

export class Images {
  private readonly bitmaps = new Map<number, Promise<ImageBitmap>>(); // least recently used first
  private outdated = 0; // how often anything was
  private readonly ahead = new Map<number, Promise<readonly Annotation[]>>();

  constructor(private readonly transport: Transport) {}

  async load(info: ImageInfo): Promise<Loaded> {
    const early = this.ahead.get(info.id);
    this.ahead.delete(info.id);
    const { outdated } = this;
    const [bitmap, annotations] = await Promise.all([
      this.bitmap(info),
      early ?? this.transport.annotations(info.id),
    ]);
    const isAhead = early !== undefined || outdated !== this.outdated;
    return { info, bitmap, annotations, isAhead };
  }

  /** Fetch an image that is likely to be opened next; failures show when it is opened. */
  prefetch(info: ImageInfo): void {
    this.bitmap(info).catch(() => undefined);
    const annotations = this.transport.annotations(info.id);
    annotations.catch(() => this.ahead.delete(info.id));
    this.ahead.set(info.id, annotations);
  }

  /** Forget annotations fetched ahead, because they have changed since. */
  outdate(imageId: number): void {
    this.outdated += 1;
    this.ahead.delete(imageId);
  }

  clear(): void {
    for (const id of [...this.bitmaps.keys()]) this.drop(id);
    this.ahead.clear();
  }

  private bitmap(info: ImageInfo): Promise<ImageBitmap> {
    const kept = this.bitmaps.get(info.id);
    const bitmap = kept ?? this.decode(info);
    this.bitmaps.delete(info.id);
    this.bitmaps.set(info.id, bitmap);
    if (!kept) bitmap.catch(() => this.bitmaps.delete(info.id));
    for (const id of [...this.bitmaps.keys()].slice(0, -KEPT)) this.drop(id);
    return bitmap;
  }

  private async decode({ id, width, height }: ImageInfo): Promise<ImageBitmap> {
    const bitmap = await createImageBitmap(await this.transport.image(id));
    if (bitmap.width === width && bitmap.height === height) return bitmap;
    const got = `${bitmap.width} × ${bitmap.height}`;
    bitmap.close();
    throw new Error(`The image must be ${width} × ${height} pixels, got ${got}. Add it again.`);
  }

  private drop(id: number): void {
    const bitmap = this.bitmaps.get(id);
    this.bitmaps.delete(id);
    bitmap?.then(
      (one) => {
        one.close();
      },
      () => undefined,
    );
  }
}
