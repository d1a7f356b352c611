/**
 * The browser's own database: unsent work, undecided conflicts, and what can be undone.
 *
 * A record belongs to an owner, which is one person at one data folder: work for another studio
 * at the same address, or of another person, is never mixed in.
 */

import type { Act } from "./creations";
import type { Conflict } from "./conflicts";
import type { Step } from "./history";
import type { Placeholder } from "./proposals";
import type { Unsent } from "./saves";

interface Owned {
  readonly owner: string;
}

/** What lies in each store. */
export interface Stores {
  saves: Owned & { readonly tab: string; readonly id: number; readonly unsent: Unsent };
  boxes: Owned & { readonly tab: string; readonly key: string; readonly box: Placeholder };
  acts: Owned & { readonly tab: string; readonly key: string; readonly act: Act };
  conflicts: Owned & { readonly key: string; readonly conflict: Conflict };
  steps: Owned & { readonly image_id: number; readonly seq: number; readonly step: Step };
  /** Of each image's steps: up to which `seq` they stand, and how much room they take. */
  pasts: Owned & { readonly image_id: number; readonly at: number } & {
    readonly bytes: number;
    readonly used: number; // milliseconds since 1970
  };
}

export type StoreName = keyof Stores;

/** One thing to do; several are done together or not at all. */
export type Deed =
  | { [N in StoreName]: { readonly put: N; readonly record: Stores[N] } }[StoreName]
  | { readonly drop: StoreName; readonly key: readonly (string | number)[] };

const NAME = "mal-studio";
const VERSION = 2; // 2: acts
const KEYS: Readonly<Record<StoreName, readonly string[]>> = {
  saves: ["owner", "tab", "id"],
  boxes: ["owner", "tab", "key"],
  acts: ["owner", "tab", "key"],
  conflicts: ["owner", "key"],
  steps: ["owner", "image_id", "seq"],
  pasts: ["owner", "image_id"],
};

export class Vault {
  private constructor(private readonly db: IDBDatabase) {
    db.onversionchange = () => {
      db.close(); // a newer studio in another tab takes over
    };
  }

  /** Open the database; rejects where the browser has none, or none to give. */
  static async open(factory: IDBFactory = indexedDB): Promise<Vault> {
    const request = factory.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      for (const [name, keyPath] of Object.entries(KEYS)) {
        if (request.result.objectStoreNames.contains(name)) continue;
        request.result.createObjectStore(name, { keyPath: [...keyPath] });
      }
    };
    return new Vault(await answered(request));
  }

  /** Do some deeds in one transaction that outlasts a crash once it is done. */
  async commit(deeds: readonly Deed[]): Promise<void> {
    if (deeds.length === 0) return;
    const names = deeds.map((deed) => ("put" in deed ? deed.put : deed.drop));
    const transaction = this.db.transaction([...new Set(names)], "readwrite", {
      durability: "strict",
    });
    for (const deed of deeds) {
      if ("put" in deed) transaction.objectStore(deed.put).put(deed.record);
      else transaction.objectStore(deed.drop).delete(rangeOf(deed.key));
    }
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => {
        resolve();
      };
      transaction.onabort = () => {
        reject(transaction.error ?? new Error("The browser's database is closed."));
      };
    });
  }

  /** All records of a store whose key begins with these parts, in order of their keys. */
  list<N extends StoreName>(
    name: N,
    ...prefix: readonly (string | number)[]
  ): Promise<Stores[N][]> {
    const store = this.db.transaction(name).objectStore(name);
    return answered(store.getAll(rangeOf(prefix)) as IDBRequest<Stores[N][]>);
  }
}

/** All keys that begin with these parts; an array sorts behind every number and text. */
function rangeOf(prefix: readonly (string | number)[]): IDBKeyRange {
  return IDBKeyRange.bound([...prefix], [...prefix, []]);
}

function answered<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => {
      resolve(request.result);
    };
    request.onerror = () => {
      reject(request.error ?? new Error("The browser's database does not answer."));
    };
  });
}
