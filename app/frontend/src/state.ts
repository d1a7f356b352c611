/** What tests and the console may look at: a copy, so that nothing can be changed through it. */

import type { Opening } from "./arrivals";
import type { Studio } from "./studio";
import type { Annotation, Box, Point, Tool } from "./types";
import type { Viewport } from "./viewport";

type Shown = Pick<
  Annotation,
  | "id"
  | "number"
  | "version"
  | "state"
  | "category_id"
  | "box"
  | "rle"
  | "score"
  | "flagged"
  | "model"
  | "person"
>;

export interface CanvasState {
  readonly project_id: number | null;
  readonly image_id: number | null; // once its pixels are on screen
  readonly instances: readonly Shown[];
  readonly selected: number | null;
  readonly chosen: readonly number[];
  readonly trail: readonly Point[]; // image pixels
  readonly tool: Tool;
  readonly radius: number; // image pixels
  readonly category_id: number;
  readonly draft: Box | null;
  readonly spot: Point | null; // of the keyboard's cursor
  readonly placeholders: readonly Box[];
  readonly scale: number;
  readonly view: Viewport;
  readonly pending: number;
  readonly held_by: string; // who works on the image while this page only looks
  readonly others: readonly string[]; // who else is here
  readonly messages: readonly string[];
  readonly undo: number;
  readonly redo: number;
  readonly last_proposal: Studio["lastProposal"];
  readonly last_opening: Opening | null;
  readonly left: { readonly masks: number; readonly images: number }; // of the queue
  readonly counters: Readonly<
    Record<"strokes" | "proposals" | "saves" | "retries" | "conflicts" | "frames", number>
  >;
}

export function stateOf(studio: Studio): CanvasState {
  const { editor, scene, shell, project } = studio;
  const { saves, proposals } = studio.sync;
  return structuredClone({
    project_id: project?.id ?? null,
    image_id: editor.image?.id ?? null,
    instances: editor.instances.map(
      ({ id, number, version, state, category_id, box, rle, score, flagged, model, person }) => ({
        ...{ id, number, version, state, category_id, box, rle },
        ...{ score, flagged, model, person },
      }),
    ),
    selected: editor.selectedId,
    chosen: editor.chosen.map(({ id }) => id),
    trail: editor.trail,
    tool: editor.tool,
    radius: editor.radius,
    category_id: editor.categoryId,
    draft: editor.draft?.box ?? null,
    spot: scene.spot,
    placeholders: scene.placeholders.map(({ box }) => box),
    scale: scene.port.scale,
    view: scene.port,
    pending: saves.pending,
    held_by: editor.heldBy,
    others: studio.presence.others.map(({ person }) => person),
    messages: shell.messages.shown,
    undo: editor.undoable,
    redo: editor.redoable,
    last_proposal: studio.lastProposal,
    last_opening: studio.arrivals.lastOpening,
    left: studio.walk.queue.left,
    counters: {
      strokes: editor.strokes,
      proposals: proposals.made,
      saves: saves.sent,
      retries: saves.retried,
      conflicts: saves.conflicts,
      frames: shell.renderer.frames,
    },
  });
}
