// @ts-check
/*
 * The training step of step.ts as an engine: hands over a batch and takes back losses, codes and weights. It has the
 * methods of plain_step.js, and a test compares the two.
 */
"use strict";

/**
 * What step.ts exports. Its comments say what each function does.
 * @typedef {object} StepExports
 * @property {WebAssembly.Memory} memory
 * @property {(hidden: number, latents: number, capacity: number) => void} create
 * @property {(n: number) => void} encode
 * @property {(n: number, power: number) => number} sample
 * @property {(n: number) => void} decode
 * @property {(n: number, weight: number) => number} score
 * @property {(n: number, beta: number, power: number, rate: number) => void} backward
 * @property {(layer: number) => number} weightsOf
 * @property {(layer: number) => number} gradientOf
 * @property {() => number} xAddress
 * @property {() => number} labelAddress
 * @property {() => number} epsilonAddress
 * @property {() => number} zAddress
 * @property {() => number} headsAddress
 * @property {() => number} logitsAddress
 */

const makeCvaeWasmStep = () => {
  const { sigmoid } = cvaeModel;
  const { listShapes, makeArrays } = cvaePlainStep;

  const PIXELS = 784;
  // As in step.ts: both heads are one layer of 16 outputs, of which the log variances start at the eighth.
  const HEADS = 16;
  const LOG_VAR = 8;
  /** @type {(keyof Model)[][]} */
  const STORED = [["encoderHidden"], ["zMean", "zLogVar"], ["decoderHidden"], ["xLogits"]];

  /**
   * Make the engine. Throws an error where the browser knows no WebAssembly or no SIMD.
   * @param {BufferSource} binary
   * @param {number} hidden - units in each of the two hidden layers, a multiple of 16
   * @param {number} latents
   * @param {number} capacity - images in a batch, at most
   * @returns {Engine}
   */
  function create(binary, hidden, latents, capacity) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary));
    const code = /** @type {StepExports} */ (/** @type {unknown} */ (exports));
    code.create(hidden, latents, capacity);
    // From here on the memory does not grow, so these stay valid.
    const { buffer } = code.memory;
    const x = new Float32Array(buffer, code.xAddress(), capacity * PIXELS);
    const label = new Int32Array(buffer, code.labelAddress(), capacity);
    const epsilon = new Float32Array(buffer, code.epsilonAddress(), capacity * latents);
    const z = new Float32Array(buffer, code.zAddress(), capacity * latents);
    const heads = new Float32Array(buffer, code.headsAddress(), capacity * HEADS);
    const logits = new Float32Array(buffer, code.logitsAddress(), capacity * PIXELS);
    const [zMean, zLogVar] = [0, 0].map(() => new Float32Array(capacity * latents));
    const shapes = listShapes(hidden, latents);

    /**
     * Go forward through both networks.
     * @param {number} n
     * @param {number} weight - of the gradient that the way back begins with
     * @param {number} power
     * @returns {Losses}
     */
    function forward(n, weight, power) {
      code.encode(n);
      const kl = code.sample(n, power) / n;
      code.decode(n);
      const reconstruction = code.score(n, weight / n) / n;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < latents; j++) {
          zMean[i * latents + j] = heads[i * HEADS + j];
          zLogVar[i * latents + j] = heads[i * HEADS + LOG_VAR + j];
        }
      }
      return { reconstruction, kl };
    }

    /** @type {Engine["step"]} */
    function step(n, { weight, beta, power }, rate) {
      const losses = forward(n, weight, power);
      code.backward(n, beta / n, power, rate);
      return losses;
    }

    /** @type {Engine["decode"]} */
    function decode(codes, labels) {
      const pictures = new Float32Array(labels.length * PIXELS);
      for (let first = 0; first < labels.length; first += capacity) {
        const some = labels.slice(first, first + capacity);
        z.set(codes.subarray(first * latents, (first + some.length) * latents));
        label.set(some);
        code.decode(some.length);
        pictures.set(sigmoid(Float64Array.from(logits.subarray(0, some.length * PIXELS))), first * PIXELS);
      }
      return pictures;
    }

    /**
     * Go through all numbers of a model, in its arrays and in the memory of the binary.
     * @param {(layer: number) => number} addressOf
     * @param {Model} model
     * @param {(array: Float32Array, k: number, memory: Float32Array, at: number) => void} use
     */
    function pairUp(addressOf, model, use) {
      STORED.forEach((names, layer) => {
        const width = names.length === 1 ? shapes[names[0]][1] : HEADS;
        names.forEach((name, head) => {
          const [inputs, outputs] = shapes[name];
          const memory = new Float32Array(buffer, addressOf(layer), (inputs + 1) * width);
          const { kernel, bias } = /** @type {{kernel: Float32Array, bias: Float32Array}} */ (model[name]);
          for (let row = 0; row <= inputs; row++) {
            for (let column = 0; column < outputs; column++) {
              const at = row * width + head * LOG_VAR + column;
              if (row < inputs) use(kernel, row * outputs + column, memory, at);
              else use(bias, column, memory, at);
            }
          }
        });
      });
      return model;
    }

    /** @param {(layer: number) => number} addressOf */
    function read(addressOf) {
      const model = makeArrays((layer, part, size) => new Float32Array(size), hidden, latents);
      return pairUp(addressOf, model, (array, k, memory, at) => (array[k] = memory[at]));
    }

    return {
      name: "WebAssembly",
      ...{ x, label, epsilon, zMean, zLogVar, step, decode },
      score: (n, power) => forward(n, 0, power),
      getModel: () => read(code.weightsOf),
      setModel: (model) => pairUp(code.weightsOf, model, (array, k, memory, at) => (memory[at] = array[k])),
      getGradient: () => read(code.gradientOf),
    };
  }

  return { create };
};

const cvaeWasmStep = makeCvaeWasmStep();
