import { beforeEach, describe, expect, it, vi } from "vitest";

import { Commands } from "../src/commands";
import type { Creations } from "../src/creations";
import { Editor } from "../src/editor";
import type { Input } from "../src/input";
import type { Scene } from "../src/scene";
import { Trail } from "../src/trail";
import type { Box, Change } from "../src/types";
import { annotation, IMAGE } from "./masks";

let editor: Editor;
let changes: Change[];
let reproposed: [number, Box][];
let said: string[];
let commands: Commands;

beforeEach(() => {
  [changes, reproposed, said] = [[], [], []];
  editor = new Editor((event) => {
    if (event.kind === "edit") changes.push(event.change);
  });
  const creations = {} as unknown as Creations;
  commands = new Commands({
    editor,
    scene: {} as Scene,
    input: { cancel: () => false } as unknown as Input,
    trail: new Trail({ editor, creations, propose: vi.fn(), say: vi.fn() }),
    creations,
    nextImage: () => null,
    findCategory: vi.fn(),
    setLook: vi.fn(),
    toggleMenu: vi.fn(),
    setPort: vi.fn(),
    propose: vi.fn(),
    repropose: (id, box) => reproposed.push([id, box]),
    changeBox: vi.fn(),
    stepImage: () => false,
    setCategory: vi.fn(),
    say: (text) => said.push(text),
    saySelected: vi.fn(),
    help: vi.fn(),
    compare: vi.fn(),
    giveUpBox: () => false,
  });
});

describe("a box that was imported without a mask", () => {
  it.each(["confirm", "accept"] as const)("gets one by %s, and is not accepted", (action) => {
    const item = annotation({ rle: null });
    editor.open(IMAGE, [item]);
    editor.select(1);
    commands.run(action);
    expect([reproposed, changes]).toEqual([[[1, item.box]], []]);
  });
});

describe("proposing anew on purpose", () => {
  beforeEach(() => {
    editor.open(IMAGE, [annotation({ state: "accepted" })]);
  });

  it("asks for the mask of the selected box", () => {
    editor.select(1);
    commands.run("repropose");
    expect(reproposed).toEqual([[1, annotation().box]]);
  });

  it("takes the box at hand, where there is one", () => {
    editor.select(1);
    editor.setDraft({ id: 1, box: [1, 2, 30, 40] });
    commands.run("repropose");
    expect([reproposed, editor.draft]).toEqual([[[1, [1, 2, 30, 40]]], null]);
  });

  it("needs a selected mask", () => {
    commands.run("repropose");
    expect([reproposed, said]).toEqual([[], ["Select a mask first."]]);
  });
});
