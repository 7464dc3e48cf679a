// @ts-check
/*
 * The explorer: reads the data that the page has loaded and mounts the panels. loader.js calls `cvaeExplorer.start`
 * when the explorer's place comes into view.
 */
"use strict";

/**
 * What digits.js defines.
 * @typedef {object} PackedDigits
 * @property {number} z_step - the unit of `points`, in units of z
 * @property {PackedBytes} points - mean codes of training digits, (10, n, 2)
 * @property {PackedBytes} test - test digits, grey values 0 to 255, (10, n, 784)
 */

/**
 * What a panel works with.
 * @typedef {object} Tools
 * @property {Model} model
 * @property {ArrayLike<number>[]} codes - for each class, z1 and z2 of the mean codes of training digits
 * @property {ArrayLike<number>[][]} tests - for each class, the pixels of test digits
 * @property {(text: string) => void} announce - tells a screen reader once the messages have stopped
 */

const cvaeExplorer = (() => {
  const { DIGITS, unpack, parseWeights } = cvaeModel;

  /**
   * Split an array into equal parts.
   * @param {Float32Array} array
   * @param {number} n - the number of parts
   */
  function split(array, n) {
    const size = array.length / n;
    return Array.from({ length: n }, (_, i) => array.subarray(i * size, (i + 1) * size));
  }

  /**
   * Unpack what digits.js defines: codes in units of z, and pixels in [0, 1].
   * @param {PackedDigits} packed
   * @returns {Pick<Tools, "codes" | "tests">}
   */
  function parseDigits({ points, test, z_step }) {
    const codes = Float32Array.from(unpack(points), (value) => value * z_step);
    const pixels = Float32Array.from(unpack(test), (value) => value / 255);
    const perClass = test.shape[1];
    return {
      codes: split(codes, DIGITS.length),
      tests: split(pixels, DIGITS.length).map((ofClass) => split(ofClass, perClass)),
    };
  }

  /**
   * Build the explorer. What the chapter put into `place` is kept, for print.
   * @param {HTMLElement} place
   */
  function start(place) {
    const { cvaeWeights, cvaeDigits } =
      /** @type {typeof globalThis & {cvaeWeights: PackedModel, cvaeDigits: PackedDigits}} */ (globalThis);
    const live = document.createElement("div");
    live.className = "cvae-live";
    const status = document.createElement("p");
    status.className = "cvae-hidden";
    status.setAttribute("role", "status");
    const tools = {
      model: parseWeights(cvaeWeights),
      ...parseDigits(cvaeDigits),
      announce: cvaeElements.makeAnnounce(status),
    };
    cvaePointPanel.mount(live, tools);
    cvaePicturePanel.mount(live, tools);
    live.append(status);

    const still = document.createElement("div");
    still.className = "cvae-still";
    still.append(...place.childNodes);
    place.append(still, live);
    place.dataset.started = "";
  }

  return { start };
})();
