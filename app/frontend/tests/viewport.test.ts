import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { fit, panBy, resized, toImage, toView, zoomAt } from "../src/viewport";

const IMAGE = { width: 640, height: 480 };
const VIEW = { width: 900, height: 700 };
const within = (most: number): fc.Arbitrary<number> =>
  fc.double({ min: 0, max: most, noNaN: true });
const port = fc.record({
  scale: fc.double({ min: 0.1, max: 50, noNaN: true }),
  x: fc.double({ min: -500, max: 500, noNaN: true }),
  y: fc.double({ min: -500, max: 500, noNaN: true }),
});
const size = fc.record({
  width: fc.integer({ min: 1, max: 16384 }),
  height: fc.integer({ min: 1, max: 16384 }),
});

describe("the viewport", () => {
  it("maps to the image and back to the same point", () => {
    fc.assert(
      fc.property(port, within(900), within(700), (one, x, y) => {
        const [backX, backY] = toView(one, toImage(one, [x, y]));
        expect(backX).toBeCloseTo(x, 6);
        expect(backY).toBeCloseTo(y, 6);
      }),
    );
  });

  it("fits any image inside the view, centred", () => {
    fc.assert(
      fc.property(size, (image) => {
        const one = fit(image, VIEW);
        const [right, bottom] = toView(one, [image.width, image.height]);
        expect(one.x).toBeGreaterThanOrEqual(0);
        expect(one.y).toBeGreaterThanOrEqual(0);
        expect(one.x + right).toBeCloseTo(VIEW.width, 6);
        expect(one.y + bottom).toBeCloseTo(VIEW.height, 6);
      }),
    );
  });

  it("keeps the point under the cursor when it zooms", () => {
    fc.assert(
      fc.property(
        within(1),
        within(1),
        fc.double({ min: 0.6, max: 3, noNaN: true }),
        (u, v, by) => {
          const before = fit(IMAGE, VIEW);
          const at = toView(before, [u * IMAGE.width, v * IMAGE.height]);
          const [x, y] = toImage(zoomAt(before, at, by, IMAGE, VIEW), at);
          expect(x).toBeCloseTo(u * IMAGE.width, 6);
          expect(y).toBeCloseTo(v * IMAGE.height, 6);
        },
      ),
    );
  });

  it("undoes a zoom by its inverse and a pan by its opposite", () => {
    const before = fit(IMAGE, VIEW);
    const back = zoomAt(zoomAt(before, [400, 300], 2, IMAGE, VIEW), [400, 300], 0.5, IMAGE, VIEW);
    expect(back.scale).toBeCloseTo(before.scale, 9);
    expect(back.x).toBeCloseTo(before.x, 9);
    expect(panBy(panBy(before, [30, -20], IMAGE, VIEW), [-30, 20], IMAGE, VIEW)).toEqual(before);
  });

  it("stays between a quarter of the fitted size and 64 screen pixels a pixel", () => {
    const one = fit(IMAGE, VIEW);
    expect(zoomAt(one, [0, 0], 1e-9, IMAGE, VIEW).scale).toBeCloseTo(one.scale / 4, 9);
    expect(zoomAt(one, [0, 0], 1e9, IMAGE, VIEW).scale).toBe(64);
  });

  it("never loses the image from sight", () => {
    const far = panBy(fit(IMAGE, VIEW), [1e6, -1e6], IMAGE, VIEW);
    const [, bottom] = toView(far, [0, IMAGE.height]);
    expect(far.x).toBeLessThan(VIEW.width);
    expect(bottom).toBeGreaterThan(0);
  });

  it("keeps the middle of the view in the middle when the view changes its size", () => {
    const before = zoomAt(fit(IMAGE, VIEW), [200, 100], 3, IMAGE, VIEW);
    const after = resized(before, VIEW, { width: 500, height: 640 });
    expect(toImage(after, [250, 320])).toEqual(toImage(before, [450, 350]));
  });
});
