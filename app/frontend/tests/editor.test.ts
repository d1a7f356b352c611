import { beforeEach, describe, expect, it } from "vitest";

import type { EditorEvent } from "../src/choice";
import { Editor } from "../src/editor";
import { snapshotOf } from "../src/instance";
import { decode, encode, textToRuns } from "../src/rle";
import type { Annotation, Change, Snapshot, State } from "../src/types";
import { annotation, BLOB, IMAGE } from "./masks";
import { Random } from "./random";

const FIRST = annotation();

let changes: Change[];
let editor: Editor;

function listen(event: EditorEvent): void {
  if (event.kind === "edit") changes.push(event.change);
}

function open(...annotations: Annotation[]): void {
  editor.open(IMAGE, annotations);
  changes = [];
}

/** Everything a person can see of the masks. */
function seen(): Map<number, Snapshot> {
  return new Map(editor.instances.map((item) => [item.id, snapshotOf(item)]));
}

function stateOf(id: number): State | undefined {
  return editor.instances.find((item) => item.id === id)?.state;
}

beforeEach(() => {
  changes = [];
  editor = new Editor(listen);
  open(FIRST, annotation({ id: 2, number: 2 }), annotation({ id: 3, number: 3 }));
});

describe("an image that somebody else works on", () => {
  const acts: readonly [string, () => unknown][] = [
    [
      "accept",
      () => {
        editor.accept();
      },
    ],
    [
      "reject",
      () => {
        editor.reject();
      },
    ],
    ["delete", () => editor.remove()],
    ["stroke", () => editor.beginStroke([2, 2], 1)],
    [
      "box",
      () => {
        editor.setBox(1, [0, 0, 9, 9]);
      },
    ],
    ["undo", () => editor.undo()],
    ["redo", () => editor.redo()],
  ];

  it.each(acts)("is not changed by %s, and is again once it is free", (name, act) => {
    editor.select(1);
    editor.accept();
    editor.reject();
    editor.undo();
    editor.select(1);
    [changes] = [[]];
    editor.setHeld("Bob");
    act();
    expect([changes, editor.isStroking]).toEqual([[], false]);
    expect(editor.obstacle).toContain("Bob is working");
    editor.setHeld("");
    if (name === "accept") editor.undo(); // it is accepted already
    act();
    editor.endStroke();
    expect(changes.length).toBeGreaterThan(0);
  });
});

describe("undo", () => {
  const acts: Readonly<Record<string, (random: Random) => void>> = {
    accept: () => {
      editor.accept();
    },
    reject: () => {
      editor.reject();
    },
    remove: () => {
      editor.remove();
    },
    category: (random) => {
      editor.setTool("select");
      editor.setCategory(random.whole(1, 4));
    },
    stroke: (random) => {
      editor.setRadius(random.whole(1, 20));
      editor.beginStroke([random.whole(0, 110), random.whole(0, 80)], random.pick([0, 1]));
      editor.extendStroke([random.whole(0, 110), random.whole(0, 80)]);
      editor.endStroke();
    },
    propose: (random) => {
      const id = random.whole(1, 9);
      const isNew = editor.instances.every((item) => item.id !== id) && !used.has(id);
      used.add(id);
      const box = [1, 2, random.whole(5, 50), 60] as const;
      editor.propose(annotation({ id, number: id, version: 5, box }), isNew);
    },
  };
  const used = new Set<number>();

  function act(random: Random): void {
    const items = editor.instances;
    if (items.length > 0) editor.select(random.pick(items).id);
    acts[random.pick(Object.keys(acts))](random);
  }

  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    "takes every act back and does it again, in any order (seed %i)",
    (seed) => {
      const random = new Random(seed);
      used.clear();
      [1, 2, 3].forEach((id) => used.add(id));
      const pasts = [seen()];
      for (let i = 0; i < 12; i++) {
        const depth = editor.undoable;
        act(random);
        if (editor.undoable > depth) pasts.push(seen());
      }
      for (const past of pasts.slice(0, -1).reverse()) {
        expect(editor.undo()).toBe(true);
        expect(seen()).toEqual(past);
      }
      expect(editor.undo()).toBe(false);
      for (const past of pasts.slice(1)) {
        expect(editor.redo()).toBe(true);
        expect(seen()).toEqual(past);
      }
      expect(editor.redo()).toBe(false);
    },
  );

  it("saves what it brings back", () => {
    editor.select(1);
    editor.remove();
    editor.undo();
    expect(changes.map(({ after, reason }) => [after?.state ?? null, reason])).toEqual([
      [null, "delete"],
      ["proposed", "undo"],
    ]);
  });

  it("deletes a proposal, and redo brings it back", () => {
    editor.propose(annotation({ id: 7, number: 7 }), true);
    editor.undo();
    expect(stateOf(7)).toBeUndefined();
    expect(changes.at(-1)?.after).toBeNull();
    editor.redo();
    expect(stateOf(7)).toBe("proposed");
  });

  it("keeps a stack for each image, also for masks deleted before leaving", () => {
    editor.select(1);
    editor.remove();
    editor.open({ ...IMAGE, id: 9 }, []);
    expect(editor.undo()).toBe(false);
    editor.open(IMAGE, [annotation({ id: 2 })]);
    expect(editor.undo()).toBe(true);
    expect(stateOf(1)).toBe("proposed");
  });

  it("forgets what was undone once something new is done", () => {
    editor.select(1);
    editor.accept();
    editor.undo();
    editor.select(2);
    editor.reject();
    expect(editor.redo()).toBe(false);
  });
});

