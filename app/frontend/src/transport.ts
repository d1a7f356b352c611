/** The REST contract under /mal/, and nothing else: every request carries the session's token. */

import { type Filter, queryOf, type Stop } from "./queue";
import type { HereAnswer, HereRequest } from "./presence";
import type { Failure } from "./saves";
import type { TileRef } from "./tiles";
import type {
  Annotation,
  Assigned,
  Candidate,
  Category,
  Change,
  Comment,
  CreateRequest,
  Project,
  ProposeRequest,
  Rle,
} from "./types";

/** An answer of the server that is not a success; its message is meant to be read by people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly current: Annotation | null,
    readonly kept: number | null,
    readonly retryAfter: number | null,
  ) {
    super(message);
  }
}

/** No answer at all: the network is down, or the server took too long. */
export class NetworkError extends Error {}

export interface Proposal {
  readonly annotation: Annotation;
  readonly timing: string; // the Server-Timing header
}

export interface QueueAnswer {
  readonly images: readonly Stop[];
  readonly people: readonly string[];
  readonly models: readonly { readonly id: number; readonly name: string }[];
  readonly finding: string; // the title of the one that was asked for, or ""
}

interface ErrorBody {
  readonly error?: {
    readonly code?: string;
    readonly message?: string;
    readonly current?: Annotation;
    readonly kept?: number;
  };
}

const PATIENCE = 30_000; // milliseconds
const PROPOSE_PATIENCE = 120_000;

export class Transport {
  /** The token of the lease that this page has, or had, of an image. */
  tokenOf: (imageId: number) => number = () => 0;
  private renewing: Promise<boolean> | null = null;

  constructor(
    private readonly base: string,
    private token: string,
    private readonly onHeard: (isAnswered: boolean) => void = () => undefined,
  ) {}

  project(id: number): Promise<Project> {
    return this.json("GET", `projects/${id}`);
  }

  image(id: number): Promise<Blob> {
    return this.blob(`image/${id}`);
  }

  /** A tile of an image's pyramid (see tiles.ts). */
  tile(id: number, { level, column, row }: TileRef): Promise<Blob> {
    return this.blob(`image/${id}/${level}/${column}/${row}`);
  }

  thumb(id: number): Promise<Blob> {
    return this.blob(`image/${id}?size=thumb`);
  }

  /** An image's instances, and those that were deleted, which an undo may bring back. */
  async annotations(imageId: number): Promise<readonly Annotation[]> {
    const path = `annotations/${imageId}?deleted=true`;
    const body = await this.json<{ annotations: Annotation[] }>("GET", path);
    return body.annotations;
  }

  /** The model's newest mask of each instance of an image that it ever proposed one for. */
  async proposals(imageId: number): Promise<readonly { id: number; rle: Rle }[]> {
    const body = await this.json<{ proposals: { id: number; rle: Rle }[] }>(
      "GET",
      `proposals/${imageId}`,
    );
    return body.proposals;
  }

  /** What to look at by a filter, in order, and whom and which models one can filter by. */
  queue(projectId: number, wanted: Filter): Promise<QueueAnswer> {
    return this.json("GET", `queue/${projectId}?${queryOf(wanted)}`);
  }

  /** What the person of this page likes, by name. */
  preferences(): Promise<Readonly<Record<string, unknown>>> {
    return this.json("GET", "preferences");
  }

  setPreferences(body: Readonly<Record<string, unknown>>): Promise<unknown> {
    return this.json("PUT", "preferences", { body });
  }

  /** The proposals that could be accepted by a filter with a least score, the lowest first. */
  async acceptable(projectId: number, wanted: Filter): Promise<readonly Candidate[]> {
    const path = `accept/${projectId}?${queryOf(wanted)}`;
    return (await this.json<{ masks: Candidate[] }>("GET", path)).masks;
  }

  /** Accept all of them; the answer names the act, for its undo. */
  acceptAll(projectId: number, wanted: Filter): Promise<{ act: string; count: number }> {
    const body = { project_id: projectId, ...wanted, states: undefined };
    return this.json("POST", "accept", { body });
  }

  undoAccept(projectId: number, act: string): Promise<{ count: number }> {
    return this.json("DELETE", `accept/${projectId}/${act}`);
  }

  async comments(imageId: number): Promise<readonly Comment[]> {
    return (await this.json<{ comments: Comment[] }>("GET", `comments/${imageId}`)).comments;
  }

  addComment(image_id: number, instance_id: number | null, text: string): Promise<Comment> {
    return this.json("POST", "comments", { body: { image_id, instance_id, text } });
  }

  addCategory(projectId: number, name: string): Promise<Category> {
    return this.json("POST", "categories", { body: { project_id: projectId, name } });
  }

  /** Give a sign of life; it is nobody's fault when it gets lost. */
  async here(body: HereRequest, isLast: boolean): Promise<HereAnswer> {
    const options = { body, isQuiet: true, isLast };
    return this.json("POST", "here", options);
  }

  /** Say that one is done with an image of one's own, or not yet; the answer is whose it is. */
  done(image_id: number, is_done: boolean): Promise<{ assigned: readonly Assigned[] }> {
    return this.json("POST", "done", { body: { image_id, is_done } });
  }

