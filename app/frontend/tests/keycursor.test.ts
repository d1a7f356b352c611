import fc from "fast-check";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { Editor } from "../src/editor";
import { KeyCursor, moved, stepOf } from "../src/keycursor";
import { repainted } from "../src/assist";
import { PLAIN_LOOK } from "../src/look";
import { cropOf } from "../src/instance";
import { encode } from "../src/rle";
import type { Scene } from "../src/scene";
import { Trail } from "../src/trail";
import { Travel } from "../src/travel";
import type { Point, Tool } from "../src/types";
import { toView, type Viewport } from "../src/viewport";
import { annotation, BLOB, IMAGE } from "./masks";

const PLAIN = { altKey: false, shiftKey: false, ctrlKey: false, metaKey: false };
const VIEW = { width: 120, height: 90 };

let editor: Editor;
let scene: Scene;
let trail: Trail;
let cursor: KeyCursor;
let said: string[];

function press(key: string, modifiers: Partial<typeof PLAIN> = {}): boolean {
  return cursor.arrow({ ...PLAIN, ...modifiers, key });
}

function open(tool: Tool, selected: number | null = 1): void {
  editor.open(IMAGE, [annotation()]);
  editor.select(selected);
  editor.setTool(tool);
  editor.setRadius(3);
}

beforeEach(() => {
  said = [];
  editor = new Editor(() => undefined);
  const parts = { image: null, port: { scale: 1, x: 0, y: 0 }, size: VIEW, look: PLAIN_LOOK };
  scene = {
    ...parts,
    placeholders: [],
    cursor: null,
    spot: null,
    categories: [],
    proposals: new Map(),
  };
  const say = (text: string): void => {
    said.push(text);
  };
  const creations = { add: vi.fn(), split: vi.fn() };
  trail = new Trail({ editor, creations, propose: vi.fn(), say });
  const setPort = (port: Viewport): void => {
    scene.port = port;
  };
  const travel = new Travel({ editor, scene, setPort });
  cursor = new KeyCursor({ editor, scene, trail, request: vi.fn(), say }, travel);
});

describe("a move of the cursor", () => {
  const side = fc.integer({ min: 1, max: 5000 });
  const step = fc.integer({ min: -6000, max: 6000 });

  it("ends at the centre of a pixel of the image", () => {
    const at = fc.double({ min: -10, max: 6000, noNaN: true });
    fc.assert(
      fc.property(at, at, step, step, side, side, (x, y, dx, dy, width, height) => {
        const [px, py] = moved([x, y], [dx, dy], { width, height });
        expect([px % 1, py % 1]).toEqual([0.5, 0.5]);
        expect(px > 0 && px < width && py > 0 && py < height).toBe(true);
      }),
    );
  });

  it("is undone by its opposite where no border stops it", () => {
    fc.assert(
      fc.property(step, step, (dx, dy) => {
        const image = { width: 20_000, height: 20_000 };
        const from: Point = [9000.5, 9000.5];
        expect(moved(moved(from, [dx, dy], image), [-dx, -dy], image)).toEqual(from);
      }),
    );
  });

  it.each([
    ["brush", {}, 3],
    ["eraser", { shiftKey: true }, 12],
    ["brush", { altKey: true }, 1],
    ["polygon", {}, 4],
    ["polygon", { shiftKey: true }, 16],
    ["split", { altKey: true }, 1],
  ] as const)("with the %s and %j goes %d pixels at twofold zoom", (tool, modifiers, pixels) => {
    open(tool);
    expect(stepOf(editor, 2, { ...PLAIN, ...modifiers, key: "ArrowUp" })).toBe(pixels);
  });

  it("is never less than a pixel, however small the brush or high the zoom", () => {
    open("brush");
    editor.setRadius(0.5);
    expect(stepOf(editor, 1, { ...PLAIN, key: "ArrowUp" })).toBe(1);
    editor.setTool("polygon");
    expect(stepOf(editor, 64, { ...PLAIN, key: "ArrowUp" })).toBe(1);
  });
});

