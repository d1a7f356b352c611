/** What the actions on whole masks do: shape, parts, order, sight. */

import { merge, removeOverlap, reshape, type Shape, SHAPES } from "./acts";
import type { CommandPorts } from "./commands";
import type { MaskAction } from "./keys";
import type { Placing } from "./placings";

type Table = Readonly<Record<MaskAction, () => void>>;

export function maskCommands(ports: CommandPorts): Table {
  const { editor, creations, say } = ports;
  const to = (shape: Shape) => () => {
    say(reshape(editor, shape));
  };
  return {
    "shape.fill": to(SHAPES.fill),
    "shape.largest": to(SHAPES.largest),
    "shape.smooth": to(SHAPES.smooth),
    "shape.grow": to(SHAPES.grow),
    "shape.shrink": to(SHAPES.shrink),
    separate: () => void creations.separate(),
    merge: () => {
      say(merge(editor));
    },
    overlap: () => {
      say(removeOverlap(editor));
    },
    "copy.next": () => void copy(ports),
    "order.forward": () => {
      raise(ports, 1);
    },
    "order.back": () => {
      raise(ports, -1);
    },
    lock: () => {
      toggle(ports, "locked", "locked", "unlocked");
    },
    hide: () => {
      toggle(ports, "hidden", "hidden", "shown");
    },
    alone: () => {
      editor.setAlone(!editor.isAlone);
      say(editor.isAlone ? "Only the chosen masks are shown." : "All masks are shown.");
    },
    "show.all": () => {
      editor.showAll();
      say("All masks are shown.");
    },
  };
}

async function copy({ editor, creations, nextImage, stepImage, say }: CommandPorts): Promise<void> {
  const [next, from] = [nextImage(), editor.image];
  if (!next) say("This is the last image.");
  else if ((await creations.copy(next)) === "made" && editor.image === from) stepImage(1);
}

function raise({ editor, say }: CommandPorts, by: 1 | -1): void {
  const { chosen } = editor;
  for (const { id } of chosen) editor.place(id, { level: editor.placings.of(id).level + by });
  if (chosen.length === 0) say("Select a mask first.");
  else say(by > 0 ? "Brought forward." : "Sent back.");
}

/** Turn a placing of the chosen masks on, or off where the selected one has it. */
function toggle(
  { editor, say }: CommandPorts,
  name: "locked" | "hidden",
  on: string,
  off: string,
): void {
  const { selected, chosen } = editor;
  if (!selected) {
    say("Select a mask first.");
    return;
  }
  const isOn = !editor.placings.of(selected.id)[name];
  const part: Partial<Placing> = { [name]: isOn };
  for (const { id } of chosen) editor.place(id, part);
  const what = chosen.length > 1 ? `${chosen.length} masks` : `Mask ${selected.number}`;
  say(`${what} ${isOn ? on : off}.`);
}
