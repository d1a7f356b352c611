/**
 * Paints the scene, at most once a frame and only when something changed.
 *
 * Lines, handles and text keep their size on screen at any zoom. The image and the masks that are
 * not selected are drawn once and copied, so that a stroke never pays for the rest of the photo.
 */

import { Aids } from "./aids";
import { Backdrop } from "./backdrop";
import { isEmpty, meet } from "./cells";
import { css, type Rgb, shadeOf } from "./color";
import { Difference } from "./difference";
import type { Editor } from "./editor";
import type { Instance } from "./instance";
import { type Ink, Layers, type Lens, lensOf } from "./layers";
import { PLAIN_LOOK } from "./look";
import { Overlay, pulseAt, strengthOf } from "./overlay";
import { fitCanvas, imageTransform, type Pen, penOf, strokePath } from "./pens";
import type { Scene } from "./scene";
import { boundsOf } from "./rle";
import type { Sheet } from "./sheet";
import { Still } from "./still";
import { isPlain } from "./tones";
import type { Category, Rect } from "./types";
import { toImage, type Viewport } from "./viewport";

const GREY = "#808080"; // for a category that is not known (any more)
const WHITE: Rgb = [255, 255, 255];
const LINES_FROM = 2; // CSS pixels an image pixel must fill for borders to be lines
const PULSE_STEP = 200; // milliseconds between frames that only pulse

