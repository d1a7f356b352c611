/** What is to be seen besides the editor's own state. */

import type { Look } from "./look";
import type { Placeholder } from "./proposals";
import type { Sheet } from "./sheet";
import type { Category, Point, Rle, Size } from "./types";
import type { Viewport } from "./viewport";

export interface Scene {
  image: Sheet | null; // once there are pixels of it
  port: Viewport;
  size: Size; // of the view, CSS pixels
  placeholders: readonly Placeholder[];
  cursor: Point | null; // view pixels; null when the pointer is away
  spot: Point | null; // of the keyboard's cursor, image pixels; it stands for the pointer
  look: Look;
  categories: readonly Category[];
  proposals: ReadonlyMap<number, Rle>; // the model's newest mask of each instance, where known
}
