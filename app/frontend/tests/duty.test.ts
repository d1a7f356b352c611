import { describe, expect, it } from "vitest";

import { dutyHint, dutyText, isDone, mineLeft, othersLeft } from "../src/duty";
import type { Assigned, ImageInfo, Project } from "../src/types";

const COUNTS = { proposed: 0, corrected: 0, accepted: 0, rejected: 0 };

/** An image by whom it is to be done: "ada bob+", where a plus says that they are done. */
function image(id: number, whose: string): ImageInfo {
  const assigned = whose
    .split(" ")
    .filter(Boolean)
    .map((one): Assigned => ({ person: one.replace("+", ""), is_done: one.endsWith("+") }));
  const size = { width: 4, height: 4 };
  return { id, number: id, file_name: `${id}.png`, notice: "", counts: COUNTS, assigned, ...size };
}

const PROJECT: Project = {
  ...{ id: 1, name: "p", studio: "s", person: "ada", rights: [], categories: [] },
  model: { id: 1, name: "m" },
  images: ["", "ada", "ada+", "bob", "bob+", "ada bob", "ada+ bob"].map((whose, at) =>
    image(at + 1, whose),
  ),
};

describe("images that are somebody's", () => {
  it("are the person's until they are done with them", () => {
    expect(mineLeft(PROJECT)).toEqual([2, 6]);
  });

  it("are others' where they are nobody else's, and not done", () => {
    expect(othersLeft(PROJECT)).toEqual([4]);
  });

  it.each<[string, boolean | null, string, string]>([
    ["", null, "", ""],
    ["ada", false, "You", "Yours to do."],
    ["ada+", true, "You (done)", "You are done with this image."],
    ["bob", null, "bob", "For bob."],
    ["aaron ada", false, "You, aaron", "only your own masks"],
    ["ada+ bob", true, "You (done), bob", "the others are not yet"],
    ["ada+ bob+", true, "You (done), bob (done)", "a reviewer compares"],
  ])("%j", (whose, done, text, hint) => {
    const info = image(1, whose);
    expect(isDone(info, "ada")).toBe(done);
    expect(dutyText(info, "ada")).toBe(text);
    expect(dutyHint(info, "ada")).toContain(hint);
  });
});
