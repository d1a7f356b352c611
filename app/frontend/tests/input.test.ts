import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Editor } from "../src/editor";
import { Input } from "../src/input";
import { PLAIN_LOOK } from "../src/look";
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

beforeEach(() => {
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
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

function pointer(name: string, x: number, pointerType: string, buttons = 1): void {
  const facts = { pointerId: 1, clientX: x, clientY: 35, button: 0, buttons, pointerType };
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
