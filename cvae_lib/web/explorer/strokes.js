// @ts-check
/*
 * From pen strokes to a picture like those of MNIST. Like model.js this is arithmetic without a page.
 */
"use strict";

/** @typedef {Point[]} Stroke - the points [x, y] that a pen went through, in pixels of a 28 by 28 pad */

const cvaeStrokes = (() => {
  const { SIDE } = cvaeModel;

  const BOX = 20; // MNIST's digits fill a box of 20 by 20 pixels
  const CENTRE = 14; // and have their centre of mass at the middle of pixel 14
  const PEN = 2.7; // the mean width of a stroke in MNIST, in pixels
  const MAX_ZOOM = 4; // so that a dot is not blown up to fill the box

  /**
   * Draw strokes as MNIST does: scale them to a box of 20 by 20 pixels, with shades of grey at the edges, and move
   * their centre of mass to the middle.
   * @param {Stroke[]} strokes
   * @returns {Float32Array} 784 pixels in [0, 1], all zero if there are no strokes
   */
  function rasterise(strokes) {
    const points = strokes.flat();
    if (points.length === 0) return new Float32Array(SIDE * SIDE);
    const xs = points.map(([x]) => x);
    const ys = points.map(([, y]) => y);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    // The pen's own width, with its soft edge, must fit into the box too.
    const zoom = Math.min(MAX_ZOOM, (BOX - PEN - 1) / Math.max(right - left, bottom - top));
    /** @type {(dx: number, dy: number) => Stroke[]} */
    const move = (dx, dy) =>
      strokes.map((stroke) =>
        stroke.map(([x, y]) => [(x - (left + right) / 2) * zoom + dx, (y - (top + bottom) / 2) * zoom + dy]),
      );
    const [x, y] = centreOfMass(ink(move(CENTRE, CENTRE)));
    return ink(move(2 * CENTRE - x, 2 * CENTRE - y));
  }

  /**
   * Compute the grey value of each pixel: 1 inside a stroke, falling to 0 over one pixel at its edge.
   * @param {Stroke[]} strokes
   * @returns {Float32Array} 784 pixels in [0, 1]
   */
  function ink(strokes) {
    const pixels = new Float32Array(SIDE * SIDE);
    const reach = PEN / 2 + 0.5;
    for (const stroke of strokes) {
      stroke.forEach((end, i) => {
        const start = stroke[Math.max(i - 1, 0)];
        /** @param {0 | 1} axis */
        const low = (axis) => Math.max(0, Math.ceil(Math.min(start[axis], end[axis]) - reach));
        /** @param {0 | 1} axis */
        const high = (axis) => Math.min(SIDE - 1, Math.floor(Math.max(start[axis], end[axis]) + reach));
        for (let y = low(1); y <= high(1); y++) {
          for (let x = low(0); x <= high(0); x++) {
            const grey = Math.min(1, reach - distanceToSegment([x, y], start, end));
            if (grey > pixels[y * SIDE + x]) pixels[y * SIDE + x] = grey;
          }
        }
      });
    }
    return pixels;
  }

  /**
   * Compute the distance of a point to the segment from one point to another.
   * @param {Point} point
   * @param {Point} start
   * @param {Point} end
   */
  function distanceToSegment([x, y], [x0, y0], [x1, y1]) {
    const [dx, dy] = [x1 - x0, y1 - y0];
    const length2 = dx * dx + dy * dy;
    const t = length2 === 0 ? 0 : Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length2));
    return Math.hypot(x - x0 - t * dx, y - y0 - t * dy);
  }

  /**
   * Compute the centre of mass of a picture.
   * @param {Float32Array} pixels - 784 pixels
   * @returns {Point} [x, y] in pixels
   */
  function centreOfMass(pixels) {
    let [mass, x, y] = [0, 0, 0];
    pixels.forEach((grey, i) => {
      mass += grey;
      x += grey * (i % SIDE);
      y += grey * Math.floor(i / SIDE);
    });
    return [x / mass, y / mass];
  }

  return { rasterise };
})();
