import { afterEach, expect, it, vi } from "vitest";

import { Editor } from "../src/editor";
import { Input } from "../src/input";

import type { Scene } from "../src/scene";
import type { Trail } from "../src/trail";

afterEach(() => {
  vi.unstubAllGlobals();
});

it("the space bar counts as released once the window loses the focus", () => {
  const page = new EventTarget();
  vi.stubGlobal("window", page);
  const input = new Input({
    canvas: new EventTarget() as HTMLCanvasElement,
    editor: new Editor(() => undefined),
    scene: {} as Scene,
    trail: {} as unknown as Trail,
    setPort: vi.fn(),
    request: vi.fn(),
    propose: vi.fn(),
    changeBox: vi.fn(),
    say: vi.fn(),
  });
  input.isSpaceDown = true;
  page.dispatchEvent(new Event("blur"));
  expect(input.isSpaceDown).toBe(false);
});
