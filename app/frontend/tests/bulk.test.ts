import { beforeEach, describe, expect, it } from "vitest";

import { Bulk } from "../src/bulk";
import { Editor } from "../src/editor";
import { EVERYTHING, type Filter, TO_REVIEW } from "../src/queue";
import type { Candidate } from "../src/types";
import type { View } from "../src/view";
import { annotation, IMAGE } from "./masks";

interface Told {
  readonly text: string;
  readonly remedy: { act(): void } | undefined;
}

let asked: Filter[];
let acted: Filter[];
let undone: string[];
let told: Told[];
let renewed: number;
let failure: Error | null;
let isSaved: boolean;
let filter: Filter;
let editor: Editor;
let bulk: Bulk;

function mask(id: number, image_id: number, score: number): Candidate {
  return { id, image_id, number: id, score, box: [0, 0, 9, 9] };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

beforeEach(async () => {
  [asked, acted, undone, told, renewed] = [[], [], [], [], 0];
  [failure, isSaved, filter] = [null, true, TO_REVIEW];
  editor = new Editor(() => undefined);
  editor.open(
    IMAGE,
    [1, 2, 3].map((id) => annotation({ id, number: id })),
  );
  const answer = <T>(value: T): Promise<T> =>
    failure ? Promise.reject(failure) : Promise.resolve(value);
  const server = {
    acceptable: (_: number, wanted: Filter) => {
      asked.push(wanted);
      return answer([mask(1, 1, 0.7), mask(20, 2, 0.9), mask(2, 1, 0.95)]);
    },
    acceptAll: (_: number, wanted: Filter) => {
      acted.push(wanted);
      return answer({ act: `act ${acted.length}`, count: 2 });
    },
    undoAccept: (_: number, act: string) => {
      undone.push(act);
      return answer({ count: 2 });
    },
  };
  const view = { editor, project: { id: 1, rights: ["review"] } } as unknown as View;
  bulk = new Bulk(view, server, {
    ...{ now: () => "12:00", say: () => undefined, onChange: () => undefined },
    filter: () => filter,
    drained: () => Promise.resolve(isSaved),
    tell: (text, _, remedy) => told.push({ text, remedy }),
    renew: () => (renewed += 1),
  });
  await bulk.open();
});

describe("accepting all above a score", () => {
  it("shows which, and makes those of the open image stand out", () => {
    expect(bulk.masks.map(({ id }) => id)).toEqual([20, 2]);
    expect(editor.chosen.map(({ id }) => id)).toEqual([2]);
    bulk.setScore(0.7);
    expect(editor.chosen.map(({ id }) => id)).toEqual([1, 2]);
    bulk.setScore(0.99);
    expect([bulk.masks, editor.chosen]).toEqual([[], []]);
    expect(acted).toEqual([]);
  });

  it("keeps to the queue's filter, whatever state it asks for", async () => {
    bulk.close();
    filter = { ...EVERYTHING, states: ["corrected"], category_id: 4, low: 0.5 };
    await bulk.open();
    expect(asked.at(-1)).toEqual({ ...EVERYTHING, category_id: 4, low: 0.5 });
    await bulk.accept();
    expect(acted).toEqual([{ ...filter, low: 0.9 }]);
  });

  it("is one act with one undo", async () => {
    await bulk.accept();
    expect([bulk.isOpen, renewed, told.map(({ text }) => text)]).toEqual([
      false,
      1,
      ["2 masks accepted at 12:00: all from 90 % on."],
    ]);
    told[0].remedy?.act();
    await settle();
    expect([undone, renewed]).toEqual([["act 1"], 2]);
  });

  it("offers the undo again where it fails", async () => {
    await bulk.accept();
    failure = new Error("down");
    told[0].remedy?.act();
    await settle();
    failure = null;
    told[1].remedy?.act();
    await settle();
    expect([told[1].text, undone]).toEqual(["Not taken back: down", ["act 1", "act 1"]]);
  });

  it("waits for the last saves, and does nothing where they do not get through", async () => {
    isSaved = false;
    await bulk.accept();
    expect([acted, told[0].text]).toEqual([
      [],
      "Not accepted: some of your changes are not saved yet",
    ]);
  });

  it("is left without a trace", () => {
    bulk.close();
    expect([bulk.masks, editor.chosen, acted, renewed]).toEqual([[], [], [], 0]);
  });
});