export class Renderer {
  frames = 0;
  readonly scene: Scene = {
    image: null,
    port: { scale: 1, x: 0, y: 0 },
    size: { width: 0, height: 0 },
    placeholders: [],
    cursor: null,
    spot: null,
    look: PLAIN_LOOK,
    categories: [],
    proposals: new Map(),
  };
  private readonly pen: Pen;
  private readonly still = new Still(); // the image and all that belongs to masks but the selected
  private readonly layers = new Layers();
  private readonly backdrop = new Backdrop();
  private readonly aids = new Aids();
  private readonly difference = new Difference();
  private readonly overlay: Overlay;
  private readonly stillOverlay: Overlay;
  private readonly calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  private changes = 0; // of masks in the still part
  private frame = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly editor: Editor,
  ) {
    this.pen = penOf(canvas);
    this.overlay = new Overlay(this.pen, editor, this.scene, this);
    this.stillOverlay = new Overlay(this.still.pen, editor, this.scene, this);
  }

  /** Ask for a frame. */
  request(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      this.paint(now);
    });
  }

  /** Resolve after the next frame is painted. */
  painted(): Promise<void> {
    this.request();
    return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  }

  touch(id: number, rect: Rect | null): void {
    const item = this.editor.instances.find((one) => one.id === id);
    const patch = this.editor.patchOf(id);
    if (item) this.layers.touch(item, rect, patch);
    else this.layers.drop(id);
    if (id !== this.editor.selectedId) this.changes += 1;
    this.request();
  }

  /** Draw the masks anew that are not selected: they are shown otherwise now. */
  refresh(): void {
    this.changes += 1;
    this.request();
  }

  reset(image: Sheet | null): void {
    this.scene.image = image;
    image?.listen(() => {
      if (image === this.scene.image) this.refresh();
    });
    this.layers.clear();
    this.difference.clear();
    this.refresh();
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = -1;
  }

  colorOf({ category_id, number }: { category_id: number; number: number }): Rgb {
    return shadeOf(this.categoryOf(category_id)?.color ?? GREY, number);
  }

  nameOf(categoryId: number): string {
    return this.categoryOf(categoryId)?.name ?? "?";
  }

  private categoryOf(id: number): Category | undefined {
    return this.scene.categories.find((one) => one.id === id);
  }

  private paint(now: number): void {
    const { scene, pen, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    fitCanvas(canvas, scene.size, ratio);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!scene.image || canvas.width === 0 || canvas.height === 0) return; // or a hidden page
    this.frames += 1;
    const lens = lensOf(scene.image, scene.size, scene.port, ratio);
    this.drawStill(scene.image, lens, ratio);
    const { selected } = this.editor;
    if (selected && this.editor.isShown(selected)) this.drawMasks(pen, [selected], lens, ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.aids.draw(pen, scene.image, scene);
    this.overlay.draw(this.calm.matches ? 0.5 : pulseAt(now));
    // A slow pulse: where there is no GPU, each frame takes time from the model it waits for.
    if (scene.placeholders.length > 0 && !this.calm.matches) {
      window.setTimeout(() => {
        this.request();
      }, PULSE_STEP);
    }
  }

  /** Draw what a stroke leaves alone. */
  private drawStill(image: Sheet, lens: Lens, ratio: number): void {
    const { scene, still, editor } = this;
    const { port, size, look, categories } = scene;
    const chosen = editor.chosen.map(({ id }) => id);
    const parts = [JSON.stringify(look), categories.length, this.changes, editor.isAlone];
    const key = [...parts, ...chosen].join();
    const others = editor.inOrder.filter((item) => item !== editor.selected);
    still.update({ key, image, port, size, ratio, isMovable: isPlain(look) }, (rect) => {
      this.backdrop.draw(still.pen, image, scene, ratio);
      const seen = toImageRect(rect, port, ratio);
      this.drawMasks(
        still.pen,
        others.filter((item) => isIn(item, seen)),
        lens,
        ratio,
      );
      still.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.stillOverlay.drawBoxes(others, rect, ratio);
    });
    this.pen.drawImage(still.pen.canvas, 0, 0);
  }

  private drawMasks(pen: Pen, items: readonly Instance[], lens: Lens, ratio: number): void {
    const { scene, editor } = this;
    const { port, look } = scene;
    imageTransform(pen, port, ratio);
    pen.imageSmoothingEnabled = port.scale * ratio < 1;
    for (const item of items) {
      const strength = strengthOf(item, editor, scene);
      if (look.difference) {
        pen.globalAlpha = Math.max(look.opacity, 0.6) * strength;
        this.difference.draw(pen, item, scene.proposals.get(item.id), lens);
      }
      pen.globalAlpha = strength;
      this.layers.draw(pen, item, this.inkOf(item), lens, editor.patchOf(item.id));
      if (this.hasLine(item)) this.drawLine(pen, item, lens);
      pen.globalAlpha = 1;
    }
  }

  /** How the mask is filled; its edge is a rim of cells where a line would look the same. */
  private inkOf(item: Instance): Ink {
    const { editor, scene } = this;
    const { outline, difference, opacity } = scene.look;
    const color = this.colorOf(item);
    const isPainted = editor.strokingId === item.id;
    const isFilled = !difference && (!outline || isPainted);
    const edge = editor.isChosen(item.id) ? WHITE : color;
    const rim = isPainted || this.hasLine(item) ? null : edge;
    return { color, opacity: isFilled ? opacity : 0, rim };
  }

  /** Whether the border is drawn as a line of even width. */
  private hasLine({ id }: Instance): boolean {
    const { selectedId, strokingId } = this.editor;
    return strokingId !== id && (this.scene.port.scale >= LINES_FROM || id === selectedId);
  }

  private drawLine(pen: Pen, item: Instance, lens: Lens): void {
    const border = this.layers.border(item, lens);
    if (!border) return;
    const side = 2 ** lens.level;
    const unit = 1 / (this.scene.port.scale * side); // a CSS pixel
    const isChosen = this.editor.isChosen(item.id);
    pen.save();
    pen.scale(side, side);
    pen.lineCap = "square";
    if (isChosen) strokePath(pen, border, "#fff", 3.5 * unit);
    strokePath(pen, border, css(this.colorOf(item)), (isChosen ? 1.75 : 1.25) * unit);
    pen.restore();
  }
}

/** The pixels of the image under a rectangle of the screen. */
function toImageRect({ x0, y0, x1, y1 }: Rect, port: Viewport, ratio: number): Rect {
  const [left, top] = toImage(port, [x0 / ratio, y0 / ratio]);
  const [right, bottom] = toImage(port, [x1 / ratio, y1 / ratio]);
  return { x0: left, y0: top, x1: right, y1: bottom };
}

function isIn({ rle }: Instance, rect: Rect): boolean {
  return rle !== null && !isEmpty(meet(boundsOf(rle), rect));
}
