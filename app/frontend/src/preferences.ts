/**
 * What a person likes, kept by the server with the person and by this browser beside it.
 *
 * A change counts at once and on every later page of this browser; it is sent when the server can
 * be reached. Each part has a name; parts that others wrote meanwhile are left as they are.
 */

import { classify, textOf } from "./transport";

type Parts = Readonly<Record<string, unknown>>;

export interface PreferencePorts {
  read(): Promise<Parts>;
  write(parts: Parts): Promise<unknown>;
  wait(seconds: number): Promise<void>;
  readonly store: Pick<Storage, "getItem" | "setItem"> | null; // null where the browser has none
  onChange(): void;
  tell(text: string): void;
}

interface Kept {
  readonly parts: Parts;
  readonly unsent: readonly string[]; // names of parts that the server does not have yet
}

const LONGEST_WAIT = 60; // seconds
const NOTHING: Kept = { parts: {}, unsent: [] };

export class Preferences {
  private kept = NOTHING;
  private place = ""; // in the browser's store, once the person is known
  private isSending = false;

  constructor(private readonly ports: PreferencePorts) {}

  get(name: string): unknown {
    return this.kept.parts[name];
  }

  set(name: string, value: unknown): void {
    const unsent = [...new Set([...this.kept.unsent, name])];
    this.keep({ parts: { ...this.kept.parts, [name]: value }, unsent });
    if (this.place !== "") void this.send();
  }

  /** Take over what the person likes: as this browser has it, then as the server has it. */
  async open(owner: string): Promise<void> {
    if (this.place !== "") return;
    this.place = `mal-preferences ${owner}`;
    const before = readKept(this.stored());
    const unsent = [...new Set([...before.unsent, ...this.kept.unsent])];
    this.keep({ parts: { ...before.parts, ...this.kept.parts }, unsent });
    await this.send();
  }

  /** Bring both sides together; while the server cannot be reached, try again. */
  private async send(): Promise<void> {
    if (this.isSending) return;
    this.isSending = true;
    for (let seconds = 1; ; seconds = Math.min(2 * seconds, LONGEST_WAIT)) {
      try {
        await this.exchange();
        if (this.kept.unsent.length === 0) break;
      } catch (error) {
        if (classify(error).kind !== "retry") {
          this.ports.tell(`Not kept for your other browsers: ${textOf(error)}`);
          break;
        }
        await this.ports.wait(seconds);
      }
    }
    this.isSending = false;
  }

  private async exchange(): Promise<void> {
    const theirs = await this.ports.read();
    const sent = this.kept;
    const own = sent.unsent.map((name) => [name, sent.parts[name]] as const);
    const all = { ...theirs, ...Object.fromEntries(own) };
    if (own.length > 0) await this.ports.write(all);
    const { parts } = this.kept; // may have changed meanwhile
    const later = this.kept.unsent.filter((name) => parts[name] !== sent.parts[name]);
    const newer = Object.fromEntries(later.map((name) => [name, parts[name]]));
    this.keep({ parts: { ...all, ...newer }, unsent: later });
  }

  private keep(kept: Kept): void {
    this.kept = kept;
    try {
      if (this.place !== "") this.ports.store?.setItem(this.place, JSON.stringify(kept));
    } catch {
      // a full or forbidden store: the server still gets it
    }
    this.ports.onChange();
  }

  private stored(): string | null {
    try {
      return this.ports.store?.getItem(this.place) ?? null;
    } catch {
      return null;
    }
  }
}

/** Read what the browser kept, or what anybody put in its place. */
function readKept(text: string | null): Kept {
  try {
    const { parts, unsent } = Object(JSON.parse(text ?? "{}")) as Record<string, unknown>;
    const names = Array.isArray(unsent) ? unsent : [];
    const isName = (name: unknown): name is string =>
      typeof name === "string" && Object.hasOwn(Object(parts) as object, name);
    return { parts: { ...(Object(parts) as Parts) }, unsent: names.filter(isName) };
  } catch {
    return NOTHING;
  }
}