describe("the cursor", () => {
  it("begins on the selected mask, and in the middle of the view without one", () => {
    open("brush");
    press("ArrowRight");
    expect(scene.spot).toEqual([38.5, 35.5]);
    editor.open({ ...IMAGE, id: 2 }, []);
    press("ArrowRight");
    expect(scene.spot).toEqual([63.5, Math.min(45, IMAGE.height - 1) + 0.5]);
  });

  it("stays in sight: the view follows", () => {
    open("brush");
    scene.port = { scale: 8, x: 0, y: 0 };
    for (let i = 0; i < 60; i++) {
      press(i % 2 === 0 ? "ArrowRight" : "ArrowDown");
      const [x, y] = toView(scene.port, scene.spot ?? [-1, -1]);
      expect(x >= 0 && x <= VIEW.width && y >= 0 && y <= VIEW.height).toBe(true);
    }
  });

  it.each(["box", "select"] as const)("leaves the arrows to others with the tool %s", (tool) => {
    open(tool);
    expect([press("ArrowRight"), scene.spot]).toEqual([false, null]);
  });

  it("is for arrows alone, and not with Ctrl", () => {
    open("brush");
    expect([press("a"), press("ArrowUp", { ctrlKey: true }), press("ArrowUp")]).toEqual([
      ...[false, false, true],
    ]);
  });

  it("pans the view where that is the tool", () => {
    open("pan");
    scene.port = { scale: 4, x: -100, y: -100 };
    press("ArrowRight");
    press("ArrowDown", { altKey: true });
    expect([scene.port, scene.spot]).toEqual([{ scale: 4, x: -160, y: -101 }, null]);
  });
});

describe("a press", () => {
  const path = ["ArrowRight", "ArrowRight", "ArrowUp", "ArrowUp", "ArrowUp"]; // out of the mask

  it.each(["brush", "eraser"] as const)("with the %s draws the stroke of its path", (tool) => {
    open(tool);
    const points: Point[] = [[35.5, 35.5]];
    cursor.press("KeyJ");
    for (const key of path) {
      press(key, { shiftKey: true });
      if (scene.spot) points.push(scene.spot);
    }
    cursor.keyUp("KeyJ");
    const stroke = { adds: tool === "brush", radius: 3, points };
    const mask = repainted(cropOf(BLOB), [stroke], IMAGE);
    const wanted = encode(mask, IMAGE.height, IMAGE.width);
    expect(editor.find(1)).toMatchObject({ rle: wanted, state: "corrected" });
    expect(editor.undoable).toBe(1);
  });

  it("goes on after the release of another key, and ends with its own", () => {
    open("brush");
    cursor.press("KeyJ");
    expect([cursor.keyUp("ArrowRight"), editor.isStroking]).toEqual([false, true]);
    expect([cursor.keyUp("KeyJ"), editor.isStroking]).toEqual([true, false]);
  });

  it("that is switched on ends when it is pressed again, and by no release", () => {
    open("eraser");
    cursor.press("");
    cursor.keyUp("KeyJ");
    cursor.keyUp("");
    expect(editor.isStroking).toBe(true);
    cursor.press("");
    expect([editor.isStroking, editor.undoable]).toEqual([false, 1]);
  });

  it.each([
    [
      "the pointer comes back",
      (): void => {
        cursor.leave();
      },
    ],
    [
      "the focus leaves",
      (): void => {
        cursor.release();
      },
    ],
  ])("keeps what was drawn when %s", (_, leave) => {
    open("eraser");
    cursor.press("KeyJ");
    press("ArrowRight");
    leave();
    expect([editor.isStroking, editor.undoable]).toEqual([false, 1]);
  });

  it("that is cancelled leaves the mask as it was", () => {
    open("eraser");
    cursor.press("KeyJ");
    press("ArrowRight");
    expect([cursor.cancel(), cursor.cancel()]).toEqual([true, false]);
    expect([editor.find(1)?.rle, editor.undoable]).toEqual([BLOB, 0]);
  });

  it("sets a point of a polygon", () => {
    open("polygon");
    cursor.press("KeyJ");
    press("ArrowRight");
    cursor.press("KeyJ");
    expect(editor.trail).toEqual([
      [35.5, 35.5],
      [43.5, 35.5],
    ]);
  });

  it.each([
    ["brush", null, "Select a mask first."],
    ["box", 1, "Take the brush, the eraser, a polygon, points or the knife first."],
  ] as const)("with the tool %s and mask %j selected says what is missing", (tool, id, text) => {
    open(tool, id);
    cursor.press("KeyJ");
    expect([said.at(-1), editor.isStroking]).toEqual([text, false]);
  });
});
