/**
 * Paints the scene, at most once a frame and only when something changed.
 *
 * Lines, handles and text keep their size on screen at any zoom. The image and the masks that are
 * not selected are drawn once and copied, so that a stroke never pays for the rest of the photo.
 */

import { Aids } from "./aids";
import { Backdrop } from "./backdrop";
import { css, type Rgb, shadeOf } from "./color";
import { Difference } from "./difference";
import type { Editor } from "./editor";
import type { Instance } from "./instance";
import { Layers, type Lens, lensOf } from "./layers";
import { PLAIN_LOOK } from "./look";
import { Overlay, pulseAt, strengthOf } from "./overlay";
import { fitCanvas, imageTransform, type Pen, penOf, strokePath } from "./pens";
import type { Scene } from "./scene";
import type { Sheet } from "./sheet";
import type { Category, Rect } from "./types";

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
  private readonly still: Pen; // the image and all that belongs to masks but the selected
  private readonly layers = new Layers();
  private readonly backdrop = new Backdrop();
  private readonly aids = new Aids();
  private readonly difference = new Difference();
  private readonly overlay: Overlay;
  private readonly stillOverlay: Overlay;
  private readonly calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  private stillKey = "";
  private stillOf: Sheet | null = null;
  private changes = 0; // of masks in the still part
  private frame = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly editor: Editor,
  ) {
    this.pen = penOf(canvas);
    this.still = penOf(document.createElement("canvas"));
    this.overlay = new Overlay(this.pen, editor, this.scene, this);
    this.stillOverlay = new Overlay(this.still, editor, this.scene, this);
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
    if (item) this.layers.touch(item, this.colorOf(item), rect, patch);
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

  /** Draw what a stroke leaves alone, or copy it from the last frame when nothing moved. */
  private drawStill(image: Sheet, lens: Lens, ratio: number): void {
    const { scene, still, editor } = this;
    const { port, size, look, categories } = scene;
    const chosen = editor.chosen.map(({ id }) => id);
    const key = [
      ...[port.scale, port.x, port.y, size.width, size.height, ratio],
      ...[JSON.stringify(look), categories.length, this.changes, editor.isAlone, ...chosen],
    ].join();
    if (key !== this.stillKey || image !== this.stillOf) {
      this.stillKey = key;
      this.stillOf = image;
      fitCanvas(still.canvas, size, ratio);
      still.setTransform(1, 0, 0, 1, 0, 0);
      still.clearRect(0, 0, still.canvas.width, still.canvas.height);
      this.backdrop.draw(still, image, scene, ratio);
      const others = editor.inOrder.filter((item) => item !== editor.selected);
      this.drawMasks(still, others, lens, ratio);
      still.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.stillOverlay.drawBoxes(others);
    }
    this.pen.drawImage(still.canvas, 0, 0);
  }

  private drawMasks(pen: Pen, items: readonly Instance[], lens: Lens, ratio: number): void {
    const { scene, editor } = this;
    const { port, look } = scene;
    imageTransform(pen, port, ratio);
    pen.imageSmoothingEnabled = port.scale * ratio < 1;
    for (const item of items) {
      const strength = strengthOf(item, editor, scene);
      const isFilled = !look.outline || editor.strokingId === item.id;
      pen.globalAlpha = look.opacity * strength;
      if (look.difference) {
        pen.globalAlpha = Math.max(look.opacity, 0.6) * strength;
        this.difference.draw(pen, item, scene.proposals.get(item.id), lens);
      } else if (isFilled) {
        this.layers.draw(pen, item, this.colorOf(item), lens, editor.patchOf(item.id));
      }
      pen.globalAlpha = strength;
      this.drawBorder(pen, item, lens);
      pen.globalAlpha = 1;
    }
  }

  /** The border as a line of even width, or as a rim of cells where that looks the same. */
  private drawBorder(pen: Pen, item: Instance, lens: Lens): void {
    const { editor, layers, scene } = this;
    if (editor.strokingId === item.id) return;
    const color = this.colorOf(item);
    const isSelected = item.id === editor.selectedId;
    if (scene.port.scale < LINES_FROM && !isSelected) {
      layers.drawRim(pen, item, editor.isChosen(item.id) ? WHITE : color, lens);
      return;
    }
    const border = layers.border(item, color, lens);
    if (!border) return;
    const side = 2 ** lens.level;
    const unit = 1 / (scene.port.scale * side); // a CSS pixel
    pen.save();
    pen.scale(side, side);
    pen.lineCap = "square";
    const isChosen = editor.isChosen(item.id);
    if (isChosen) strokePath(pen, border, "#fff", 3.5 * unit);
    strokePath(pen, border, css(color), (isChosen ? 1.75 : 1.25) * unit);
    pen.restore();
  }
}
