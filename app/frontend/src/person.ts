/** The person at this page: what they are used to, kept with them. */

import { type Habits, PLAIN_HABITS, readHabits, toStored } from "./habits";
import { Preferences } from "./preferences";
import type { Transport } from "./transport";
import type { Project } from "./types";

export interface PersonPorts {
  wait(seconds: number): Promise<void>;
  onChange(): void;
  tell(text: string): void;
}

const HABITS = "habits"; // their name among the preferences

export class Person {
  habits = PLAIN_HABITS;
  private readonly preferences: Preferences;

  constructor(server: Pick<Transport, "preferences" | "setPreferences">, ports: PersonPorts) {
    this.preferences = new Preferences({
      ...ports,
      read: () => server.preferences(),
      write: (parts) => server.setPreferences(parts),
      store: storeOf(),
      onChange: () => {
        this.habits = readHabits(this.preferences.get(HABITS));
        ports.onChange();
      },
    });
  }

  /** Who it is, is known now. */
  open({ studio, person }: Project): Promise<void> {
    return this.preferences.open(`${studio}/${person}`);
  }

  setHabits(part: Partial<Habits>): void {
    this.preferences.set(HABITS, toStored({ ...this.habits, ...part }));
  }
}

/** The browser's store; null where it lets us use none. */
function storeOf(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}
