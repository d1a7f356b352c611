import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Gallery } from "../src/gallery";
import type { Transport } from "../src/transport";
import type { ImageInfo, Project } from "../src/types";
import { nextImage } from "../src/view";

const COUNTS = { proposed: 0, corrected: 0, accepted: 0, rejected: 0 };

let fetched: { answer(project: Project): Promise<void>; fail(): Promise<void> }[];
let log: string[];
let gallery: Gallery;

async function settle(): Promise<void> {
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

function project(id: number, images: number, categories: string[] = []): Project {
  return {
    id,
    name: "p",
    studio: "s",
    person: "ada",
    rights: [],
    model: { id: 1, name: "m" },
    categories: categories.map((name, at) => ({ id: at + 1, number: at + 1, name, color: "#fff" })),
    images: Array.from({ length: images }, (_, at) => info(at + 1)),
  };
}

function info(id: number): ImageInfo {
  const size = { width: 4, height: 4 };
  return {
    id,
    number: id,
    file_name: `${id}.png`,
    notice: "",
    counts: COUNTS,
    assigned: [],
    ...size,
  };
}

beforeEach(() => {
  [fetched, log] = [[], []];
  vi.stubGlobal("createImageBitmap", () =>
    Promise.resolve({ width: 4, height: 4, close: () => undefined }),
  );
  const transport = {
    project: () =>
      new Promise((resolve, reject) => {
        fetched.push({
          answer: (one) => {
            resolve(one);
            return settle();
          },
          fail: () => {
            reject(new Error("down"));
            return settle();
          },
        });
      }),
    image: () => Promise.resolve(new Blob()),
    annotations: () => Promise.resolve([]),
  } as unknown as Transport;
  const note = (name: string) => () => {
    log.push(name);
  };
  gallery = new Gallery(transport, {
    onLeave: note("leave"),
    onProject: note("project"),
    ahead: () => nextImage({ project: gallery.project, info: gallery.info }),
    onAhead: () => undefined,
    onChosen: note("chosen"),
    onLoaded: note("loaded"),
    onEmpty: note("empty"),
    onFailed: note("failed"),
    onRefreshed: note("refreshed"),
    onNotRefreshed: note("not refreshed"),
    prepare: () => Promise.resolve(),
    recall: () => Promise.resolve(null),
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Open a project of so many images, and forget what that called. */
async function open(images: number): Promise<void> {
  void gallery.openProject(1);
  await fetched[0].answer(project(1, images));
  log = [];
}

describe("asking for the project that is open", () => {
  it("reads it again without leaving the image", async () => {
    await open(2);
    void gallery.openProject(1);
    await settle();
    await fetched[1].answer(project(1, 3, ["cat"]));
    expect(log).toEqual(["project", "refreshed"]);
    expect([gallery.info?.id, gallery.project?.images.length]).toEqual([1, 3]);
  });

  it("waits for the first reading where it is still on its way", async () => {
    void gallery.openProject(1);
    void gallery.openProject(1);
    await fetched[0].answer(project(1, 2));
    await fetched[1].answer(project(1, 3));
    expect(log).toEqual(["leave", "project", "chosen", "loaded", "project", "refreshed"]);
  });

  it("keeps everything where the server does not answer", async () => {
    await open(2);
    void gallery.openProject(1);
    await settle();
    await fetched[1].fail();
    expect([log, gallery.info?.id]).toEqual([["not refreshed"], 1]);
  });

  it("opens the first image once there is one", async () => {
    await open(0);
    void gallery.openProject(1);
    await settle();
    await fetched[1].answer(project(1, 1));
    expect(log).toEqual(["project", "leave", "chosen", "loaded"]);
  });

  it("tries anew where the first reading failed", async () => {
    void gallery.openProject(1);
    await fetched[0].fail();
    void gallery.openProject(1);
    await settle();
    await fetched[1].answer(project(1, 1));
    expect(log).toEqual(["leave", "failed", "leave", "project", "chosen", "loaded"]);
  });

  it("takes the new counts", async () => {
    await open(1);
    gallery.setCounts(1, { ...COUNTS, proposed: 1 });
    void gallery.openProject(1);
    await settle();
    await fetched[1].answer(project(1, 1));
    expect(gallery.countsOf(info(1)).proposed).toBe(0);
  });

  it("does not forget a category that was added meanwhile", async () => {
    await open(1);
    void gallery.openProject(1);
    await settle();
    gallery.addCategory({ id: 5, number: 5, name: "dog", color: "#fff" });
    await fetched[1].answer(project(1, 1));
    expect(gallery.project?.categories.map(({ name }) => name)).toEqual(["dog"]);
    await fetched[2].answer(project(1, 1, ["cat", "dog"]));
    expect(gallery.project?.categories.map(({ name }) => name)).toEqual(["cat", "dog"]);
  });

  it("is ignored once another project was chosen", async () => {
    await open(1);
    void gallery.openProject(1);
    await settle();
    void gallery.openProject(2);
    await fetched[1].answer(project(1, 3));
    await fetched[2].answer(project(2, 1));
    expect(gallery.project?.id).toBe(2);
  });
});
