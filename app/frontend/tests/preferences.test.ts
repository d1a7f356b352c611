import { beforeEach, describe, expect, it, vi } from "vitest";

import { Preferences } from "../src/preferences";
import { ApiError, NetworkError } from "../src/transport";

type Parts = Record<string, unknown>;

/** A server that can be cut off, refuse, and let us look at what it keeps. */
class Server {
  kept: Parts = {};
  failure: Error | null = null;
  writes = 0;

  read = (): Promise<Parts> => this.answer(() => this.kept);

  write = (parts: Parts): Promise<void> =>
    this.answer(() => {
      this.kept = structuredClone(parts);
      this.writes += 1;
    });

  private answer<T>(act: () => T): Promise<T> {
    return this.failure ? Promise.reject(this.failure) : Promise.resolve(act());
  }
}

let server: Server;
let store: Map<string, string>;
let told: string[];
let waiting: (() => void)[];

function page(): Preferences {
  return new Preferences({
    read: server.read,
    write: server.write,
    wait: () => new Promise((resolve) => waiting.push(resolve)),
    store: {
      getItem: (key) => store.get(key) ?? null,
      setItem: (key, value) => void store.set(key, value),
    },
    onChange: vi.fn(),
    tell: (text) => told.push(text),
  });
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

beforeEach(() => {
  [server, store] = [new Server(), new Map<string, string>()];
  [told, waiting] = [[], []];
});

describe("preferences", () => {
  it("count at once, and on every later page and browser of the person", async () => {
    const first = page();
    await first.open("lab/ada");
    first.set("habits", { pressure: true });
    expect(first.get("habits")).toEqual({ pressure: true });
    await settle();
    store.clear(); // another browser
    const second = page();
    await second.open("lab/ada");
    expect(second.get("habits")).toEqual({ pressure: true });
  });

  it("leave parts alone that others wrote meanwhile", async () => {
    const one = page();
    await one.open("lab/ada");
    server.kept = { filter: "flagged", habits: 1 };
    one.set("habits", 2);
    await settle();
    expect(server.kept).toEqual({ filter: "flagged", habits: 2 });
    expect(one.get("filter")).toBe("flagged");
  });

  it("set while the network is gone are sent when it is back, the newest once", async () => {
    const one = page();
    await one.open("lab/ada");
    server.failure = new NetworkError("gone");
    one.set("habits", 1);
    one.set("habits", 2);
    await settle();
    expect([server.writes, waiting.length]).toEqual([0, 1]);
    server.failure = null;
    waiting[0]();
    await settle();
    expect([server.kept, server.writes, told]).toEqual([{ habits: 2 }, 1, []]);
  });

  it("unsent by one page are applied and sent by the next", async () => {
    const one = page();
    await one.open("lab/ada");
    server.failure = new NetworkError("gone");
    one.set("habits", 3);
    await settle();
    const next = page();
    void next.open("lab/ada");
    expect(next.get("habits")).toBe(3);
    server.failure = null;
    await settle();
    for (const end of waiting) end();
    await settle();
    expect(server.kept).toEqual({ habits: 3 });
  });

  it("set before the person is known go to that person", async () => {
    const one = page();
    one.set("habits", 4);
    expect(server.writes).toBe(0);
    await one.open("lab/ada");
    expect(server.kept).toEqual({ habits: 4 });
  });

  it("of one person never reach another", async () => {
    const one = page();
    await one.open("lab/ada");
    server.failure = new NetworkError("gone");
    one.set("habits", 5);
    await settle();
    server.failure = null;
    const other = page();
    await other.open("lab/grace");
    expect([other.get("habits"), server.writes]).toEqual([undefined, 0]);
  });

  it("that the server refuses are told of once and stay with this browser", async () => {
    const one = page();
    await one.open("lab/ada");
    server.failure = new ApiError(400, "not_allowed", "too much", null, null, null);
    one.set("habits", 6);
    await settle();
    expect([one.get("habits"), told]).toEqual([6, ["Not kept for your other browsers: too much"]]);
  });

  it.each(["", "null", "7", "{", '{"parts": 3, "unsent": "habits"}', '{"unsent": ["habits", 4]}'])(
    "kept by the browser as %j are ignored",
    async (text) => {
      store.set("mal-preferences lab/ada", text);
      server.kept = { habits: 8 };
      const one = page();
      await one.open("lab/ada");
      expect([one.get("habits"), server.writes]).toEqual([8, 0]);
    },
  );
});