describe("review", () => {
  it("goes on to the next proposed mask after an answer", () => {
    open(
      FIRST,
      annotation({ id: 2, number: 2, state: "accepted" }),
      annotation({ id: 3, number: 3 }),
    );
    editor.select(1);
    editor.accept();
    expect(editor.selectedId).toBe(3);
    editor.reject();
    expect(editor.selectedId).toBe(3);
  });

  it("saves an answer once", () => {
    open(FIRST);
    editor.select(1);
    editor.accept();
    editor.accept();
    expect(changes).toHaveLength(1);
    expect(changes[0]).toMatchObject({ id: 1, reason: "accept", after: { state: "accepted" } });
  });

  it("goes round and round by number", () => {
    editor.step(1);
    editor.step(1);
    editor.step(1);
    editor.step(1);
    expect(editor.selectedId).toBe(1);
    editor.step(-1);
    expect(editor.selectedId).toBe(3);
  });

  it("picks the smallest of the masks under the pointer", () => {
    const { width, height } = IMAGE;
    const everything = new Uint8Array(width * height).fill(1);
    const rle = encode({ x: 0, y: 0, w: width, h: height, data: everything }, height, width);
    open(annotation({ id: 5, number: 5, rle }), FIRST, annotation({ id: 6, number: 6, rle }));
    const crop = decode(BLOB);
    const at = crop.data.indexOf(1);
    const point = [crop.x + (at % crop.w) + 0.5, crop.y + Math.floor(at / crop.w) + 0.5] as const;
    expect(editor.at(point)?.id).toBe(1);
    expect(editor.at([-1, -1])).toBeNull();
  });
});

describe("strokes", () => {
  beforeEach(() => {
    open(FIRST);
    editor.setRadius(4);
  });

  it("need a selected mask", () => {
    expect(editor.beginStroke([5, 5], 1)).toBe(false);
  });

  it("make a correction, also of an accepted mask", () => {
    open(annotation({ state: "accepted" }));
    editor.select(1);
    editor.beginStroke([2, 2], 1);
    editor.endStroke();
    expect(changes).toHaveLength(1);
    expect(changes[0]).toMatchObject({ reason: "brush", after: { state: "corrected" } });
  });

  it("that change no pixel change nothing", () => {
    editor.select(1);
    editor.beginStroke([-50, -50], 0);
    editor.endStroke();
    expect(changes).toHaveLength(0);
    expect(editor.undoable).toBe(0);
  });

  it("leave no trace when they are cancelled", () => {
    const before = seen();
    const pixels = editor.instances[0].rle;
    editor.select(1);
    editor.beginStroke([2, 2], 1);
    editor.extendStroke([60, 60]);
    editor.cancelStroke();
    expect(seen()).toEqual(before);
    expect(editor.instances[0].rle).toEqual(pixels);
    expect(changes).toHaveLength(0);
  });

  it("may empty a mask", () => {
    editor.select(1);
    editor.setRadius(200);
    editor.beginStroke([50, 50], 0);
    editor.endStroke();
    expect(textToRuns(editor.instances[0].rle?.counts ?? "")).toEqual([IMAGE.width * IMAGE.height]);
  });
});

describe("an instance without a mask", () => {
  it("cannot be accepted", () => {
    open(annotation({ rle: null }));
    editor.select(1);
    editor.accept();
    expect([changes, stateOf(1)]).toEqual([[], "proposed"]);
  });
});

describe("a new box", () => {
  it("leaves mask and state alone, and can be undone", () => {
    open(annotation({ state: "accepted" }));
    editor.setBox(1, [0, 0, 5, 5]);
    const after = { state: "accepted", box: [0, 0, 5, 5], rle: BLOB };
    expect(changes).toMatchObject([{ reason: "box", after }]);
    editor.undo();
    expect(editor.instances[0].box).toEqual(FIRST.box);
  });

  it("that is the old one changes nothing", () => {
    editor.setBox(1, [...FIRST.box]);
    expect(changes).toEqual([]);
  });
});

describe("the server's word", () => {
  it("replaces a mask when somebody else saved first", () => {
    editor.receive(annotation({ id: 2, number: 2, version: 8, state: "accepted" }));
    expect(stateOf(2)).toBe("accepted");
    editor.receive(annotation({ id: 2, number: 2, version: 9, state: "deleted" }));
    expect(stateOf(2)).toBeUndefined();
  });

  it("of another image is ignored", () => {
    editor.receive(annotation({ id: 44, image_id: 2 }));
    expect(stateOf(44)).toBeUndefined();
  });

  it("acknowledges without touching newer work", () => {
    editor.select(1);
    editor.reject();
    editor.acknowledge(annotation({ version: 6, state: "proposed" }));
    expect(stateOf(1)).toBe("rejected");
    expect(editor.instances[0].version).toBe(6);
  });
});

describe("categories", () => {
  it("of the next box leave the selected mask alone while boxes are drawn", () => {
    editor.select(1);
    editor.setTool("box");
    editor.setCategory(2);
    expect([editor.categoryId, changes.length]).toEqual([2, 0]);
  });

  it("change the selected mask with any other tool", () => {
    editor.select(1);
    editor.setTool("brush");
    editor.setCategory(2);
    expect(changes[0]).toMatchObject({ reason: "category", after: { category_id: 2 } });
  });
});
