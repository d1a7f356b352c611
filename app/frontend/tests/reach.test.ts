import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { bannerText } from "../src/banner";
import { Patience } from "../src/patience";
import { Reach } from "../src/reach";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a wait", () => {
  it("lasts as long as it says", async () => {
    let done = false;
    void new Patience().wait(2).then(() => (done = true));
    await vi.advanceTimersByTimeAsync(1999);
    expect(done).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(done).toBe(true);
  });

  it("ends at once when there is hurry, and no timer is left", async () => {
    const patience = new Patience();
    const waits = Promise.all([patience.wait(20), patience.wait(30)]);
    patience.hurry();
    await waits;
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a studio that does not answer", () => {
  function watched(answers: boolean[]): { reach: Reach; asked: number[]; log: string[] } {
    const [asked, log]: [number[], string[]] = [[], []];
    const begin = Date.now();
    const patience = new Patience();
    const hurry = vi.spyOn(patience, "hurry");
    hurry.mockImplementation(() => log.push("hurry"));
    const reach = new Reach({
      ask: () => {
        asked.push((Date.now() - begin) / 1000);
        reach.note(answers.shift() ?? true);
        return Promise.reject(new Error("whatever it says"));
      },
      patience,
      onChange: () => log.push(reach.isCutOff ? "cut off" : "back"),
    });
    return { reach, asked, log };
  }

  it("is asked until it does, less and less often, and then what waits goes out at once", async () => {
    const { reach, asked, log } = watched([false, false, false, false, false, true]);
    reach.note(false);
    reach.note(false);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(asked).toEqual([1, 3, 7, 15, 30, 45]);
    expect(log).toEqual(["cut off", "hurry", "back"]);
  });

  it("is not asked any more once anything else was answered", async () => {
    const { reach, asked } = watched([]);
    reach.note(false);
    await vi.advanceTimersByTimeAsync(500);
    reach.note(true);
    await vi.advanceTimersByTimeAsync(120_000);
    expect([asked.length <= 1, reach.isCutOff]).toEqual([true, false]);
  });
});

describe("the banner", () => {
  const name = (id: number): string => ["", "a.jpg", "b.jpg", "c.jpg", "d.jpg"][id];

  it.each([
    [[], "Nothing waits"],
    [[[1, { masks: 1, boxes: 0 }]], "Waiting here in your browser: 1 mask on a.jpg;"],
    [
      [
        [1, { masks: 2, boxes: 1 }],
        [2, { masks: 0, boxes: 2 }],
      ],
      "2 masks and 1 box on a.jpg, 2 boxes on b.jpg;",
    ],
    [[1, 2, 3, 4].map((id) => [id, { masks: 1, boxes: 0 }]), "1 mask on c.jpg and elsewhere;"],
  ])("says what waits and where: %#", (waiting, text) => {
    const map = new Map(waiting as [number, { masks: number; boxes: number }][]);
    expect(bannerText(map, name)).toContain(text);
  });
});
