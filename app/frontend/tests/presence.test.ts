import { beforeEach, describe, expect, it } from "vitest";

import {
  type HereAnswer,
  type HereRequest,
  heldText,
  hereText,
  type Other,
  Presence,
} from "../src/presence";
import { Stopwatch } from "../src/stopwatch";

let sent: HereRequest[];
let answers: ((answer: HereAnswer | Error) => Promise<void>)[];
let turns: string[];
let news: [number, boolean][];
let beat: () => void;
let presence: Presence;

type Lease = NonNullable<HereAnswer["lease"]>;

function lease(part: Partial<Lease> = {}): HereAnswer {
  const mine = { person: "Ada", token: 1, is_mine: true, is_held: false };
  return { lease: { ...mine, ...part }, may_take: false, notice: "", here: [], newest_comment: 0 };
}

const BOBS = lease({ person: "Bob", token: 2, is_mine: false, is_held: true });
const LEFT = lease({ person: "Bob", token: 2, is_mine: false, is_held: false });

beforeEach(() => {
  [sent, answers, turns, news] = [[], [], [], []];
  presence = new Presence({
    send: (body) => {
      sent.push(body);
      return new Promise((resolve, reject) => {
        answers.push(async (answer) => {
          if (answer instanceof Error) reject(answer);
          else resolve(answer);
          for (let i = 0; i < 10; i++) await Promise.resolve();
        });
      });
    },
    every: (_, act) => {
      beat = act;
      return () => undefined;
    },
    onTurn: (heldBy) => turns.push(heldBy),
    onNews: (newest, isLooking) => news.push([newest, isLooking]),
    onChange: () => undefined,
  });
});

async function answer(one: HereAnswer | Error): Promise<void> {
  await answers.shift()?.(one);
}

async function opened(first: HereAnswer): Promise<void> {
  void presence.open(1, 7);
  await answer(first);
}

describe("an image that is opened", () => {
  it("is asked for, and its lease is told with what is saved", async () => {
    await opened(lease({ token: 3 }));
    expect(sent).toEqual([{ project_id: 1, image_id: 7, wish: "work", left: null }]);
    expect([presence.tokenOf(7), presence.tokenOf(8)]).toEqual([3, 0]);
    expect(turns).toEqual([]);
  });

  it("gives the one before back, and keeps its token for what is still to be saved", async () => {
    await opened(lease({ token: 3 }));
    void presence.open(1, 8);
    expect(sent[1]).toEqual({ project_id: 1, image_id: 8, wish: "work", left: 7 });
    expect(presence.tokenOf(7)).toBe(3);
  });

  it("is only looked at while somebody else works on it", async () => {
    await opened(BOBS);
    expect([presence.heldBy, presence.isFree, turns]).toEqual(["Bob", false, ["Bob"]]);
    expect(news).toEqual([[0, true]]);
    beat();
    expect(sent[1].wish).toBe("look");
  });

  it("is not taken by itself when it falls free: the person takes it", async () => {
    await opened(BOBS);
    beat();
    await answer(LEFT);
    expect([presence.heldBy, presence.isFree]).toEqual(["Bob", true]);
    void presence.take();
    expect(sent[2].wish).toBe("work");
    await answer(lease({ token: 3 }));
    expect([presence.heldBy, presence.tokenOf(7), turns]).toEqual(["", 3, ["Bob", ""]]);
  });

  it("is taken over from somebody at work where the person says so", async () => {
    await opened(BOBS);
    void presence.take();
    expect(sent[1].wish).toBe("take");
  });

  it("is lost to whoever takes it over", async () => {
    await opened(lease());
    beat();
    await answer(BOBS);
    expect([presence.heldBy, presence.tokenOf(7)]).toEqual(["Bob", 1]);
  });

  it("stays as it is when a sign of life gets lost", async () => {
    await opened(lease());
    beat();
    await answer(new Error("no network"));
    expect([presence.heldBy, presence.tokenOf(7), turns]).toEqual(["", 1, []]);
  });

  it("is left when the page goes away", async () => {
    await opened(lease());
    presence.leave();
    expect(sent[1]).toEqual({ project_id: 1, image_id: 7, wish: "leave", left: null });
  });

  it("is not confused by the late answer of the one before", async () => {
    void presence.open(1, 7);
    void presence.open(1, 8);
    const [first, second] = answers;
    await second(lease({ token: 5 }));
    await first(BOBS);
    expect([presence.heldBy, presence.tokenOf(8)]).toEqual(["", 5]);
  });
});

describe("words about others", () => {
  const named = (...names: string[]): Other[] =>
    names.map((person) => ({ person, image_id: 1, works: false }));

  it.each<[string[], string]>([
    [[], ""],
    [["Ada"], "Ada is here"],
    [["Ada", "Ada"], "Ada is here"],
    [["Ada", "Bob"], "Ada and Bob are here"],
    [["Ada", "Bob", "Cy", "Di"], "Ada, Bob and 2 more are here"],
    [[""], "Somebody is here"],
  ])("%j: %s", (names, text) => {
    expect(hereText(named(...names))).toBe(text);
  });

  it("say who has the image, and that they left", () => {
    expect(heldText({ heldBy: "", isFree: false, notice: "" })).toBe("");
    expect(heldText({ heldBy: "Bob", isFree: false, notice: "" })).toContain("Bob is working");
    expect(heldText({ heldBy: "Bob", isFree: true, notice: "" })).toContain("Bob has left");
    expect(heldText({ heldBy: "Bob", isFree: false, notice: "For Bob." })).toBe("For Bob.");
    expect(heldText({ heldBy: "", isFree: true, notice: "For Bob." })).toBe("");
  });

  it("only images that others work on are taken", async () => {
    const here = [
      { person: "Bob", image_id: 3, works: true },
      { person: "Cy", image_id: 4, works: false },
      { person: "Di", image_id: null, works: false },
    ];
    await opened({ ...lease(), here });
    expect([...presence.taken]).toEqual([3]);
  });
});

describe("a stopwatch", () => {
  it("adds what passes between acts, a pause at most a minute, and begins anew", () => {
    let now = 0;
    const watch = new Stopwatch(() => now);
    const at = (seconds: number): void => {
      now = seconds * 1000;
      watch.touch();
    };
    at(10);
    at(12.5);
    at(600);
    now = 601_000;
    expect(watch.lap()).toBe(2.5 + 60 + 1);
    now = 604_000;
    expect(watch.lap()).toBe(3);
  });
});
