import { beforeEach, expect, it } from "vitest";

import { Foresight } from "../src/foresight";
import type { Annotation } from "../src/types";
import { annotation } from "./masks";

let asked: { id: number; answer(more: boolean): Promise<void> }[];
let done: number[];
let wanted: number[];
let isAsked: boolean;
let looks: (() => void)[];
let foresight: Foresight;

async function settle(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}

function boxes(image_id: number, ...ids: number[]): readonly Annotation[] {
  return ids.map((id) => annotation({ id, image_id, rle: null }));
}

beforeEach(() => {
  [asked, done, wanted, looks, isAsked] = [[], [], [1], [], false];
  foresight = new Foresight({
    foresee: ({ id }) =>
      new Promise((resolve) => {
        const answer = (more: boolean): Promise<void> => {
          resolve(more);
          return settle();
        };
        asked.push({ id, answer });
      }),
    isAsked: () => isAsked,
    wait: () =>
      new Promise((resolve) => {
        looks.push(resolve);
      }),
    isWanted: (id) => wanted.includes(id),
    onDone: (id) => done.push(id),
  });
});

it("asks for boxes without a mask, one after the other", async () => {
  const has = annotation({ id: 3 });
  const refused = annotation({ id: 4, rle: null, state: "rejected" });
  void foresight.begin(1, [...boxes(1, 1, 2), has, refused]);
  expect(asked.map(({ id }) => id)).toEqual([1]);
  await asked[0].answer(true);
  expect([asked.map(({ id }) => id), done]).toEqual([[1, 2], []]);
  await asked[1].answer(true);
  expect([asked.length, done]).toEqual([2, [1]]);
});

it("waits while a person does", async () => {
  isAsked = true;
  void foresight.begin(1, boxes(1, 1));
  expect([asked.length, looks.length]).toEqual([0, 1]);
  looks[0]();
  await settle();
  expect([asked.length, looks.length]).toEqual([0, 2]);
  isAsked = false;
  looks[1]();
  await settle();
  expect(asked.length).toBe(1);
});

it("ends where there is no use in asking for more", async () => {
  void foresight.begin(1, boxes(1, 1, 2));
  await asked[0].answer(false);
  expect([asked.length, done]).toEqual([1, []]);
});

it("leaves an image nobody goes to, and takes up the next", async () => {
  void foresight.begin(1, boxes(1, 1, 2));
  void foresight.begin(5, boxes(5, 50));
  wanted = [5];
  await asked[0].answer(true);
  expect(asked.map(({ id }) => id)).toEqual([1, 50]);
  await asked[1].answer(true);
  expect(done).toEqual([5]);
});

it("finishes an image that was opened meanwhile before the next", async () => {
  wanted = [1, 5];
  void foresight.begin(1, boxes(1, 1, 2));
  void foresight.begin(5, boxes(5, 50));
  await asked[0].answer(true);
  await asked[1].answer(true);
  expect(asked.map(({ id }) => id)).toEqual([1, 2, 50]);
});

it("tells nothing of an image that had no bare box", async () => {
  await foresight.begin(1, [annotation()]);
  expect([asked, done]).toEqual([[], []]);
});
