/** What the actions do that lead through the queue and belong to reviewing. */

import type { CommandPorts } from "./commands";
import type { QueueAction } from "./keys";
import type { Reviewing } from "./reviewing";
import type { Walk } from "./walk";

export interface DeskPorts {
  readonly go: Walk["go"];
  isReviewer(): boolean;
  toggleReviewer(): void;
  /** Why the selected mask cannot be sent back, in words; "" when it can. */
  obstacle(): Reviewing["obstacle"];
  askBack(id: number): void;
  toggleComments(): void;
  toggleFilter(): void;
  /** Open the preview of "accept all above a score", or close it. */
  toggleBulk(): void;
}

/** `accept` accepts what is chosen, or asks for the mask that is missing, and says so. */
export function queueCommands(
  ports: CommandPorts,
  accept: () => void,
): Readonly<Record<QueueAction, () => void>> {
  const { desk } = ports;
  return {
    "queue.next": () => {
      desk.go(1);
    },
    "queue.previous": () => {
      desk.go(-1);
    },
    "queue.filter": () => {
      desk.toggleFilter();
    },
    "accept.next": () => {
      acceptAndGo(ports, accept);
    },
    "accept.above": () => {
      desk.toggleBulk();
    },
    "send.back": () => {
      sendBack(ports);
    },
    comment: () => {
      desk.toggleComments();
    },
    reviewer: () => {
      desk.toggleReviewer();
    },
  };
}

function acceptAndGo({ editor, desk }: CommandPorts, accept: () => void): void {
  const { selected, chosen, heldBy } = editor;
  accept();
  if (!selected || heldBy !== "" || chosen.every(({ rle }) => rle === null)) return;
  editor.select(selected.id); // where the queue ends here, one stays, and accepts nothing by mistake
  const what = chosen.length > 1 ? `${chosen.length} masks` : `Mask ${selected.number}`;
  desk.go(1, `${what} accepted. `, selected.id);
}

function sendBack({ editor, desk, say }: CommandPorts): void {
  const obstacle = desk.obstacle();
  if (obstacle !== "" || !editor.selected) say(obstacle);
  else desk.askBack(editor.selected.id);
}
