import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { Images } from "../src/images";
import type { Transport } from "../src/transport";

const COUNTS = { proposed: 0, corrected: 0, accepted: 0, rejected: 0 };
const INFO = {
  id: 1,
  number: 1,
  file_name: "a",
  notice: "",
  assigned: [],
  counts: COUNTS,
  width: 4,
  height: 4,
};

let lists: number;
let images: Images;

beforeEach(() => {
  lists = 0;
  vi.stubGlobal("createImageBitmap", () => Promise.resolve({ width: 4, height: 4 }));
  images = new Images({
    image: () => Promise.resolve(new Blob()),
    annotations: () => {
      lists += 1;
      return Promise.resolve([]);
    },
  } as unknown as Transport);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

it("masks fetched ahead are used, and known to be old", async () => {
  void images.prefetch(INFO);
  expect([(await images.load(INFO)).isAhead, lists]).toEqual([true, 1]);
});

it("masks fetched ahead are fetched anew after a change", async () => {
  void images.prefetch(INFO);
  images.outdate(1);
  expect([(await images.load(INFO)).isAhead, lists]).toEqual([false, 2]);
});

it("masks that change while they are on their way are known to be old", async () => {
  const loading = images.load(INFO);
  images.outdate(1);
  expect((await loading).isAhead).toBe(true);
});
