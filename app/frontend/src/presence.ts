/**
 * Who else is here, and who may work on the open image: kept by a sign of life now and then.
 *
 * Opening an image asks for it; while somebody else works on it, this page only looks. A page that
 * only looks does not take the image by itself when it falls free: the person does. Somebody alone
 * always has the image, and notices none of it; a sign of life that gets lost changes nothing.
 */

export interface Other {
  readonly person: string;
  readonly image_id: number | null;
  readonly works: boolean;
}

export type Wish = "work" | "look" | "take" | "leave";

export interface HereRequest {
  readonly project_id: number;
  readonly image_id: number;
  readonly wish: Wish;
  readonly left: number | null;
}

export interface HereAnswer {
  readonly lease: {
    readonly person: string;
    readonly token: number;
    readonly is_mine: boolean;
    readonly is_held: boolean; // by somebody else
  } | null;
  readonly may_take: boolean;
  readonly notice: string; // why it is not this person's turn; "" where the lease says it
  readonly here: readonly Other[];
  readonly newest_comment: number;
}

export interface PresencePorts {
  send(body: HereRequest, isLast: boolean): Promise<HereAnswer>;
  /** Call `act` every so many seconds, and `leave` as the page goes; the answer ends it. */
  every(seconds: number, act: () => void, leave: () => void): () => void;
  /** Somebody else has the open image, or this page has got it. */
  onTurn(heldBy: string): void;
  /** News of the open image while this page has, or waits for, an answer. */
  onNews(newestComment: number, isLooking: boolean): void;
  onChange(): void;
}

const BEAT = 20; // seconds; the server frees an image after three that are missed

export class Presence {
  others: readonly Other[] = [];
  heldBy = ""; // who works on the open image in this person's place; "" when it is theirs
  isFree = false; // they left it since
  mayTake = false;
  notice = ""; // why it is not theirs, where the lease does not say it
  private place: { readonly projectId: number; readonly imageId: number } | null = null;
  private readonly tokens = new Map<number, number>(); // of this page's leases, by image
  private readonly end: () => void;
  private ticket = 0;

  constructor(private readonly ports: PresencePorts) {
    this.end = ports.every(BEAT, () => void this.beat(), this.leave.bind(this));
  }

  /** The fencing token under which work on an image was done; 0 for none. */
  tokenOf(imageId: number): number {
    return this.tokens.get(imageId) ?? 0;
  }

  /** The images that others work on. */
  get taken(): ReadonlySet<number> {
    const ids = this.others.flatMap(({ works, image_id }) => (works && image_id ? [image_id] : []));
    return new Set(ids);
  }

  /** Another image is open: ask for it, and give the one before back. */
  open(projectId: number, imageId: number): Promise<void> {
    const left = this.place && this.place.imageId !== imageId ? this.place.imageId : null;
    this.place = { projectId, imageId };
    this.turn("");
    return this.ask("work", left);
  }

  /** Give a sign of life. */
  beat(): Promise<void> {
    return this.ask(this.heldBy === "" ? "work" : "look");
  }

  /** Take the open image from whoever has it, as the person asks. */
  take(): Promise<void> {
    return this.ask(this.isFree ? "work" : "take");
  }

  /** The page goes away. */
  leave(): void {
    if (!this.place) return;
    const { projectId: project_id, imageId: image_id } = this.place;
    const body = { project_id, image_id, wish: "leave", left: null } as const;
    void this.ports.send(body, true).catch(() => undefined);
  }

  stop(): void {
    this.end();
    this.leave();
    this.place = null;
  }

  private async ask(wish: Wish, left: number | null = null): Promise<void> {
    if (!this.place) return;
    const ticket = ++this.ticket;
    const { projectId: project_id, imageId: image_id } = this.place;
    try {
      const answer = await this.ports.send({ project_id, image_id, wish, left }, false);
      if (ticket === this.ticket) this.learn(answer, image_id);
    } catch {
      // The next one may get through; what this page does meanwhile is checked when it is saved.
    }
  }

  private learn(answer: HereAnswer, imageId: number): void {
    const { lease, may_take, notice, here, newest_comment } = answer;
    this.others = here;
    this.notice = notice;
    this.mayTake = may_take;
    this.isFree = !lease?.is_held;
    if (lease?.is_mine) {
      this.tokens.set(imageId, lease.token);
      this.turn("");
    } else if (lease?.is_held || this.heldBy !== "") {
      this.turn((lease?.is_held && lease.person) || this.heldBy || "Somebody");
    }
    this.ports.onNews(newest_comment, this.heldBy !== "");
    this.ports.onChange();
  }

  private turn(heldBy: string): void {
    if (heldBy === this.heldBy) return;
    this.heldBy = heldBy;
    this.ports.onTurn(heldBy);
  }
}

type Turn = Pick<Presence, "heldBy" | "isFree" | "notice">;

/** What the banner over an image says that somebody else has; "" when nobody does. */
export function heldText({ heldBy, isFree, notice }: Turn): string {
  if (heldBy === "" || notice !== "") return heldBy && notice;
  return isFree
    ? `${heldBy} has left this image. You only look at it.`
    : `${heldBy} is working on this image. You can look and comment.`;
}

/** Who is here, in a few words: "Ada and Bob are here"; "" for nobody else. */
export function hereText(others: readonly Other[]): string {
  const names = [...new Set(others.map(({ person }) => person || "Somebody"))];
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is here`;
  const more = names.length - 2;
  const first = names.slice(0, 2).join(more > 0 ? ", " : " and ");
  return more > 0 ? `${first} and ${more} more are here` : `${first} are here`;
}
