import { beforeEach, describe, expect, it, vi } from "vitest";

import { Commands } from "../src/commands";
import type { Creations } from "../src/creations";
import { Editor } from "../src/editor";
import { PLAIN_HABITS } from "../src/habits";
import type { DeskPorts } from "../src/queuecommands";
import type { Input } from "../src/input";
import type { Scene } from "../src/scene";
import { Trail } from "../src/trail";
import type { Box, Change } from "../src/types";
import { annotation, IMAGE } from "./masks";

let editor: Editor;
let changes: Change[];
let reproposed: [number, Box][];
let said: string[];
let walked: unknown[];
let isReviewer: boolean;
let commands: Commands;

beforeEach(() => {
  [changes, reproposed, said, walked] = [[], [], [], []];
  editor = new Editor((event) => {
    if (event.kind === "edit") changes.push(event.change);
  });
  const creations = {} as unknown as Creations;
  isReviewer = false;
  const desk: DeskPorts = {
    ...{
      toggleReviewer: vi.fn(),
      toggleComments: vi.fn(),
      toggleFilter: vi.fn(),
      toggleBulk: vi.fn(),
    },
    go: (...step) => walked.push(step),
    isReviewer: () => isReviewer,
    obstacle: () => (editor.selected ? "" : "Select a mask first."),
    askBack: (id) => walked.push(id),
  };
  commands = new Commands({
    editor,
    scene: {} as Scene,
    input: { cancel: () => false, isBusy: false } as unknown as Input,
    trail: new Trail({ editor, creations, propose: vi.fn(), say: vi.fn() }),
    creations,
    nextImage: () => null,
    desk,
    findCategory: vi.fn(),
    habits: () => PLAIN_HABITS,
    setHabits: vi.fn(),
    setLook: vi.fn(),
    toggleMenu: vi.fn(),
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

describe("accepting and going on", () => {
  it("goes on from the mask that was accepted, whatever is selected then", () => {
    editor.open(IMAGE, [annotation(), annotation({ id: 2, number: 2 })]);
    editor.select(1);
    commands.run("accept.next");
    expect(changes.map(({ id, after }) => [id, after?.state])).toEqual([[1, "accepted"]]);
    expect([walked, editor.selectedId]).toEqual([[[1, "Mask 1 accepted. ", 1]], 1]);
  });

  it("stays where there is no mask yet, and asks for it", () => {
    editor.open(IMAGE, [annotation({ rle: null })]);
    editor.select(1);
    commands.run("accept.next");
    expect([reproposed.length, changes, walked]).toEqual([1, [], []]);
  });

  it("stays where no mask is selected", () => {
    editor.open(IMAGE, [annotation()]);
    commands.run("accept.next");
    expect([walked, said]).toEqual([[], ["Select a mask first."]]);
  });
});

describe("a reviewer", () => {
  beforeEach(() => {
    isReviewer = true;
    editor.open(IMAGE, [annotation({ state: "corrected" }), annotation({ id: 2, number: 2 })]);
  });

  it("accepts and goes on by Enter", () => {
    editor.select(1);
    commands.run("confirm");
    expect([changes[0].after?.state, walked]).toEqual(["accepted", [[1, "Mask 1 accepted. ", 1]]]);
  });

  it("is asked why a mask is sent back, and which", () => {
    commands.run("send.back");
    editor.select(1);
    commands.run("send.back");
    expect([said, walked, changes]).toEqual([["Select a mask first."], [1], []]);
  });
});