  async propose(body: ProposeRequest, signal: AbortSignal): Promise<Proposal> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PROPOSE_PATIENCE)]);
    const work = this.workOf(body.image_id, { seconds: body.seconds });
    const response = await this.request("POST", "propose", { body, work, signal: patience });
    const timing = response.headers.get("server-timing") ?? "";
    const annotation = (await heard(response.json(), patience)) as Annotation;
    return { annotation, timing };
  }

  /** Make an instance; asked again under the same request_id, the one made before. */
  create(body: CreateRequest, signal?: AbortSignal): Promise<Annotation> {
    const patience = AbortSignal.timeout(PATIENCE);
    const either = signal ? AbortSignal.any([signal, patience]) : patience;
    const work = this.workOf(body.image_id, { seconds: body.seconds });
    return this.json("POST", "annotations", { body, work, signal: either });
  }

  /** Save or delete one instance, if the server is still at `version`. */
  save(change: Change, version: number): Promise<Annotation> {
    const { id, image_id, after, reason, seconds, strokes } = change;
    const work = this.workOf(image_id, { seconds, strokes });
    if (after === null) return this.json("DELETE", `annotations/${id}`, { version, work });
    return this.json("PUT", `annotations/${id}`, { version, work, body: { ...after, reason } });
  }

  /** Under which lease something was done, and what it took, as the server reads it. */
  private workOf(imageId: number, { seconds, strokes }: Told): string {
    const parts = [
      ["lease", this.tokenOf(imageId)],
      ["seconds", seconds === undefined ? seconds : Math.round(seconds * 100) / 100],
      ["strokes", strokes],
    ];
    const known = parts.filter(([, value]) => typeof value === "number");
    return known.map(([name, value]) => `${name}=${value}`).join("; ");
  }

  private async blob(path: string): Promise<Blob> {
    return (await this.request("GET", path, {})).blob();
  }

  private async json<T>(method: string, path: string, options: Options = {}): Promise<T> {
    const response = await this.request(method, path, options);
    return (await heard(response.json(), options.signal)) as T;
  }

  /** Send a request; a token that grew too old is changed for a new one on the way. */
  private async request(method: string, path: string, options: Options): Promise<Response> {
    const { token } = this;
    const response = await this.send(method, path, options);
    if (response.ok) return response;
    const isRenewed = response.status === 403 && (await this.renew(token));
    const last = isRenewed ? await this.send(method, path, options) : response;
    if (!last.ok) throw await errorOf(last);
    return last;
  }

  /** Change a token the server refused for a new one; false when it has none for us. */
  private async renew(refused: string): Promise<boolean> {
    if (refused !== this.token) return true; // another request has done it
    this.renewing ??= this.send("POST", "session", {}).then(async (response) => {
      if (response.ok) ({ token: this.token } = (await response.json()) as { token: string });
      return response.ok;
    });
    try {
      return await this.renewing;
    } finally {
      this.renewing = null;
    }
  }

  private async send(method: string, path: string, options: Options): Promise<Response> {
    const headers: Record<string, string> = { "x-mal-session": this.token };
    if (options.body !== undefined) headers["content-type"] = "application/json";
    if (options.version !== undefined) headers["if-match"] = String(options.version);
    if (options.work !== undefined) headers["x-mal-work"] = options.work;
    const init: RequestInit = {
      method,
      headers,
      signal: options.signal ?? AbortSignal.timeout(PATIENCE),
      keepalive: options.isLast ?? false,
    };
    if (options.body !== undefined) init.body = JSON.stringify(options.body);
    try {
      const response = await heard(fetch(`${this.base}/mal/${path}`, init), options.signal);
      if (!options.isQuiet) this.onHeard(true);
      return response;
    } catch (error) {
      if (error instanceof NetworkError && !options.isQuiet) this.onHeard(false);
      throw error;
    }
  }
}

/** What a page can tell of an act; it may not know. */
interface Told {
  readonly seconds: number | undefined;
  readonly strokes?: number | undefined;
}

interface Options {
  readonly body?: unknown;
  readonly version?: number;
  readonly work?: string; // see workOf
  readonly isQuiet?: boolean; // whether it is answered or not tells nobody anything
  readonly isLast?: boolean; // the page goes away
  readonly signal?: AbortSignal;
}

/** An answer or its body; one that gets lost is a NetworkError, an abort of ours stays one. */
async function heard<T>(answer: Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (signal?.aborted && error instanceof DOMException && error.name === "AbortError") {
      throw error;
    }
    throw new NetworkError("The studio does not answer. Is the server running?", { cause: error });
  }
}

async function errorOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as ErrorBody;
  const { code, message, current, kept } = body.error ?? {};
  const asked = Number(response.headers.get("retry-after"));
  return new ApiError(
    response.status,
    code ?? "unknown",
    message ?? `The server answered ${response.status} ${response.statusText}`.trim(),
    current ?? null,
    kept ?? null,
    asked > 0 ? asked : null,
  );
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What a failed save means: try again, somebody was first, or refused for good. */
export function classify(error: unknown): Failure {
  if (!(error instanceof ApiError)) return { kind: "retry", after: null };
  if (error.status === 409) return { kind: "conflict", current: error.current, kept: error.kept };
  if (error.status === 429 || error.status === 408 || error.status >= 500) {
    return { kind: "retry", after: error.retryAfter };
  }
  return { kind: "refused" };
}
