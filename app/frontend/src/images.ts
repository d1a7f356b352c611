/** Decoded images and their annotations, fetched once, and the neighbours fetched ahead. */

import { type Sheet, TiledSheet, WholeSheet } from "./sheet";
import { lastLevel, type TileRef } from "./tiles";
import type { Transport } from "./transport";
import type { Annotation, ImageInfo, Size } from "./types";

/** All that is needed to show an image; annotations fetched ahead may be some seconds old. */
export interface Loaded {
  readonly info: ImageInfo;
  readonly image: Sheet;
  readonly annotations: readonly Annotation[];
  readonly isAhead: boolean; // or changed since they were asked for
}

const KEPT = 3; // decoded images in memory: the one shown and its neighbours
const WHOLE = 2 ** 22; // pixels; a larger image is shown in tiles

export class Images {
  private readonly sheets = new Map<number, Promise<Sheet>>(); // least recently used first
  private outdated = 0; // how often anything was
  private readonly ahead = new Map<number, Promise<readonly Annotation[]>>();

  constructor(private readonly transport: Transport) {}

  async load(info: ImageInfo): Promise<Loaded> {
    const early = this.ahead.get(info.id);
    this.ahead.delete(info.id);
    const { outdated } = this;
    const [image, annotations] = await Promise.all([
      this.sheet(info),
      early ?? this.transport.annotations(info.id),
    ]);
    const isAhead = early !== undefined || outdated !== this.outdated;
    for (const [id, sheet] of this.sheets)
      if (id !== info.id) void sheet.then(rest, () => undefined);
    return { info, image, annotations, isAhead };
  }

  /** Fetch an image that is likely to be opened next; failures show when it is opened. */
  prefetch(info: ImageInfo): Promise<readonly Annotation[]> {
    this.sheet(info).catch(() => undefined);
    const annotations = this.transport.annotations(info.id);
    annotations.catch(() => this.ahead.delete(info.id));
    this.ahead.set(info.id, annotations);
    return annotations;
  }

  /** Forget annotations fetched ahead, because they have changed since. */
  outdate(imageId: number): void {
    this.outdated += 1;
    this.ahead.delete(imageId);
  }

  clear(): void {
    for (const id of [...this.sheets.keys()]) this.drop(id);
    this.ahead.clear();
  }

  private sheet(info: ImageInfo): Promise<Sheet> {
    const kept = this.sheets.get(info.id);
    const sheet = kept ?? this.decode(info);
    this.sheets.delete(info.id);
    this.sheets.set(info.id, sheet);
    if (!kept) sheet.catch(() => this.sheets.delete(info.id));
    for (const id of [...this.sheets.keys()].slice(0, -KEPT)) this.drop(id);
    return sheet;
  }

  private async decode(info: ImageInfo): Promise<Sheet> {
    if (info.width * info.height <= WHOLE) {
      return new WholeSheet(await decoded(this.transport.image(info.id), info));
    }
    const level = lastLevel(info);
    const fetch = async (tile: TileRef): Promise<ImageBitmap> =>
      createImageBitmap(await this.transport.tile(info.id, tile));
    const small = this.transport.tile(info.id, { level, column: 0, row: 0 });
    const shrunk = (side: number): number => Math.ceil(side / 2 ** level);
    const size = { width: shrunk(info.width), height: shrunk(info.height) };
    return new TiledSheet(info, await decoded(small, size), fetch);
  }

  private drop(id: number): void {
    const sheet = this.sheets.get(id);
    this.sheets.delete(id);
    sheet?.then(
      (one) => {
        one.close();
      },
      () => undefined,
    );
  }
}

async function decoded(raster: Promise<Blob>, { width, height }: Size): Promise<ImageBitmap> {
  const bitmap = await createImageBitmap(await raster);
  if (bitmap.width === width && bitmap.height === height) return bitmap;
  const got = `${bitmap.width} × ${bitmap.height}`;
  bitmap.close();
  throw new Error(`The image must be ${width} × ${height} pixels, got ${got}. Add it again.`);
}

function rest(sheet: Sheet): void {
  sheet.rest();
}
