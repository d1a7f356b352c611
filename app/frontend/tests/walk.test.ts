import { beforeEach, expect, it } from "vitest";

import { Editor } from "../src/editor";
import { EVERYTHING, type Filter, type Stop } from "../src/queue";
import { revealed } from "../src/reveal";
import type { QueueAnswer } from "../src/transport";
import type { ImageInfo, Project } from "../src/types";
import type { View } from "../src/view";
import type { Viewport } from "../src/viewport";
import { Walk } from "../src/walk";
import { annotation, IMAGE } from "./masks";

const COUNTS = { proposed: 0, corrected: 0, accepted: 0, rejected: 0 };
const PROJECT: Project = {
  ...{ id: 1, name: "p", studio: "s", person: "ada", rights: [], model: { id: 1, name: "m" } },
  categories: [{ id: 1, number: 1, name: "cup", color: "#fff" }],
  images: [1, 2, 3].map((id) => info(id)),
};

let editor: Editor;
let walk: Walk;
let answers: ((stops: readonly Stop[]) => Promise<void>)[];
let asked: Filter[];
let [opened, said, told]: [number[], string[], string[]] = [[], [], []];
let shown: ImageInfo;

function info(id: number): ImageInfo {
  return {
    ...IMAGE,
    id,
    number: id,
    file_name: `${id}.png`,
    notice: "",
    counts: COUNTS,
    assigned: [],
  };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

/** Show an image with these masks, as the studio does when its pixels are here. */
function show(imageId: number, ...ids: number[]): void {
  shown = info(imageId);
  const masks = ids.map((id) => annotation({ id, image_id: imageId, number: id }));
  editor.open(shown, masks);
  walk.onLoaded();
}

beforeEach(async () => {
  [answers, asked, opened, said, told] = [[], [], [], [], []];
  editor = new Editor(() => undefined);
  shown = info(1);
  const view = {
    editor,
    scene: { port: { scale: 1, x: 0, y: 0 }, size: { width: 400, height: 400 } },
    project: PROJECT,
    get info() {
      return shown;
    },
  } as unknown as View;
  const server = {
    queue: (_: number, wanted: Filter) => {
      asked.push(wanted);
      return new Promise<QueueAnswer>((resolve) => {
        answers.push((images) => {
          resolve({ images, people: [], models: [], finding: "Tiny masks" });
          return settle();
        });
      });
    },
  };
  walk = new Walk(view, server, {
    open: (id) => {
      editor.close();
      opened.push(id);
      return Promise.resolve();
    },
    setPort: () => undefined,
    say: (text) => said.push(text),
    tell: (text) => told.push(text),
    onChange: () => undefined,
  });
  walk.onProject(PROJECT);
  show(1, 10, 11);
  await answers[0]([
    { id: 1, instances: [11, 10] },
    { id: 3, instances: [30] },
  ]);
});

it("goes through an image in the queue's order, then opens the queue's next image", () => {
  walk.go(1);
  walk.go(1);
  expect([editor.selectedId, opened]).toEqual([10, []]);
  walk.go(1);
  expect(opened).toEqual([3]);
  show(3, 30);
  expect(editor.selectedId).toBe(30);
  expect(said.at(-1)).toBe("3 left. Mask 30, cup, 90 %, proposed");
});

it("counts on where an image is still on its way", () => {
  editor.select(10);
  walk.go(1);
  walk.go(1, "Again. ");
  expect(opened).toEqual([3, 1]);
  show(1, 10, 11);
  expect([editor.selectedId, said.at(-1)?.slice(0, 19)]).toEqual([11, "Again. Round again."]);
});

it("forgets where it was going when the person opens another image", () => {
  editor.select(10);
  walk.go(1);
  show(2, 20);
  expect(editor.selectedId).toBeNull();
});

it("goes on from a mask that was just accepted", () => {
  editor.select(11);
  editor.accept();
  walk.go(1, "Mask 11 accepted. ", 11);
  expect([editor.selectedId, said.at(-1)]).toEqual([
    10,
    "Mask 11 accepted. 2 left. Mask 10, cup, 90 %, proposed",
  ]);
});

it("reads the queue again after a round, and says when nothing is left", async () => {
  walk.go(-1);
  expect([asked.length, opened]).toEqual([2, [3]]);
  show(1);
  await answers[1]([]);
  walk.go(1);
  expect(said.at(-1)).toBe("Nothing left to review.");
});

it("leads through the person's own images first, and then through all", async () => {
  const done = [1, 2, 3].map((id) => ({
    ...info(id),
    assigned: id === 2 ? [{ person: "ada", is_done: true }] : [],
  }));
  const left = done.map((one) => ({
    ...one,
    assigned: one.assigned.map((whose) => ({ ...whose, is_done: false })),
  }));
  walk.onProject({ ...PROJECT, id: 2, images: left });
  expect(asked.at(-1)).toMatchObject({ states: ["proposed"], mine: true });
  await answers[1]([{ id: 2, instances: [20] }]);
  show(3, 30); // a mask on an image that is not theirs does not come to the queue
  expect(walk.queue.left).toEqual({ masks: 1, images: 1 });
  walk.onProject({ ...PROJECT, id: 2, images: done });
  expect(asked.at(-1)).toMatchObject({ mine: null });
});

it("begins a finding at its first mask, wherever that is, and knows its title", async () => {
  void walk.begin({ finding: "tiny" });
  expect(asked.at(-1)).toEqual({ ...EVERYTHING, finding: "tiny" });
  await answers[1]([
    { id: 3, instances: [30, 31] },
    { id: 1, instances: [10] },
  ]);
  expect([opened, walk.finding]).toEqual([[3], "Tiny masks"]);
  show(3, 29, 30, 31);
  expect(editor.selectedId).toBe(30);
  walk.go(1);
  expect(editor.selectedId).toBe(31);
  walk.go(1);
  expect(opened).toEqual([3, 1]);
});

it("stays where it is when nothing is of the finding", async () => {
  editor.select(10);
  void walk.begin({ finding: "tiny" });
  await answers[1]([]);
  expect([editor.selectedId, opened]).toEqual([10, []]);
  expect(said.at(-1)).toBe("No mask passes this filter.");
});

it("drops the answer to a filter that was changed meanwhile", async () => {
  walk.setFilter(EVERYTHING);
  walk.setFilter({ ...EVERYTHING, category_id: 2 });
  await answers[2]([]);
  await answers[1]([{ id: 2, instances: [20, 21] }]);
  expect(walk.queue.left.masks).toBe(0);
});

it("looks ahead to the queue's next image, or to the project's where there is none", async () => {
  expect(walk.ahead?.id).toBe(3);
  walk.setFilter({ category_id: 9 });
  await answers[1]([]);
  expect(walk.ahead?.id).toBe(2);
});

it.each<[string, Viewport, Viewport]>([
  ["stays where the box is in sight", { scale: 1, x: 0, y: 0 }, { scale: 1, x: 0, y: 0 }],
  [
    "puts a box out of sight at the centre",
    { scale: 2, x: 0, y: 0 },
    { scale: 2, x: -110, y: -110 },
  ],
  [
    "shows all where the box is too large",
    { scale: 20, x: 0, y: 0 },
    { scale: 1.68, x: 16, y: 16 },
  ],
])("the view %s", (_, before, after) => {
  const port = revealed(before, [80, 80, 130, 130], { width: 100, height: 100 }, VIEW);
  expect(port.scale).toBeCloseTo(after.scale);
  expect([port.x, port.y]).toEqual([expect.closeTo(after.x, 0), expect.closeTo(after.y, 0)]);
});
const VIEW = { width: 200, height: 200 };
