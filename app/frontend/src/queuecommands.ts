/** What the actions do that lead through the queue. */

import type { CommandPorts } from "./commands";
import type { QueueAction } from "./keys";

/** `accept` accepts what is chosen, or asks for the mask that is missing, and says so. */
export function queueCommands(
  ports: CommandPorts,
  accept: () => void,
): Readonly<Record<QueueAction, () => void>> {
  const { walk } = ports;
  return {
    "queue.next": () => {
      walk.go(1);
    },
    "queue.previous": () => {
      walk.go(-1);
    },
    "queue.filter": () => {
      ports.toggleFilter();
    },
    "accept.next": () => {
      acceptAndGo(ports, accept);
    },
  };
}

function acceptAndGo({ editor, walk }: CommandPorts, accept: () => void): void {
  const { selected, chosen } = editor;
  accept();
  if (!selected || chosen.every(({ rle }) => rle === null)) return;
  const what = chosen.length > 1 ? `${chosen.length} masks` : `Mask ${selected.number}`;
  walk.go(1, `${what} accepted. `, selected.id);
}
