/** What the tests of Sync share: an editor, and a server whose answers come when a test says so. */

import type { Conflict } from "../src/conflicts";
import { Editor } from "../src/editor";
import { Sync } from "../src/sync";
import type { Proposal } from "../src/transport";
import type { Annotation, Change, CreateRequest, ProposeRequest } from "../src/types";
import { annotation, IMAGE } from "./masks";

export interface Answer<T> {
  answer(value: T): Promise<void>;
  fail(error: Error): Promise<void>;
}

export const OTHER = { ...IMAGE, id: 2 };

export let saved: (Answer<Annotation> & { change: Change; version: number })[];
export let asked: (Answer<Proposal> & { request: ProposeRequest })[];
export let created: (Answer<Annotation> & { request: CreateRequest })[];
export let lost: Conflict[];
export let read: Answer<readonly Annotation[]>[];
export let outdated: number[];
export let said: string[];
export let told: string[];
export let editor: Editor;
export let sync: Sync;
let isAssisted: boolean;

export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** A promise, and what fulfils or breaks it. */
function later<T>(): Answer<T> & { promise: Promise<T> } {
  const ends = {} as Answer<T>;
  const promise = new Promise<T>((resolve, reject) => {
    ends.answer = (value) => {
      resolve(value);
      return settle();
    };
    ends.fail = (error) => {
      reject(error);
      return settle();
    };
  });
  return { promise, ...ends };
}

export function stroke(): void {
  editor.select(1);
  editor.beginStroke([2, 2], 1);
  editor.endStroke();
}

export function list(...annotations: Annotation[]): readonly Annotation[] {
  return annotations;
}

export function made(part: Partial<Annotation> = {}): Proposal {
  return { annotation: annotation(part), timing: "" };
}

export function onScreen(): (readonly [number, number, string])[] {
  return editor.instances.map(({ id, version, state }) => [id, version, state] as const);
}

/** An editor with one mask, joined to a server that answers when a test says so. */
export function begin(): void {
  [saved, asked, read, outdated, said, told] = [[], [], [], [], [], []];
  [created, lost] = [[], []];
  isAssisted = false;
  editor = new Editor((event) => {
    if (event.kind === "edit" || event.kind === "stroke") sync.onEdit(event);
  });
  const server = {
    save: (change: Change, version: number): Promise<Annotation> => {
      const { promise, ...rest } = later<Annotation>();
      saved.push({ change, version, ...rest });
      return promise;
    },
    propose: (request: ProposeRequest, signal: AbortSignal): Promise<Proposal> => {
      const { promise, ...rest } = later<Proposal>();
      asked.push({ request, ...rest });
      signal.addEventListener("abort", () => {
        void rest.fail(new DOMException("aborted", "AbortError"));
      });
      return promise;
    },
    create: (request: CreateRequest): Promise<Annotation> => {
      const { promise, ...rest } = later<Annotation>();
      created.push({ request, ...rest });
      return promise;
    },
    annotations: (): Promise<readonly Annotation[]> => {
      const { promise, ...rest } = later<readonly Annotation[]>();
      read.push(rest);
      return promise;
    },
  };
  sync = new Sync(editor, server, {
    wait: () => new Promise(() => undefined),
    now: () => 0,
    outdate: (imageId) => outdated.push(imageId),
    onAnswer: () => undefined,
    onMade: () => undefined,
    say: (text) => said.push(text),
    tell: (text) => told.push(text),
    onConflict: (conflict, text) => {
      lost.push(conflict);
      told.push(text);
    },
    onLate: () => undefined,
    onProgress: () => undefined,
    isAssisted: () => isAssisted,
  });
  editor.categoryId = 1;
  sync.open(IMAGE, [annotation({ version: 4 })], false);
}

/** Turn the assistance of strokes on. */
export function assist(): void {
  isAssisted = true;
}
