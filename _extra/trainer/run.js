// @ts-check
/*
 * A run of training: the settings, the start weights, the batches and the noise, the losses on test digits, the pictures.
 * The engine, plain_step.js or wasm_step.js, does the sums. Nothing here touches the page or the clock, so the same
 * settings in the same steps give the same run, bit for bit with one engine.
 */
"use strict";

/**
 * What a run is made with. A change of `latents`, `hidden` or `seed` needs a new run.
 * @typedef {object} Settings
 * @property {"sum" | "mean"} pixels - how the objective takes the reconstruction loss over the pixels
 * @property {number} beta - the weight of the KL loss in the objective
 * @property {boolean} told - whether the networks are told the label; if not, they are told 0 for every digit
 * @property {boolean} oneEpsilon - one ε for all images of a batch
 * @property {boolean} logSigma - the head is taken for a log σ where z is drawn, and for a log variance in the KL
 * @property {boolean} atMean - evaluation decodes the mean of the posterior and not a draw
 * @property {1 | 2 | 3} latents
 * @property {number} hidden - units in each hidden layer, a multiple of 16
 * @property {number} seed - 0 to 2³² - 1
 * @property {number} learningRate
 * @property {number} batchSize - up to 500
 * @property {number} digits - the number of training digits, a multiple of 10; at most those at hand are used
 */

/** @typedef {{n: number, levels: string}} PackedLevels - what a script of digits defines */

/** @typedef {{train: Uint8Array, test: Uint8Array}} Digits - grey values 0 to 15, 784 a digit; digit i is an i % 10 */

/**
 * The losses of the test digits.
 * @typedef {object} Evaluation
 * @property {Losses} test - as the program logs them, with the mistakes that its settings make
 * @property {Losses} truth - as it should: one draw an image, and the KL of the distribution that z is drawn from
 * @property {Float32Array} codes - the means of the posteriors, (n, latents)
 */

/** @typedef {{row: Uint8Array, grid: Uint8Array}} Pictures - grey values 0 to 255, 784 a picture */

/** @typedef {ReturnType<typeof cvaeRun["create"]>} Run */

