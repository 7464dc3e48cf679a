// @ts-check
/*
 * The pad on which the reader draws a digit. It shows the strokes as they are drawn; strokes.js turns them into a
 * picture.
 */
"use strict";

const cvaePad = (() => {
  const { SIDE } = cvaeModel;
  const { penOf, followPointer } = cvaeElements;

  const ZOOM = 10; // pixels of the pad for each pixel of the picture, along a side
  const SIZE = SIDE * ZOOM;

  /**
   * Let the reader draw on a canvas.
   * @param {HTMLCanvasElement} canvas - SIZE by SIZE pixels
   * @param {(strokes: Stroke[]) => void} onDraw - called with all strokes so far whenever the pen has moved
   * @returns {{clear: () => void}} `clear` forgets the strokes and shows the hint to draw
   */
  function startPad(canvas, onDraw) {
    const pen = penOf(canvas);
    pen.strokeStyle = "white";
    pen.lineWidth = 2 * ZOOM;
    pen.lineCap = "round";
    pen.lineJoin = "round";
    pen.font = "20px sans-serif";
    pen.textAlign = "center";
    /** @type {Stroke[]} */
    let strokes = [];

    function blacken() {
      pen.fillStyle = "black";
      pen.fillRect(0, 0, SIZE, SIZE);
    }

    function clear() {
      strokes = [];
      blacken();
      pen.fillStyle = "#bbb";
      pen.fillText("draw here", SIZE / 2, SIZE / 2);
    }

    /**
     * Extend a stroke to a point.
     * @param {Stroke} stroke
     * @param {Point} point
     */
    function extend(stroke, point) {
      const [start, end] = [stroke.at(-1) ?? point, point].map(([x, y]) => [(x + 0.5) * ZOOM, (y + 0.5) * ZOOM]);
      pen.beginPath();
      pen.moveTo(start[0], start[1]);
      pen.lineTo(end[0], end[1]);
      pen.stroke();
      stroke.push(point);
    }

    /**
     * Find the point under the pen, in pixels of the picture.
     * @param {PointerEvent} event
     * @returns {Point}
     */
    function pointAt(event) {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      return [(SIDE * (event.clientX - left)) / width - 0.5, (SIDE * (event.clientY - top)) / height - 0.5];
    }

    followPointer(canvas, (event, isFirst) => {
      const isBlank = strokes.length === 0;
      if (isBlank) blacken(); // the first stroke takes the place of the hint
      if (isBlank || isFirst) strokes.push([]);
      const stroke = strokes[strokes.length - 1];
      // A fast pen is sampled more often than the page is drawn.
      const samples = event.getCoalescedEvents?.() ?? [];
      (samples.length > 0 ? samples : [event]).forEach((sample) => extend(stroke, pointAt(sample)));
      onDraw(strokes);
    });

    clear();
    return { clear };
  }

  return { SIZE, startPad };
})();
