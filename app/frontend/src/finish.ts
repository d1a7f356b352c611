/** Ends the person's part of the open image, and leads on to the next of theirs. */

import { mineLeft } from "./duty";
import type { Crew } from "./orders";
import { drained } from "./reviewdesk";
import { textOf } from "./transport";

export async function finish(crew: Crew, isDone: boolean): Promise<void> {
  const { info, transport, gallery, shell } = crew;
  if (!info) return;
  try {
    if (!(await drained(crew))) throw new Error("Not all is saved yet: try again in a moment.");
    const { assigned } = await transport.done(info.id, isDone);
    gallery.setAssigned(info.id, assigned);
  } catch (error) {
    shell.messages.add(textOf(error));
    return;
  }
  void crew.walk.read();
  void crew.presence.beat();
  const left = crew.project ? mineLeft(crew.project) : [];
  const next = left.find((id) => id > info.id) ?? left.at(0);
  shell.status.say(isDone ? `Done. ${left.length} of your images left.` : "Not done yet.");
  if (isDone && next !== undefined) await gallery.open(next);
}
