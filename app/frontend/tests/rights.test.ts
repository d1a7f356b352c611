import { beforeEach, describe, expect, it, vi } from "vitest";

import { merge } from "../src/acts";
import { Bulk, type BulkPorts } from "../src/bulk";
import type { Comments } from "../src/comments";
import { Editor } from "../src/editor";
import { TO_REVIEW } from "../src/queue";
import { Reviewing } from "../src/reviewing";
import type { Change, Right } from "../src/types";
import { may, type View } from "../src/view";
import type { Walk } from "../src/walk";
import { annotation, IMAGE } from "./masks";

const INSIDE = [20, 20] as const;

let changes: Change[];
let said: string[];
let editor: Editor;

function viewOf(...rights: Right[]): View {
  return { editor, project: { id: 1, person: "bob", rights } } as unknown as View;
}

beforeEach(() => {
  [changes, said] = [[], []];
  editor = new Editor((event) => {
    if (event.kind === "edit") changes.push(event.change);
  });
  editor.open(IMAGE, [
    annotation({ id: 1, number: 1, person: "ada", state: "proposed" }),
    annotation({ id: 2, number: 2, person: "bob", state: "corrected" }),
    annotation({ id: 3, number: 3, person: "ada", state: "accepted" }),
  ]);
  editor.person = "bob";
});

describe("an annotator", () => {
  it.each([1, 2])("changes proposals, and what is their own: mask %i", (id) => {
    editor.select(id);
    expect(editor.obstacle).toBe("");
    editor.accept();
    expect(changes.map((change) => change.after?.state)).toEqual(["accepted"]);
  });

  it("does nothing to what somebody else finished, and reads why", () => {
    editor.select(3);
    expect(editor.obstacle).toBe(
      "ada accepted mask 3: only a reviewer changes it. Comment instead.",
    );
    expect(editor.beginStroke(INSIDE, 1)).toBe(false);
    editor.reject();
    editor.setBox(3, [0, 0, 9, 9]);
    editor.setTool("select");
    editor.setCategory(7);
    expect([editor.remove(), changes, editor.undoable]).toEqual([false, [], 0]);
  });

  it("goes on with a proposal of somebody else's that they took up, before it is saved", () => {
    editor.select(1);
    editor.accept();
    expect(editor.find(1)).toMatchObject({ state: "accepted", person: "bob" });
    editor.select(1);
    editor.reject();
    expect(changes.map((change) => change.after?.state)).toEqual(["accepted", "rejected"]);
  });

  it("of several changes those that are free, and merges none with what is not", () => {
    editor.choose([1, 3]);
    expect(merge(editor)).toBe("Only a reviewer changes mask 3, which ada made.");
    editor.reject();
    expect(changes.map(({ id }) => id)).toEqual([1]);
  });
});

it("a reviewer changes everything", () => {
  editor.person = "";
  editor.select(3);
  editor.reject();
  expect(changes.map(({ id }) => id)).toEqual([3]);
});

describe("without the right to review", () => {
  it("many masks are not accepted at once: nothing is asked of the server", async () => {
    const server = { acceptable: vi.fn(), acceptAll: vi.fn(), undoAccept: vi.fn() };
    const ports = {
      drained: () => Promise.resolve(true),
      filter: () => TO_REVIEW,
      say: (text: string) => said.push(text),
      onChange: vi.fn(),
    } as unknown as BulkPorts;
    const bulk = new Bulk(viewOf("view", "annotate"), server, ports);
    await bulk.open();
    expect([bulk.isOpen, server.acceptable.mock.calls]).toEqual([false, []]);
    expect(said).toEqual(["Only a reviewer of this project accepts many masks at once."]);
  });

  it("nobody is a reviewer, whatever this browser remembers of another person", () => {
    vi.stubGlobal("localStorage", { getItem: () => "on", setItem: vi.fn(), removeItem: vi.fn() });
    const say = (text: string): void => void said.push(text);
    const walk = { queue: { mine: new Set() } } as unknown as Walk;
    const comments = {} as unknown as Comments;
    const make = (view: View): Reviewing => new Reviewing(view, comments, walk, say);
    expect(make(viewOf("view", "annotate", "review")).isOn).toBe(true);
    const reviewing = make(viewOf("view", "annotate"));
    reviewing.toggle();
    expect([reviewing.isOn, reviewing.filter.states]).toEqual([false, TO_REVIEW.states]);
    expect(said).toEqual(["Only a reviewer of this project judges what others did."]);
    vi.unstubAllGlobals();
  });
});

it("before a project is known nothing is offered", () => {
  expect(may({ project: null }, "view")).toBe(false);
});
