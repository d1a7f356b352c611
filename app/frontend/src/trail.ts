/** Tools that take one point after the other: extreme points, polygons, and the knife. */

import { redrawn } from "./acts";
import { boxOf, isLargeEnough } from "./boxes";
import type { Creations, Outcome } from "./creations";
import type { Editor } from "./editor";
import { cropOf } from "./instance";
import { fillPolygon } from "./polygon";
import { type Crop, minus, union } from "./raster";
import type { Box, Point, Tool } from "./types";

export interface TrailPorts {
  readonly editor: Editor;
  readonly creations: Pick<Creations, "add" | "split">;
  readonly propose: (box: Box) => void;
  readonly say: (text: string) => void;
}

const TRAIL_TOOLS: readonly Tool[] = ["extreme", "polygon", "cut", "split"];
const NEAR = 3; // CSS pixels within which a click is the same point
const CLOSE = 10; // CSS pixels around the first point that close a polygon
const HINTS: Partial<Record<Tool, string>> = {
  polygon: "Click on for more points. Double click or {confirm} closes, {delete} takes one back.",
  cut: "Click on for more points. Double click or {confirm} closes, {delete} takes one back.",
  split: "Click on, through the mask. Double click or {confirm} cuts, {delete} takes one back.",
};

/** Whether a tool takes one point after the other. */
export function takesPoints(tool: Tool): boolean {
  return TRAIL_TOOLS.includes(tool);
}

export class Trail {
  constructor(private readonly ports: TrailPorts) {}

  get isOpen(): boolean {
    return this.ports.editor.trail.length > 0;
  }

  /** Take a click in image pixels; `scale` is the view's. */
  click(point: Point, scale: number): void {
    const { editor, say } = this.ports;
    const { tool, trail } = editor;
    if (trail.length > 2 && isArea(tool) && within(trail[0], point, CLOSE / scale)) this.finish();
    else if (!this.extend(point, scale)) return;
    else if (tool === "extreme" && trail.length === 3) this.finish();
    else if (tool === "extreme") say(`Point ${trail.length + 1} of 4.`);
    else say(HINTS[tool] ?? "");
  }

  /** Finish by a double click, whose clicks came before it. */
  doubleClick(): void {
    const { tool, trail } = this.ports.editor;
    if (trail.length === 1)
      this.cancel(); // its first click closed the polygon
    else if (this.isOpen && tool !== "extreme") this.finish();
  }

  /** Add a point unless it is where the last one is. */
  extend(point: Point, scale: number): boolean {
    const { editor } = this.ports;
    const last = editor.trail.at(-1);
    if (last && within(last, point, NEAR / scale)) return false;
    editor.setTrail([...editor.trail, point]);
    return true;
  }

  /** Take the last point back; false when there is none. */
  back(): boolean {
    const { editor, say } = this.ports;
    if (!this.isOpen) return false;
    editor.setTrail(editor.trail.slice(0, -1));
    say("Point taken back.");
    return true;
  }

  /** Leave the points without any effect; false when there are none. */
  cancel(): boolean {
    const was = this.isOpen;
    if (was) this.ports.editor.setTrail([]);
    return was;
  }

  /** Do what the points are for; too few are left where they are, with a word. */
  finish(): void {
    const { editor, say } = this.ports;
    const { tool, trail } = editor;
    if (trail.length < pointsFor(tool)) {
      say(tool === "split" ? "A cut needs two points." : `${pointsFor(tool)} points are needed.`);
      return;
    }
    editor.setTrail([]);
    if (tool === "extreme") this.propose(trail);
    else if (tool === "split") void this.ports.creations.split(trail);
    else this.polygon(trail, tool === "polygon");
  }

  private propose(trail: readonly Point[]): void {
    const { image } = this.ports.editor;
    const [xs, ys] = [trail.map(([x]) => x), trail.map(([, y]) => y)];
    if (!image) return;
    const low: Point = [Math.min(...xs), Math.min(...ys)];
    const box = boxOf(low, [Math.max(...xs), Math.max(...ys)], image);
    if (isLargeEnough(box)) this.ports.propose(box);
    else this.ports.say("The points are too close together for a box.");
  }

  /** Add the polygon to the selected mask or take it away; with none selected it is a new mask. */
  private polygon(trail: readonly Point[], adds: boolean): void {
    const { editor, creations, say } = this.ports;
    const { image, selected, obstacle } = editor;
    if (!image) return;
    const filled = fillPolygon(trail, image);
    if (filled.w === 0) say("The polygon holds no pixel.");
    else if (adds && !selected) this.keepUnless(creations.add(filled, "polygon"), trail);
    else if (!selected || obstacle !== "") {
      say(obstacle);
      editor.setTrail(trail);
    } else {
      const whole = cropOf(selected.rle);
      const crop = adds ? union(whole, filled, image) : minus(whole, filled);
      say(this.redraw(crop, adds));
    }
  }

  private redraw(crop: Crop, adds: boolean): string {
    const { editor } = this.ports;
    const { image, selected } = editor;
    if (!image || !selected) return "";
    if (crop.w === 0) return "Nothing would be left. Delete the mask instead.";
    const entries = redrawn(selected, crop, image);
    const isDone = editor.perform(entries, adds ? "polygon" : "polygon cut");
    if (!isDone) return adds ? "The mask holds all of it already." : "The mask holds none of it.";
    return adds ? "Polygon added." : "Polygon cut out.";
  }

  /** Bring the points back when the act came to nothing and nothing new was begun. */
  private keepUnless(done: Promise<Outcome>, trail: readonly Point[]): void {
    const { editor } = this.ports;
    const { tool, image } = editor;
    void done.then((outcome) => {
      const isFree = !this.isOpen && editor.tool === tool && editor.image === image;
      if (outcome === "refused" && isFree) editor.setTrail(trail);
    });
  }
}

function isArea(tool: Tool): boolean {
  return tool === "polygon" || tool === "cut";
}

function pointsFor(tool: Tool): number {
  if (tool === "extreme") return 4;
  return tool === "split" ? 2 : 3;
}

function within([ax, ay]: Point, [bx, by]: Point, reach: number): boolean {
  return Math.hypot(ax - bx, ay - by) <= reach;
}
