/** Puts the parts of reviewing together: the walk, comments, the reviewer, accepting in bulk. */

import { Bulk } from "./bulk";
import { Comments } from "./comments";
import { othersLeft } from "./duty";
import { heartbeat } from "./heartbeat";
import type { Crew } from "./orders";
import { Presence } from "./presence";
import type { DeskPorts } from "./queuecommands";
import { Reviewing } from "./reviewing";
import type { Desk, View } from "./view";
import { Walk } from "./walk";

const PATIENCE = 5000; // milliseconds that an act for all waits for the last saves

export type Parts = Omit<Desk, keyof View>;

export function reviewParts(crew: Crew): Parts {
  const { status, messages } = crew.shell;
  const say = status.say.bind(status);
  const tell = messages.add.bind(messages);
  const onChange = crew.update.bind(crew);
  const walk = new Walk(crew, crew.transport, {
    ...{ say, tell, onChange },
    open: crew.gallery.open.bind(crew.gallery),
    setPort: crew.setPort.bind(crew),
  });
  const person = (): string => crew.project?.person ?? "";
  const comments = new Comments(crew.transport, { person, tell, onChange });
  const bulk = new Bulk(crew, crew.transport, {
    ...{ say, tell, onChange },
    now: () => new Date().toLocaleTimeString(),
    filter: () => walk.queue.filter,
    drained: () => drained(crew),
    renew: () => {
      renew(crew);
    },
  });
  const reviewing = new Reviewing(crew, comments, walk, say);
  return { walk, comments, bulk, reviewing, presence: presenceOf(crew, walk, comments) };
}

function presenceOf(crew: Crew, walk: Walk, comments: Comments): Presence {
  const presence: Presence = new Presence({
    send: crew.transport.here.bind(crew.transport),
    every: heartbeat,
    onTurn: (heldBy) => {
      const { editor, sync, input } = crew;
      input.cancel();
      editor.setHeld(heldBy);
      if (editor.image) void sync.refresh(editor.image.id);
    },
    onNews: (newestComment, isLooking) => {
      const { editor, sync } = crew;
      if (newestComment > comments.newest) void comments.read();
      if (isLooking && editor.image) void sync.refresh(editor.image.id);
    },
    onChange: () => {
      const theirs = crew.project && !presence.mayTake ? othersLeft(crew.project) : [];
      walk.queue.taken = new Set([...presence.taken, ...theirs]);
      crew.update();
    },
  });
  crew.transport.tokenOf = presence.tokenOf.bind(presence);
  return presence;
}

export function deskPorts(crew: Crew): DeskPorts {
  const { walk, reviewing, bulk, shell } = crew;
  return {
    go: walk.go.bind(walk),
    isReviewer: () => reviewing.isOn,
    toggleReviewer: () => {
      reviewing.toggle();
      crew.update();
    },
    obstacle: () => reviewing.obstacle,
    askBack: shell.askBack.bind(shell),
    toggleComments: shell.toggleComments.bind(shell),
    toggleFilter: shell.toggleFilter.bind(shell),
    toggleBulk: () => {
      if (bulk.isOpen) bulk.close();
      else void bulk.open();
    },
  };
}

/** Wait for the last saves; false when they do not get through in time. */
export async function drained({ sync: { saves } }: Pick<Crew, "sync">): Promise<boolean> {
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  await Promise.race([saves.drained(), late]);
  return saves.pending === 0;
}

/** The server changed masks of any image: read again what is shown, and forget what is old. */
function renew({ project, gallery }: Crew): void {
  if (!project) return;
  for (const { id } of project.images) gallery.images.outdate(id);
  void gallery.openProject(project.id);
}
