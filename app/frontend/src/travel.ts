/** Moves of the view: panning, zooming, and going to a place on the map. */

import { inBox } from "./boxes";
import type { Editor } from "./editor";
import { fromMap, mapFrame } from "./minimap";
import type { Scene } from "./scene";
import type { Box, Point } from "./types";
import { fit, panBy, toImage, toView, type Viewport, zoomAt } from "./viewport";

export interface TravelPorts {
  readonly editor: Editor;
  readonly scene: Scene;
  readonly setPort: (port: Viewport) => void;
}

const EDGE = 24; // CSS pixels that what is brought into sight keeps from the view's border

export class Travel {
  constructor(private readonly ports: TravelPorts) {}

  /** The image point at the middle of the view. */
  get centre(): Point {
    return toImage(this.ports.scene.port, this.middle);
  }

  fit(): void {
    const { editor, scene, setPort } = this.ports;
    if (editor.image) setPort(fit(editor.image, scene.size));
  }

  shift(by: Point): void {
    const { editor, scene, setPort } = this.ports;
    if (editor.image) setPort(panBy(scene.port, by, editor.image, scene.size));
  }

  /** Zoom by a factor; what is under `at`, in view pixels, stays there. */
  zoom(factor: number, at: Point = this.middle): void {
    const { editor, scene, setPort } = this.ports;
    if (editor.image) setPort(zoomAt(scene.port, at, factor, editor.image, scene.size));
  }

  /** The map's place in the view, when a point of the view is on it. */
  mapUnder(at: Point): Box | null {
    const { editor, scene } = this.ports;
    if (!editor.image || !scene.look.map) return null;
    const frame = mapFrame(editor.image, scene.size, scene.port);
    return frame && inBox(frame, at) ? frame : null;
  }

  /** Bring the image point under a point of the map to the middle of the view. */
  goTo(frame: Box, at: Point): void {
    const { editor, scene } = this.ports;
    if (!editor.image) return;
    const [x, y] = toView(scene.port, fromMap(frame, editor.image, at));
    this.shift([this.middle[0] - x, this.middle[1] - y]);
  }

  /** Pan just as far as an image point needs to be in sight. */
  follow(point: Point): void {
    const { port, size } = this.ports.scene;
    const [x, y] = toView(port, point);
    const by: Point = [overshoot(x, size.width), overshoot(y, size.height)];
    if (by[0] !== 0 || by[1] !== 0) this.shift(by);
  }

  private get middle(): Point {
    const { width, height } = this.ports.scene.size;
    return [width / 2, height / 2];
  }
}

function overshoot(at: number, side: number): number {
  const edge = Math.min(EDGE, side / 4);
  if (at < edge) return edge - at;
  return at > side - edge ? side - edge - at : 0;
}
