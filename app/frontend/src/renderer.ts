/**
 * Paints the scene, at most once a frame and only when something changed.
 *
 * Lines, handles and text keep their size on screen at any zoom. The image and the masks that are
 * not selected are drawn once and copied, so that a stroke never pays for the rest of the photo.
 */

import { HANDLES, handlePoint } from "./boxes";
import type { Draft } from "./choice";
import { css, inkOn, type Rgb, shadeOf } from "./color";
import type { Editor } from "./editor";
import type { Instance } from "./instance";
import { Layers } from "./layers";
import type { Placeholder } from "./proposals";
import type { Box, Category, Point, Rect, Size } from "./types";
import { toImage, toView, type Viewport } from "./viewport";

/** What is to be seen besides the editor's own state. */
export interface Scene {
  bitmap: ImageBitmap | null;
  port: Viewport;
  size: Size; // of the view, CSS pixels
  placeholders: readonly Placeholder[];
  cursor: Point | null; // view pixels; null when the pointer is away
  opacity: number; // of masks, 0..1
  categories: readonly Category[];
}

const GREY = "#808080"; // for a category that is not known (any more)
const FAINT = 0.3; // how much of its strength a rejected mask keeps
const PULSE = 1400; // milliseconds
const PULSE_STEP = 200; // milliseconds between frames that only pulse

type Pen = CanvasRenderingContext2D;

