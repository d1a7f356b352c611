import { beforeEach, describe, expect, it } from "vitest";

import { Comments } from "../src/comments";
import { ApiError, NetworkError } from "../src/transport";
import type { Comment } from "../src/types";

let stored: Comment[];
let told: string[];
let failure: Error | null;
let isLost: boolean; // the answer, and not the comment
let comments: Comments;

function written(id: number, text: string, instance_id: number | null = null): Comment {
  return { id, image_id: 1, instance_id, person: "ada", text, written_at: "2026-11-25T19:00:00Z" };
}

beforeEach(async () => {
  [stored, told, failure, isLost] = [[written(1, "first", 5)], [], null, false];
  const server = {
    comments: (imageId: number) =>
      failure ? Promise.reject(failure) : Promise.resolve(imageId === 1 ? [...stored] : []),
    addComment: (_: number, about: number | null, text: string) => {
      if (failure) return Promise.reject(failure);
      const made = written(stored.length + 1, text, about);
      stored.push(made);
      return isLost ? Promise.reject(new NetworkError("lost")) : Promise.resolve(made);
    },
  };
  const tell = (text: string): void => void told.push(text);
  comments = new Comments(server, { person: () => "ada", tell, onChange: () => undefined });
  await comments.open(1);
});

describe("comments", () => {
  it("are those of the open image, counted by mask", async () => {
    expect([comments.countOf(5), comments.countOf(null)]).toEqual([1, 0]);
    await comments.open(2);
    expect(comments.all).toEqual([]);
  });

  it("only grow", async () => {
    expect(await comments.add(null, "second")).toBe(true);
    expect(comments.all.map(({ text }) => text)).toEqual(["first", "second"]);
    expect(stored.length).toBe(2);
  });

  it("are told where they are refused, and can be sent again", async () => {
    failure = new ApiError(422, "bad_input", "too long", null, null, null);
    expect([await comments.add(5, "second"), told]).toEqual([
      false,
      ["The comment was not sent: too long"],
    ]);
    failure = null;
    expect([await comments.add(5, "second"), stored.length]).toEqual([true, 2]);
  });

  it("are not written twice where only the answer was lost", async () => {
    isLost = true;
    expect(await comments.add(5, "second")).toBe(false);
    isLost = false;
    expect(await comments.add(5, "second")).toBe(true);
    expect([stored.length, comments.countOf(5)]).toEqual([2, 2]);
    expect(await comments.add(5, "second")).toBe(true); // said once more, on purpose
    expect(stored.length).toBe(3);
  });

  it("are written again where nothing of them arrived", async () => {
    failure = new NetworkError("down");
    expect(await comments.add(5, "second")).toBe(false);
    failure = null;
    expect([await comments.add(5, "second"), stored.length]).toEqual([true, 2]);
  });

  it("of an image that was left are not shown on the next", async () => {
    const late = comments.open(1);
    await comments.open(2);
    await late;
    expect(comments.all).toEqual([]);
  });
});
