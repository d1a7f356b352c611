import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { repainted, strokesOf } from "../src/assist";
import { Editor } from "../src/editor";
import { PLAIN_HABITS } from "../src/habits";
import { Input } from "../src/input";
import { cropOf } from "../src/instance";
import { PLAIN_LOOK } from "../src/look";
import { radiusUnder } from "../src/pressure";
import { encode } from "../src/rle";
import type { Scene } from "../src/scene";
import type { Trail } from "../src/trail";
import { annotation, IMAGE } from "./masks";

const FACE = {
  focus: vi.fn(),
  setPointerCapture: vi.fn(),
  getBoundingClientRect: () => ({ left: 0, top: 0 }),
  style: { cursor: "" },
};

let page: EventTarget;
let canvas: EventTarget;
let editor: Editor;
let input: Input;
let pressure: boolean; // whether the pen's sets the brush's size

beforeEach(() => {
  pressure = false;
  page = new EventTarget();
  vi.stubGlobal("window", page);
  canvas = Object.assign(new EventTarget(), FACE);
  editor = new Editor(() => undefined);
  editor.open(IMAGE, [annotation()]);
  editor.select(1);
  editor.setTool("eraser");
  const scene: Scene = {
    image: {} as Scene["image"],
    port: { scale: 1, x: 0, y: 0 },
    size: { width: 200, height: 100 },
    placeholders: [],
    cursor: null,
    spot: null,
    look: { ...PLAIN_LOOK, map: false },
    categories: [],
    proposals: new Map(),
  };
  input = new Input({
    canvas: canvas as HTMLCanvasElement,
    editor,
    scene,
    trail: {} as unknown as Trail,
    setPort: vi.fn(),
    request: vi.fn(),
    propose: vi.fn(),
    changeBox: vi.fn(),
    say: vi.fn(),
    habits: () => ({ ...PLAIN_HABITS, pressure }),
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

function pointer(name: string, x: number, pointerType: string, buttons = 1, pressed = 0.5): void {
  const kind = { pointerId: 1, pointerType, pressure: pressed };
  const facts = { ...kind, clientX: x, clientY: 35, button: 0, buttons };
  const event = Object.assign(new Event(`pointer${name}`), facts);
  canvas.dispatchEvent(Object.assign(event, { getCoalescedEvents: () => [] }));
}

describe("what is held while the focus leaves", () => {
  it("the space bar counts as released", () => {
    input.isSpaceDown = true;
    page.dispatchEvent(new Event("blur"));
    expect(input.isSpaceDown).toBe(false);
  });

  it.each(["window", "canvas"])(
    "the keyboard's brush is lifted, and its stroke kept (%s)",
    (who) => {
      input.keyCursor.press("KeyJ");
      (who === "window" ? page : canvas).dispatchEvent(new Event("blur"));
      expect([editor.isStroking, editor.undoable]).toEqual([false, 1]);
    },
  );
});

describe("a stroke", () => {
  it.each([
    ["mouse", 1],
    ["pen", 1],
    ["touch", 0],
  ])("of the %s that the system takes away leaves %d steps", (pointerType, steps) => {
    pointer("down", 30, pointerType);
    pointer("move", 40, pointerType);
    pointer("cancel", 40, pointerType);
    expect([editor.isStroking, editor.undoable]).toEqual([false, steps]);
  });

  it("whose release nobody told of ends with the next move", () => {
    pointer("down", 30, "mouse");
    pointer("move", 40, "mouse");
    pointer("move", 50, "mouse", 0);
    expect([editor.isStroking, editor.undoable, input.isBusy]).toEqual([false, 1, false]);
  });

  it("of the keyboard is kept when the pointer begins one", () => {
    input.keyCursor.press("");
    pointer("down", 30, "mouse");
    pointer("up", 30, "mouse", 0);
    expect(editor.strokes).toBe(2);
  });
});

describe("a stroke of the pen", () => {
  function draw(pointerType: string): readonly number[] {
    editor.setRadius(10);
    pointer("down", 20, pointerType, 1, 0.05);
    for (const [x, pressed] of [
      [30, 0.05],
      [40, 0.3],
      [50, 0.3],
      [60, 1],
    ]) {
      pointer("move", x, pointerType, 1, pressed);
    }
    pointer("up", 60, pointerType, 0, 0);
    return strokesOf(editor.steps, 1).map(({ radius }) => radius);
  }

  it.each([
    ["pen", true, [1, 3, 10]],
    ["pen", false, [10]],
    ["mouse", true, [10]],
    ["touch", true, [10]],
  ] as const)("by %s with pressure %j has the radii %j", (pointerType, isOn, radii) => {
    pressure = isOn;
    expect(draw(pointerType)).toEqual(radii);
    expect(editor.undoable).toBe(1);
  });

  it("is the discs of its radii swept along its parts, in the model's eyes too", () => {
    pressure = true;
    draw("pen");
    const drawn = strokesOf(editor.steps, 1);
    expect(drawn.map(({ points }) => points.map(([x]) => x))).toEqual([
      [20, 30],
      [30, 40, 50],
      [50, 60],
    ]);
    const wanted = repainted(cropOf(annotation().rle), drawn, IMAGE);
    expect(editor.find(1)?.rle).toEqual(encode(wanted, IMAGE.height, IMAGE.width));
  });
});

it("the harder a pen is pressed, the larger the brush, never beyond its size nor below the least", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(share, share, fc.integer({ min: 1, max: 512 }), (a, b, twice) => {
      const radius = twice / 2;
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      expect(radiusUnder(low, radius)).toBeLessThanOrEqual(radiusUnder(high, radius));
      expect(radiusUnder(low, radius)).toBeGreaterThanOrEqual(0.5);
      expect(radiusUnder(1, radius)).toBe(radius);
    }),
  );
});