export class Renderer {
  frames = 0;
  readonly scene: Scene = {
    bitmap: null,
    port: { scale: 1, x: 0, y: 0 },
    size: { width: 0, height: 0 },
    placeholders: [],
    cursor: null,
    opacity: 0.45,
    categories: [],
  };
  private readonly pen: Pen;
  private readonly still: Pen; // the image and all masks but the selected
  private readonly layers = new Layers();
  private readonly calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  private stillKey = "";
  private stillOf: ImageBitmap | null = null;
  private changes = 0; // of masks in the still part
  private frame = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly editor: Editor,
  ) {
    this.pen = penOf(canvas);
    this.still = penOf(document.createElement("canvas"));
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
    if (item) this.layers.touch(item, this.colorOf(item), rect);
    else this.layers.drop(id);
    if (id !== this.editor.selectedId) this.changes += 1;
    this.request();
  }

  reset(bitmap: ImageBitmap | null): void {
    this.scene.bitmap = bitmap;
    this.layers.clear();
    this.changes += 1;
    this.request();
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.frame = -1;
  }

  colorOf({ category_id, number }: { category_id: number; number: number }): Rgb {
    return shadeOf(this.categoryOf(category_id)?.color ?? GREY, number);
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
    if (!scene.bitmap || canvas.width === 0 || canvas.height === 0) return; // or a hidden page
    this.frames += 1;
    this.drawStill(scene.bitmap, ratio);
    if (this.editor.selected) this.drawMasks(pen, [this.editor.selected], ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const item of this.inOrder()) this.drawBox(item);
    this.drawPlaceholders(now);
    if (this.editor.draft) this.drawDraft(this.editor.draft);
    if (scene.cursor) this.drawCursor(scene.cursor);
    // A slow pulse: where there is no GPU, each frame takes time from the model it waits for.
    if (scene.placeholders.length > 0 && !this.calm.matches) {
      window.setTimeout(() => {
        this.request();
      }, PULSE_STEP);
    }
  }

  /** Draw what a stroke leaves alone, or copy it from the last frame when nothing moved. */
  private drawStill(bitmap: ImageBitmap, ratio: number): void {
    const { scene, still, editor } = this;
    const { port, size, opacity, categories } = scene;
    const key = [
      ...[port.scale, port.x, port.y, size.width, size.height, ratio, opacity],
      ...[categories.length, editor.selected?.id, this.changes],
    ].join();
    if (key !== this.stillKey || bitmap !== this.stillOf) {
      this.stillKey = key;
      this.stillOf = bitmap;
      fitCanvas(still.canvas, size, ratio);
      still.setTransform(1, 0, 0, 1, 0, 0);
      still.clearRect(0, 0, still.canvas.width, still.canvas.height);
      imageTransform(still, port, ratio);
      still.imageSmoothingQuality = "medium";
      still.drawImage(bitmap, 0, 0);
      const others = editor.instances.filter((item) => item !== editor.selected);
      this.drawMasks(still, others, ratio);
    }
    this.pen.drawImage(still.canvas, 0, 0);
  }

  private drawMasks(pen: Pen, items: readonly Instance[], ratio: number): void {
    const { port, opacity } = this.scene;
    imageTransform(pen, port, ratio);
    for (const item of items) {
      const strength = item.state === "rejected" ? FAINT : 1;
      pen.globalAlpha = opacity * strength;
      this.layers.draw(pen, item, this.colorOf(item));
      pen.globalAlpha = strength;
      this.drawBorder(pen, item, port.scale);
      pen.globalAlpha = 1;
    }
  }

  private drawBorder(pen: Pen, item: Instance, scale: number): void {
    if (this.editor.strokingId === item.id) return;
    const color = this.colorOf(item);
    const border = this.layers.border(item, color);
    if (!border) return;
    const isSelected = item.id === this.editor.selectedId;
    pen.lineCap = "square";
    if (isSelected) strokePath(pen, border, "#fff", 3.5 / scale);
    strokePath(pen, border, css(color), (isSelected ? 1.75 : 1.25) / scale);
  }

  private drawBox(item: Instance): void {
    const isSelected = item.id === this.editor.selectedId;
    if (isSelected && this.editor.draft?.id === item.id) return;
    const color = this.colorOf(item);
    this.pen.globalAlpha = item.state === "rejected" ? 0.45 : 1;
    if (isSelected) this.frameOf(item.box, "rgb(255 255 255 / 0.85)", 3.5);
    this.frameOf(item.box, css(color, isSelected ? 1 : 0.7), isSelected ? 1.5 : 1);
    this.pen.globalAlpha = 1;
    if (isSelected && this.editor.tool === "select") this.drawHandles(item.box, color);
    this.drawLabel(item, color, isSelected);
  }

  private drawLabel(item: Instance, color: Rgb, isSelected: boolean): void {
    const [x0, y0, x1] = this.viewBox(item.box);
    if (!isSelected && x1 - x0 < 36) return;
    const name = this.categoryOf(item.category_id)?.name ?? "?";
    const text = isSelected || x1 - x0 > 90 ? `${item.number} ${name}` : String(item.number);
    this.chip(text, [x0, Math.max(y0 - 20, 2)], color, item.state === "rejected" ? 0.5 : 1);
  }

  private chip(text: string, [x, y]: Point, color: Rgb, alpha: number): void {
    const { pen } = this;
    pen.font = "600 12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.globalAlpha = alpha;
    pen.fillStyle = css(color);
    pen.beginPath();
    pen.roundRect(x, y, pen.measureText(text).width + 10, 18, 4);
    pen.fill();
    pen.fillStyle = inkOn(color);
    pen.fillText(text, x + 5, y + 9.5);
    pen.globalAlpha = 1;
  }

  private drawHandles(box: Box, color: Rgb): void {
    const { pen, scene } = this;
    for (const handle of HANDLES) {
      const [x, y] = toView(scene.port, handlePoint(box, handle));
      pen.beginPath();
      pen.roundRect(x - 4.5, y - 4.5, 9, 9, 2);
      pen.fillStyle = "#fff";
      pen.fill();
      pen.strokeStyle = css(color);
      pen.lineWidth = 2;
      pen.stroke();
    }
  }

  private drawPlaceholders(now: number): void {
    const { pen, scene } = this;
    const phase = this.calm.matches ? 0.5 : (1 + Math.cos((now / PULSE) * 2 * Math.PI)) / 2;
    for (const { box, category_id } of scene.placeholders) {
      const color = this.colorOf({ category_id, number: 0 });
      const [x0, y0, x1, y1] = this.viewBox(box);
      pen.fillStyle = css(color, 0.06 + 0.14 * phase);
      pen.fillRect(x0, y0, x1 - x0, y1 - y0);
      this.dashed(box, css(color));
    }
  }

  private drawDraft({ id, box }: Draft): void {
    const item = this.editor.instances.find((one) => one.id === id);
    const category_id = item?.category_id ?? this.editor.categoryId;
    const color = this.colorOf({ category_id, number: item?.number ?? 0 });
    this.dashed(box, css(color));
    if (item) this.drawHandles(box, color);
    const [x0, , , y1] = this.viewBox(box);
    this.chip(`${box[2] - box[0]} × ${box[3] - box[1]}`, [x0, y1 + 4], color, 1);
  }

  private dashed(box: Box, style: string): void {
    this.frameOf(box, "rgb(255 255 255 / 0.9)", 3);
    this.pen.setLineDash([6, 4]);
    this.frameOf(box, style, 2);
    this.pen.setLineDash([]);
  }

  private drawCursor(at: Point): void {
    const { tool, radius } = this.editor;
    if (tool === "brush" || tool === "eraser") this.drawBrush(at, radius, tool === "eraser");
    else if (tool === "box" && !this.editor.draft) this.drawCross(at);
  }

  private drawBrush([x, y]: Point, radius: number, isEraser: boolean): void {
    const { pen, scene } = this;
    pen.beginPath();
    pen.arc(x, y, Math.max(radius * scene.port.scale, 1.5), 0, 2 * Math.PI);
    pen.strokeStyle = "rgb(0 0 0 / 0.6)";
    pen.lineWidth = 3;
    pen.stroke();
    if (isEraser) pen.setLineDash([4, 3]);
    pen.strokeStyle = "#fff";
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.setLineDash([]);
  }

  /** Thin lines through the cursor, to line a box up with what it must enclose. */
  private drawCross([x, y]: Point): void {
    const { pen, scene } = this;
    const [px, py] = toImage(scene.port, [x, y]);
    const { width, height } = scene.bitmap ?? { width: 0, height: 0 };
    if (px < 0 || py < 0 || px >= width || py >= height) return;
    const [left, top] = toView(scene.port, [0, 0]);
    const [right, bottom] = toView(scene.port, [width, height]);
    for (const [style, shift] of [
      ["rgb(0 0 0 / 0.45)", 1],
      ["rgb(255 255 255 / 0.75)", 0],
    ] as const) {
      pen.fillStyle = style;
      pen.fillRect(left, Math.round(y) + shift, right - left, 1);
      pen.fillRect(Math.round(x) + shift, top, 1, bottom - top);
    }
  }

  private frameOf(box: Box, style: string, width: number): void {
    const [x0, y0, x1, y1] = this.viewBox(box);
    this.pen.strokeStyle = style;
    this.pen.lineWidth = width;
    this.pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }

  private viewBox([x0, y0, x1, y1]: Box): Box {
    const { port } = this.scene;
    return [...toView(port, [x0, y0]), ...toView(port, [x1, y1])];
  }

  /** All instances, the selected one last so that it lies on top. */
  private inOrder(): readonly Instance[] {
    const { instances, selected } = this.editor;
    if (!selected) return instances;
    return [...instances.filter((item) => item !== selected), selected];
  }
}

/** Draw in image pixels from here on; below twofold zoom smoothly, above it as sharp squares. */
function imageTransform(pen: Pen, { scale, x, y }: Viewport, ratio: number): void {
  pen.setTransform(scale * ratio, 0, 0, scale * ratio, x * ratio, y * ratio);
  pen.imageSmoothingEnabled = scale < 2;
}

function strokePath(pen: Pen, path: Path2D, style: string, width: number): void {
  pen.strokeStyle = style;
  pen.lineWidth = width;
  pen.stroke(path);
}

function penOf(canvas: HTMLCanvasElement): Pen {
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("this browser cannot draw on a canvas");
  return pen;
}

function fitCanvas(canvas: HTMLCanvasElement, size: Size, ratio: number): void {
  const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
  if (canvas.width === width && canvas.height === height) return;
  canvas.width = width;
  canvas.height = height;
}
