// @ts-check
/*
 * What the small panels of chapter 2 share: the test digits that they start with, the choice of one of them, the
 * decoder, and the two losses of a posterior.
 */
"use strict";

/**
 * What posteriors.js defines, for each of a few test digits; cvae_lib/tools/export_toys.py writes it.
 * @typedef {object} PackedPosteriors
 * @property {number[]} labels - their classes
 * @property {PackedBytes} pixels - grey values 0 to 255, (n, 784)
 * @property {Point[]} mean - of q(z | x, y), as the encoder says
 * @property {Point[]} sigma - its standard deviations
 * @property {number[]} exact - minus log p(x | y), in nats
 * @property {Point[]} epsilon - points that are spread evenly over N(0, I)
 */

/**
 * A test digit and its posterior.
 * @typedef {{label: number, x: Float32Array, mean: Point, sigma: Point, exact: number}} Example
 */

const cvaeToys = (() => {
  const { SIDE, decode, sigmoid, makeLabel, reconstructionLoss, klLoss } = cvaeModel;
  const { pictureChoice, makeUnique, findRadios, show, paint } = cvaeElements;

  const packed = /** @type {typeof globalThis & {cvaePosteriors: PackedPosteriors}} */ (globalThis).cvaePosteriors;
  const grey = cvaeModel.unpack(packed.pixels);

  /** @type {Example[]} */
  const EXAMPLES = packed.labels.map((label, i) => ({
    label,
    x: Float32Array.from(grey.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE), (value) => value / 255),
    mean: packed.mean[i],
    sigma: packed.sigma[i],
    exact: packed.exact[i],
  }));

  const EPSILON = packed.epsilon;

  const GROUP = makeUnique("cvae-example");

  /**
   * Radio buttons with the pictures of the test digits.
   * @param {string} panel - the panel's name
   */
  const exampleChoice = (panel) =>
    pictureChoice(
      `${GROUP}-${panel}`,
      "Test digit",
      EXAMPLES.map(({ label }) => `The ${label}`),
      () => `<canvas width="${SIDE}" height="${SIDE}" aria-hidden="true"></canvas>`,
    );

  /**
   * Start the choice: paint its pictures, check the first, and call `choose` with each that the reader takes.
   * @param {Element} root
   * @param {string} panel - the panel's name
   * @param {(example: Example) => void} choose
   */
  function startChoice(root, panel, choose) {
    findRadios(root, `${GROUP}-${panel}`).forEach((radio, i) => {
      paint(/** @type {HTMLCanvasElement} */ (radio.nextElementSibling), EXAMPLES[i].x);
      radio.checked = i === 0;
      radio.addEventListener("change", () => choose(EXAMPLES[i]));
    });
  }

  /**
   * Load the decoder when the reader first comes to a panel, and say at its end if that fails.
   * @param {Element} root
   * @param {() => Promise<Data>} load
   * @param {(model: Model) => void} use - called once the decoder is there
   */
  function loadOnFirstUse(root, load, use) {
    /** @param {unknown} error */
    function complain(error) {
      const note = document.createElement("p");
      note.className = "cvae-note";
      note.setAttribute("role", "alert");
      note.textContent = `The decoder did not load, so this panel cannot compute. ${error}`;
      root.append(note);
    }
    cvaeExplorer.onFirstUse(root, () => load().then(({ model }) => use(model), complain));
  }

  /**
   * Write a pair of numbers.
   * @param {ArrayLike<number>} pair
   */
  const showPair = (pair) => `(${show(pair[0])}, ${show(pair[1])})`;

  /**
   * Compute z = μ + σ ε.
   * @param {Point} mean
   * @param {Point} sigma
   * @param {Point} epsilon
   * @returns {Point}
   */
  const shift = (mean, sigma, epsilon) => [mean[0] + sigma[0] * epsilon[0], mean[1] + sigma[1] * epsilon[1]];

  /**
   * Decode z: the picture, and the reconstruction loss of an example in nats.
   * @param {Model} model
   * @param {Point} z
   * @param {Example} example
   */
  function reconstruct(model, z, { x, label }) {
    const logits = decode(model, z, makeLabel(label));
    return { picture: sigmoid(logits), loss: reconstructionLoss(x, logits) };
  }

  /**
   * Compute the KL loss of N(mean, sigma²), in nats.
   * @param {Point} mean
   * @param {Point} sigma
   */
  const computeKl = (mean, sigma) =>
    klLoss(
      Float64Array.from(mean),
      Float64Array.from(sigma, (value) => 2 * Math.log(value)),
    );

  /**
   * Average the reconstruction loss of an example over q = N(mean, sigma²), by the same epsilon each time, in nats.
   * @param {Model} model
   * @param {Point} mean
   * @param {Point} sigma
   * @param {Example} example
   */
  function averageLoss(model, mean, sigma, { x, label }) {
    const y = makeLabel(label);
    const losses = EPSILON.map((epsilon) => reconstructionLoss(x, decode(model, shift(mean, sigma, epsilon), y)));
    return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  }

  return {
    EXAMPLES,
    EPSILON,
    exampleChoice,
    startChoice,
    loadOnFirstUse,
    showPair,
    shift,
    reconstruct,
    computeKl,
    averageLoss,
  };
})();
