import { afterEach, describe, expect, it, vi } from "vitest";

import { ApiError, classify, NetworkError, Transport } from "../src/transport";
import type { Change } from "../src/types";
import { annotation } from "./masks";

const CHANGE: Change = { id: 5, image_id: 1, after: null, reason: "delete" };

function serve(status: number, body: unknown, headers: Record<string, string> = {}): void {
  vi.stubGlobal(
    "fetch",
    vi.fn(() => Promise.resolve(new Response(JSON.stringify(body), { status, headers }))),
  );
}

/** The address, method, headers and body of the only request made. */
function request(): { url: string; init: RequestInit & { headers: Record<string, string> } } {
  const [url, init] = vi.mocked(fetch).mock.calls[0];
  return { url: url as string, init: init as RequestInit & { headers: Record<string, string> } };
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe("requests", () => {
  it("carry the token, and a save carries the version it builds on", async () => {
    serve(200, annotation());
    const { state, category_id, box, rle } = annotation();
    const after = { state, category_id, box, rle };
    await new Transport("/base", "secret").save({ ...CHANGE, after, reason: "brush" }, 7);
    const { url, init } = request();
    expect([url, init.method]).toEqual(["/base/mal/annotations/5", "PUT"]);
    expect(init.headers).toMatchObject({ "x-mal-session": "secret", "if-match": "7" });
    expect(JSON.parse(init.body as string)).toEqual({ ...after, reason: "brush" });
  });

  it("say of a save under which lease it was made, and what it took, to the hundredth", async () => {
    serve(200, annotation());
    const server = new Transport("", "secret");
    server.tokenOf = (imageId) => imageId + 2;
    await server.save({ ...CHANGE, seconds: 0.1 + 0.2, strokes: 2 }, 7);
    expect(request().init.headers["x-mal-work"]).toBe("lease=3; seconds=0.3; strokes=2");
  });

  it("delete without a body", async () => {
    serve(200, annotation({ state: "deleted" }));
    await new Transport("", "secret").save(CHANGE, 7);
    const { url, init } = request();
    expect([url, init.method, init.body]).toEqual(["/mal/annotations/5", "DELETE", undefined]);
  });
});

describe("errors", () => {
  async function failure(): Promise<unknown> {
    return new Transport("", "t").save(CHANGE, 1).catch((error: unknown) => error);
  }

  it("hold the server's own words", async () => {
    serve(409, { error: { code: "conflict", message: "late", current: annotation(), kept: 3 } });
    const error = await failure();
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ message: "late", kept: 3, current: { id: 1 } });
  });

  it("without words still say what happened", async () => {
    serve(500, "not an object");
    expect((await failure()) as Error).toHaveProperty("message", expect.stringContaining("500"));
  });

  it("of the network are told from answers", async () => {
    vi.stubGlobal("fetch", vi.fn().mockRejectedValue(new TypeError("failed to fetch")));
    expect(await failure()).toBeInstanceOf(NetworkError);
  });

  it("of the network are told also when the answer breaks off in the middle", async () => {
    vi.stubGlobal("fetch", vi.fn().mockResolvedValue(new Response('{"id": 1')));
    const request = { image_id: 1, box: [0, 0, 9, 9], category_id: 1, request_id: "a" } as const;
    const body = { ...request, instance_id: null, version: null };
    const answer = new Transport("", "t").propose(body, new AbortController().signal);
    await expect(answer).rejects.toBeInstanceOf(NetworkError);
  });

  it.each([
    [403, "refused"],
    [404, "refused"],
    [408, "retry"],
    [409, "conflict"],
    [413, "refused"],
    [422, "refused"],
    [429, "retry"],
    [500, "retry"],
    [503, "retry"],
  ])("with status %i mean %s for a save", async (status, kind) => {
    serve(status, { error: { message: "m" } }, { "retry-after": "4" });
    const found = classify(await failure());
    expect(found.kind).toBe(kind);
    if (found.kind === "retry") expect(found.after).toBe(4);
  });
});

describe("a token that grew too old", () => {
  /** A server that takes one token, and hands it out for "old" where `renews`. */
  function guard(renews: boolean): string[] {
    const log: string[] = [];
    const answer = (url: string, init: RequestInit): Response => {
      const token = (init.headers as Record<string, string>)["x-mal-session"];
      log.push(`${url} ${token}`);
      if (url === "/mal/session" && renews) return Response.json({ token: "new" });
      if (token === "new") return Response.json(annotation());
      return Response.json({ error: { code: "forbidden", message: "reload" } }, { status: 403 });
    };
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => Promise.resolve(answer(url, init)));
    return log;
  }

  it("is changed for a new one, and the work goes out with that", async () => {
    const log = guard(true);
    const transport = new Transport("", "old");
    await transport.save(CHANGE, 1);
    await transport.save(CHANGE, 2);
    const save = "/mal/annotations/5";
    expect(log).toEqual([`${save} old`, "/mal/session old", `${save} new`, `${save} new`]);
  });

  it("is changed once, however many requests meet the refusal", async () => {
    const log = guard(true);
    const transport = new Transport("", "old");
    await Promise.all([1, 2, 3].map((version) => transport.save(CHANGE, version)));
    expect(log.filter((line) => line.startsWith("/mal/session"))).toHaveLength(1);
  });

  it("is not changed again for a refusal that comes late", async () => {
    const log = guard(true);
    const { fetch } = globalThis;
    let arrive: () => void = () => undefined;
    const late = new Promise<void>((resolve) => (arrive = resolve));
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      const response = await fetch(url, init);
      if (log.length === 1) await late;
      return response;
    });
    const transport = new Transport("", "old");
    const first = transport.save(CHANGE, 1);
    await Promise.resolve();
    await transport.save(CHANGE, 2);
    arrive();
    await first;
    expect(log.filter((line) => line.startsWith("/mal/session"))).toHaveLength(1);
  });

  it("is a refusal where the server gives no other", async () => {
    guard(false);
    const failed = new Transport("", "old").save(CHANGE, 1);
    await expect(failed).rejects.toMatchObject({ status: 403, message: "reload" });
  });

  it("that cannot be changed for want of a network makes the save wait", async () => {
    guard(true);
    const { fetch } = globalThis;
    vi.stubGlobal("fetch", (url: string, init: RequestInit) =>
      url === "/mal/session" ? Promise.reject(new TypeError()) : fetch(url, init),
    );
    const error = await new Transport("", "old").save(CHANGE, 1).catch((one: unknown) => one);
    expect(classify(error).kind).toBe("retry");
  });
});

it("whoever listens hears of answers and of none, but not of what was given up", async () => {
  const heard: boolean[] = [];
  const transport = new Transport("", "t", (isAnswered) => heard.push(isAnswered));
  serve(422, {});
  await transport.save(CHANGE, 1).catch(() => undefined);
  vi.stubGlobal("fetch", vi.fn().mockRejectedValue(new TypeError("failed to fetch")));
  await transport.save(CHANGE, 1).catch(() => undefined);
  vi.stubGlobal("fetch", vi.fn().mockRejectedValue(new DOMException("aborted", "AbortError")));
  const { state, rle, category_id, box } = annotation();
  const body = { state, rle, category_id, box, image_id: 1, reason: "", request_id: "r" };
  await transport.create({ ...body, from_id: null }, AbortSignal.abort()).catch(() => undefined);
  expect(heard).toEqual([true, false]);
});