const makeCvaeRun = () => {
  const { DIGITS } = cvaeModel;
  const { makeArrays, listShapes } = cvaePlainStep;

  const PIXELS = 784;
  const LEVELS = 15; // the grey values of the packed digits are 0 to 15
  const CAPACITY = 500; // images in a batch, at most
  const TEST_BATCH = 100; // divides the number of test digits
  const TEST_SEED = 99; // of the noise in evaluation: always the same, so that only the weights move the loss
  const GRID = 8; // pictures along each side

  /** @type {Readonly<Settings>} */
  const DEFAULTS = Object.freeze({
    pixels: "sum",
    beta: 1,
    told: true,
    oneEpsilon: false,
    logSigma: false,
    atMean: false,
    latents: 2,
    hidden: 256,
    seed: 1,
    learningRate: 0.003,
    batchSize: 100,
    digits: 2000,
  });

  /* ---- Random numbers ---- */

  /**
   * Make a generator of numbers that are even in [0, 1): Mulberry32, by Tommy Ettinger. 32 bits of state suffice here.
   * @param {number} seed
   */
  function makeRandom(seed) {
    let state = seed | 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let bits = Math.imul(state ^ (state >>> 15), 1 | state);
      bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
      return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /**
   * Draw from N(0, 1), two at a time, by the method of Box and Muller.
   * @param {() => number} random
   * @param {Float32Array} out - what to fill
   */
  function drawNormals(random, out) {
    for (let i = 0; i < out.length; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - random()));
      const angle = 2 * Math.PI * random();
      out[i] = radius * Math.cos(angle);
      if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
    }
  }

  /**
   * Draw the start weights as Keras does: kernels even between ±√(6 / (inputs + outputs)), biases 0.
   * @param {() => number} random
   * @param {number} hidden
   * @param {number} latents
   */
  function drawModel(random, hidden, latents) {
    const shapes = listShapes(hidden, latents);
    return makeArrays(
      (layer, part, size) => {
        const limit = part === "kernel" ? Math.sqrt(6 / (shapes[layer][0] + shapes[layer][1])) : 0;
        return Float32Array.from({ length: size }, () => limit && limit * (2 * random() - 1));
      },
      hidden,
      latents,
    );
  }

  /**
   * Find the middles of n parts of equal probability under N(0, 1), by adding up the density.
   * @param {number} n
   */
  function findQuantiles(n) {
    const step = 0.001;
    const found = [];
    let below = 0;
    for (let z = -6; found.length < n; z += step) {
      below += (step * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
      if (below >= (found.length + 0.5) / n) found.push(z + step / 2);
    }
    return found;
  }

  /* ---- Digits ---- */

  // How packed digits are written; cvae_lib/tools/export_trainer.py says why.
  const INK = "a".charCodeAt(0);
  const RUN = "#".charCodeAt(0);

  /**
   * Unpack digits. A letter from "a" on is a grey value from 1 on, a character from "#" on a run of black pixels.
   * @param {PackedLevels} packed
   * @returns {Uint8Array} grey values 0 to 15, 784 a digit; digit i is an i % 10
   */
  function unpackDigits({ n, levels }) {
    const unpacked = new Uint8Array(n * PIXELS);
    let pixel = 0;
    for (let i = 0; i < levels.length; i++) {
      const code = levels.charCodeAt(i);
      if (code < INK) pixel += code - RUN + 1;
      else unpacked[pixel++] = code - INK + 1;
    }
    return unpacked;
  }

  /* ---- The run ---- */

  /**
   * Begin a run: step 0, with weights that were drawn from its seed.
   * @param {Settings} settings
   * @param {(hidden: number, latents: number, capacity: number) => Engine} makeEngine
   * @param {Digits} data - at least as many training digits as the settings say
   */
  function create(settings, makeEngine, data) {
    const { hidden, latents, seed } = settings;
    const engine = makeEngine(hidden, latents, CAPACITY);
    const random = makeRandom(seed);
    engine.setModel(drawModel(random, hidden, latents));
    const testDigits = data.test.length / PIXELS;
    const places = GRID * GRID;
    const quantiles = findQuantiles(latents === 1 ? places : GRID);
    const state = { step: 0, epoch: 0 };
    /** @type {number[]} */
    let order = []; // of the training digits in this epoch
    let next = 0; // its first digit that is not used yet

    /**
     * Hand a digit to the engine as image i of its batch.
     * @param {number} i
     * @param {Uint8Array} levels
     * @param {number} digit
     */
    function load(i, levels, digit) {
      const [from, to] = [digit * PIXELS, i * PIXELS];
      for (let k = 0; k < PIXELS; k++) engine.x[to + k] = levels[from + k] / LEVELS;
      engine.label[i] = settings.told ? digit % DIGITS.length : 0;
    }

    /**
     * Draw the noise of a batch.
     * @param {() => number} source
     * @param {number} n
     * @param {boolean} shared - one ε for all images
     */
    function drawNoise(source, n, shared) {
      const noise = engine.epsilon.subarray(0, n * latents);
      drawNormals(source, noise);
      if (shared) for (let i = 1; i < n; i++) noise.copyWithin(i * latents, 0, latents);
    }

    function shuffle() {
      order = Array.from({ length: countDigits() }, (_, i) => i);
      for (let i = order.length - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1));
        [order[i], order[j]] = [order[j], order[i]];
      }
      next = 0;
    }

    const countDigits = () => Math.min(settings.digits, data.train.length / PIXELS);

    const readPower = () => (settings.logSigma ? 1 : 0.5);

    /**
     * Change settings, but not those that need a new run.
     * @param {Partial<Settings>} changes
     */
    function set(changes) {
      settings = { ...settings, ...changes };
      if (changes.digits) order = []; // the next step starts an epoch
    }

    /**
     * Take a step of training.
     * @returns {Losses} of its batch, before the step
     */
    function step() {
      const { pixels, beta, learningRate, batchSize } = settings;
      const n = Math.min(batchSize, countDigits(), CAPACITY);
      if (next + n > order.length) shuffle(); // what is left of an epoch and fills no batch is left out
      for (let i = 0; i < n; i++) load(i, data.train, order[next++]);
      drawNoise(random, n, settings.oneEpsilon);
      state.step += 1;
      state.epoch += n / countDigits();
      const objective = { weight: pixels === "sum" ? 1 : 1 / PIXELS, beta, power: readPower() };
      // Adam's means start at 0. Its correction makes up for that in the first steps. Keras computes it in 32 bits.
      const [part1, part2] = [0.9, 0.999].map((share) => 1 - Math.fround(Math.fround(share) ** state.step));
      const correction = Math.sqrt(part2) / part1;
      return engine.step(n, objective, learningRate * correction);
    }

    /**
     * Measure the losses of the test digits.
     * @param {{atMean: boolean, oneEpsilon: boolean, isTrue: boolean}} how
     * @returns {{losses: Losses, codes: Float32Array}}
     */
    function measure({ atMean, oneEpsilon, isTrue }) {
      const source = makeRandom(TEST_SEED);
      const codes = new Float32Array(testDigits * latents);
      const sum = { reconstruction: 0, kl: 0 };
      for (let first = 0; first < testDigits; first += TEST_BATCH) {
        for (let i = 0; i < TEST_BATCH; i++) load(i, data.test, first + i);
        drawNoise(source, TEST_BATCH, oneEpsilon);
        if (atMean) engine.epsilon.fill(0);
        const { reconstruction, kl } = engine.score(TEST_BATCH, readPower());
        const size = TEST_BATCH * latents;
        codes.set(engine.zMean.subarray(0, size), first * latents);
        sum.reconstruction += (reconstruction * TEST_BATCH) / testDigits;
        if (!isTrue || !settings.logSigma) sum.kl += (kl * TEST_BATCH) / testDigits;
        else {
          // z was drawn with σ = exp(head), so its log variance is twice the head.
          const logVar = Float64Array.from(engine.zLogVar.subarray(0, size), (value) => 2 * value);
          sum.kl += cvaeModel.klLoss(Float64Array.from(engine.zMean.subarray(0, size)), logVar) / testDigits;
        }
      }
      return { losses: sum, codes };
    }

    /** @returns {Evaluation} */
    function evaluate() {
      const { atMean, oneEpsilon, logSigma } = settings;
      const { losses, codes } = measure({ atMean, oneEpsilon, isTrue: false });
      const isWrong = atMean || oneEpsilon || logSigma;
      const truth = isWrong ? measure({ atMean: false, oneEpsilon: false, isTrue: true }).losses : losses;
      return { test: losses, truth, codes };
    }

    /**
     * Decode the ten digits at z = 0, and the grid of one digit: z1 downwards, z2 to the right. One latent fills the grid
     * row by row, and a third one is 0.
     * @param {number} digit
     * @returns {Pictures}
     */
    function draw(digit) {
      const z = new Float32Array((DIGITS.length + places) * latents);
      for (let i = 0; i < places; i++) {
        const at = (DIGITS.length + i) * latents;
        if (latents === 1) z[at] = quantiles[i];
        else z.set([quantiles[Math.floor(i / GRID)], quantiles[i % GRID]], at);
      }
      const labels = [...DIGITS, ...Array(places).fill(digit)].map((label) => (settings.told ? label : 0));
      const pictures = Uint8Array.from(engine.decode(z, labels), (mean) => Math.round(255 * mean));
      const row = DIGITS.length * PIXELS;
      return { row: pictures.slice(0, row), grid: pictures.slice(row) };
    }

    return { engine, state, set, step, evaluate, draw, getSettings: () => settings };
  }

  return { DEFAULTS, makeRandom, drawNormals, findQuantiles, unpackDigits, create };
};

const cvaeRun = makeCvaeRun();
