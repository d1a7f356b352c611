import { describe, expect, it } from "vitest";

import { trim } from "../src/raster";
import { areaOf, decode, encode, runsToText, textToRuns } from "../src/rle";
import { dense, FIXTURES, rleOf } from "./masks";

describe("run-length codes", () => {
  it("has at least sixty masks of pycocotools to compare with", () => {
    expect(FIXTURES.length).toBeGreaterThanOrEqual(60);
  });

  it.each(FIXTURES)("equals pycocotools byte for byte: $name", (fixture) => {
    const whole = dense(fixture);
    expect(encode(whole, fixture.height, fixture.width)).toEqual(rleOf(fixture));
    expect(encode(trim(whole), fixture.height, fixture.width)).toEqual(rleOf(fixture));
  });

  it.each(FIXTURES)("decodes to the tight crop of the same pixels: $name", (fixture) => {
    const whole = dense(fixture);
    const [got, wanted] = [decode(rleOf(fixture)), trim(whole)];
    expect([got.x, got.y, got.w, got.h]).toEqual([wanted.x, wanted.y, wanted.w, wanted.h]);
    expect(Buffer.compare(got.data, wanted.data)).toBe(0);
    expect(areaOf(rleOf(fixture))).toBe(whole.data.reduce((sum, value) => sum + value, 0));
  });

  it("writes an empty mask as one run", () => {
    const empty = { x: 0, y: 0, w: 0, h: 0, data: new Uint8Array(0) };
    expect(textToRuns(encode(empty, 4, 5).counts)).toEqual([20]);
  });

  it("keeps runs as long as the largest image", () => {
    const runs = [0, 3, 16384 * 16384 - 4, 1];
    expect(textToRuns(runsToText(runs))).toEqual(runs);
  });
});
