/**
 * The words of the canvas, as the REST contract spells them.
 *
 * Boxes and points are in pixels of the upright image; boxes are half-open (x0, y0, x1, y1).
 */

export type Point = readonly [x: number, y: number];
export type Box = readonly [x0: number, y0: number, x1: number, y1: number];
export type State = "proposed" | "corrected" | "accepted" | "rejected" | "deleted";
export type Tool =
  "box" | "extreme" | "polygon" | "cut" | "brush" | "eraser" | "split" | "select" | "pan";

/** COCO's compressed run-length code of a whole image; size is [height, width]. */
export interface Rle {
  readonly size: readonly [height: number, width: number];
  readonly counts: string;
}

/** Width and height of an image or a view. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A half-open rectangle of whole pixels. */
export interface Rect {
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
}

/** What a person can change of an instance, and what undo brings back. */
export interface Snapshot {
  readonly state: State;
  readonly category_id: number;
  readonly box: Box;
  readonly rle: Rle | null;
}

/** A stroke of the brush (adds) or the eraser as it was drawn, in image pixels. */
export interface Stroke {
  readonly adds: boolean;
  readonly radius: number;
  readonly points: readonly Point[];
}

/** An instance as the server sends it. */
export interface Annotation extends Snapshot {
  readonly id: number;
  readonly image_id: number;
  readonly number: number;
  readonly version: number;
  readonly score: number | null;
  readonly flagged: boolean;
  readonly model_id: number | null;
  readonly model: string | null;
  readonly person: string;
  readonly reason: string; // why it was saved, in a word
  readonly saved_at: string;
}

export interface Category {
  readonly id: number;
  readonly number: number;
  readonly name: string;
  readonly color: string; // "#rrggbb"
}

/** What can be allowed; the server checks each act, the page offers no other. */
export type Right = "view" | "annotate" | "review" | "export" | "train" | "manage" | "serve";

export type Counts = Readonly<Record<Exclude<State, "deleted">, number>>;

export interface ImageInfo extends Size {
  readonly id: number;
  readonly number: number;
  readonly file_name: string;
  readonly notice: string;
  readonly counts: Counts;
  readonly assigned: readonly Assigned[]; // to whom; to nobody: it is free for all
}

/** Somebody who is to do an image; several annotate it unseen by each other. */
export interface Assigned {
  readonly person: string;
  readonly is_done: boolean;
}

export interface Project {
  readonly id: number;
  readonly name: string;
  readonly studio: string; // names the server's data folder
  readonly person: string; // whose page this is
  readonly rights: readonly Right[]; // theirs here
  readonly model: { readonly id: number; readonly name: string };
  readonly categories: readonly Category[];
  readonly images: readonly ImageInfo[];
}

/** What somebody wrote about an image, or about one of its masks. */
export interface Comment {
  readonly id: number;
  readonly image_id: number;
  readonly instance_id: number | null;
  readonly person: string;
  readonly text: string;
  readonly written_at: string;
}

/** A proposal that could be accepted with others. */
export interface Candidate {
  readonly id: number;
  readonly image_id: number;
  readonly number: number;
  readonly score: number;
  readonly box: Box;
}

/** One wish to save: `after` null asks for deletion. */
export interface Change {
  readonly id: number;
  readonly image_id: number;
  readonly after: Snapshot | null;
  readonly reason: string;
  readonly seconds?: number; // of the person's time it took
  readonly strokes?: number; // of brush and eraser in it
}

/** An instance to be made with the mask it has; `from_id` is the one its mask comes from. */
export interface Wish extends Snapshot {
  readonly seconds?: number; // it took
  readonly image_id: number;
  readonly reason: string;
  readonly from_id: number | null;
}

export interface ProposeRequest {
  readonly image_id: number;
  readonly box: Box;
  readonly category_id: number;
  readonly request_id: string;
  readonly instance_id: number | null;
  readonly version: number | null;
  readonly strokes?: readonly Stroke[]; // that correct the instance's mask
  readonly ahead?: true; // nobody waits for it
  readonly seconds?: number; // it took to ask for it
}

export interface CreateRequest extends Wish {
  readonly request_id: string;
}
