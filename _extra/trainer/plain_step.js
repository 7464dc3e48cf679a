// @ts-check
/*
 * The training step of the conditional VAE in plain JavaScript, one image after the other, on the forward pass of
 * model.js. It is the step to read. A page uses it where it cannot run step.ts, which computes the same many times faster.
 */
"use strict";

/**
 * What a step minimises: weight × reconstruction loss + beta × KL loss, averaged over the batch.
 * @typedef {object} Objective
 * @property {number} weight - of the reconstruction loss: 1 for the sum over the pixels, 1 / 784 for their mean
 * @property {number} beta - of the KL loss
 * @property {number} power - σ = exp(power × z_log_var): 1/2, or 1 where the head is taken for a log σ
 */

/** @typedef {{reconstruction: number, kl: number}} Losses - nats an image, summed over the pixels, over the latents */

/**
 * What computes for a run of training. A caller fills `x`, `label` and `epsilon` before it calls a method.
 * @typedef {object} Engine
 * @property {"WebAssembly" | "JavaScript"} name
 * @property {Float32Array} x - of each image 784 pixels in [0, 1]
 * @property {Int32Array} label - of each image a class
 * @property {Float32Array} epsilon - of each image one number a latent
 * @property {Float32Array} zMean - the same shape; where `step` and `score` leave the means of the posteriors
 * @property {Float32Array} zLogVar - and the log variances
 * @property {(n: number, objective: Objective, rate: number) => Losses} step - trains on n images; returns their losses
 *   before the step; the rate is correctRate's
 * @property {(n: number, power: number) => Losses} score - computes the losses of n images
 * @property {(z: Float32Array, label: number[]) => Float32Array} decode - from codes to the means of the pixels
 * @property {() => Model} getModel - a copy of the weights
 * @property {(model: Model) => void} setModel
 * @property {() => Model} getGradient - a copy of the gradient that the last step went down
 */

const makeCvaePlainStep = () => {
  const { dense, relu, encode, decode, sigmoid, makeLabel, reconstructionLoss, klLoss } = cvaeModel;

  const PIXELS = 784;
  const CLASSES = 10;

  /** @typedef {Record<keyof Model, {kernel: Float32Array, bias: Float32Array}>} Arrays - one array for each of a model */

  /**
   * The shapes of the layers: inputs and outputs.
   * @param {number} hidden
   * @param {number} latents
   * @returns {Record<keyof Model, [number, number]>}
   */
  const listShapes = (hidden, latents) => ({
    encoderHidden: [PIXELS + CLASSES, hidden],
    zMean: [hidden, latents],
    zLogVar: [hidden, latents],
    decoderHidden: [latents + CLASSES, hidden],
    xLogits: [hidden, PIXELS],
  });

  /**
   * Make one array for each array of a model.
   * @param {(layer: keyof Model, part: "kernel" | "bias", size: number) => Float32Array} make
   * @param {number} hidden
   * @param {number} latents
   * @returns {Arrays}
   */
  function makeArrays(make, hidden, latents) {
    const shapes = /** @type {[keyof Model, [number, number]][]} */ (Object.entries(listShapes(hidden, latents)));
    const layers = shapes.map(([layer, [inputs, outputs]]) => [
      layer,
      { kernel: make(layer, "kernel", inputs * outputs), bias: make(layer, "bias", outputs) },
    ]);
    return Object.fromEntries(layers);
  }

  /**
   * Make the engine.
   * @param {number} hidden - units in each of the two hidden layers
   * @param {number} latents
   * @param {number} capacity - images in a batch, at most
   * @returns {Engine}
   */
  function create(hidden, latents, capacity) {
    const zeros = () => makeArrays((layer, part, size) => new Float32Array(size), hidden, latents);
    const [model, gradient, m, v] = [zeros(), zeros(), zeros(), zeros()];
    const x = new Float32Array(capacity * PIXELS);
    const label = new Int32Array(capacity);
    const [epsilon, zMean, zLogVar] = [0, 0, 0].map(() => new Float32Array(capacity * latents));

    /**
     * Go forward and back through one image: add its share to the gradient, and return its losses.
     * @param {number} i - the image
     * @param {number} n - images in the batch
     * @param {Objective} objective
     * @returns {Losses}
     */
    function learn(i, n, { weight, beta, power }) {
      const image = x.subarray(i * PIXELS, (i + 1) * PIXELS);
      const noise = epsilon.subarray(i * latents, (i + 1) * latents);
      const y = makeLabel(label[i]);

      // Forward: the encoder, a draw of z by the reparameterisation, the decoder.
      const h1 = relu(dense(model.encoderHidden, image, y));
      const mean = dense(model.zMean, h1);
      const logVar = dense(model.zLogVar, h1);
      const sigma = logVar.map((value) => Math.exp(power * value));
      const z = mean.map((value, j) => value + sigma[j] * noise[j]);
      const h2 = relu(dense(model.decoderHidden, z, y));
      const logits = dense(model.xLogits, h2);

      // Back: the gradient of the loss by each quantity above, from the last to the first.
      // By a logit a, the gradient of softplus(a) - x a is sigmoid(a) - x.
      const byLogits = sigmoid(logits).map((p, pixel) => (weight / n) * (p - image[pixel]));
      const byH2 = goBack("xLogits", byLogits, h2);
      const byZ = goBack("decoderHidden", byH2, z, y);
      // To the gradient from the decoder, through z, comes that of the KL loss.
      const byMean = mean.map((value, j) => byZ[j] + (beta / n) * value);
      const klByLogVar = logVar.map((value) => (beta / n) * 0.5 * (Math.exp(value) - 1));
      const byLogVar = klByLogVar.map((value, j) => value + byZ[j] * power * sigma[j] * noise[j]);
      const byH1 = goBack("zMean", byMean, h1);
      goBack("zLogVar", byLogVar, h1).forEach((value, unit) => (byH1[unit] += value));
      goBack("encoderHidden", byH1, image, y);

      zMean.set(mean, i * latents);
      zLogVar.set(logVar, i * latents);
      return { reconstruction: reconstructionLoss(image, logits), kl: klLoss(mean, logVar) };
    }

    /**
     * Go back through a layer: add to the gradient by its weights, and return the gradient by its inputs. It is left 0
     * where the input is 0: there the weights get nothing, and a unit whose ReLU is at rest passes nothing on.
     * @param {keyof Model} layer
     * @param {Float64Array} back - the gradient of the loss by the outputs of the layer
     * @param {(Float32Array | Float64Array)[]} inputs - vectors that follow each other, as for `dense`
     */
    function goBack(layer, back, ...inputs) {
      const { kernel } = model[layer];
      const by = gradient[layer];
      const n = back.length;
      const byInputs = new Float64Array(kernel.length / n);
      let input = 0;
      for (const vector of inputs) {
        for (let k = 0; k < vector.length; k++, input++) {
          const value = vector[k];
          if (value === 0) continue;
          let sum = 0;
          for (let j = 0, at = input * n; j < n; j++, at++) {
            by.kernel[at] += value * back[j];
            sum += kernel[at] * back[j];
          }
          byInputs[input] = sum;
        }
      }
      for (let j = 0; j < n; j++) by.bias[j] += back[j];
      return byInputs;
    }

    /**
     * Take a step of Adam, as Keras does: move each weight by rate × m / √v, where m is a running mean of its gradient
     * and v one of the gradient's square.
     * @param {number} rate
     */
    function update(rate) {
      forEachArray((weights, layer, part) => {
        const [by, m1, m2] = [gradient[layer][part], m[layer][part], v[layer][part]];
        for (let k = 0; k < weights.length; k++) {
          m1[k] += 0.1 * (by[k] - m1[k]);
          m2[k] += 0.001 * (by[k] * by[k] - m2[k]);
          weights[k] -= (rate * m1[k]) / (Math.sqrt(m2[k]) + 1e-7);
        }
      });
    }

    /** @param {(array: Float32Array, layer: keyof Model, part: "kernel" | "bias") => void} use */
    function forEachArray(use) {
      for (const [layer, { kernel, bias }] of Object.entries(model)) {
        use(kernel, /** @type {keyof Model} */ (layer), "kernel");
        use(bias, /** @type {keyof Model} */ (layer), "bias");
      }
    }

    /**
     * Average the losses of n images.
     * @param {number} n
     * @param {(i: number) => Losses} measure
     */
    function average(n, measure) {
      const sum = { reconstruction: 0, kl: 0 };
      for (let i = 0; i < n; i++) {
        const { reconstruction, kl } = measure(i);
        sum.reconstruction += reconstruction / n;
        sum.kl += kl / n;
      }
      return sum;
    }

    /** @type {Engine["step"]} */
    function step(n, objective, rate) {
      forEachArray((_, layer, part) => gradient[layer][part].fill(0));
      const losses = average(n, (i) => learn(i, n, objective));
      update(rate);
      return losses;
    }

    /** @type {Engine["score"]} */
    function score(n, power) {
      return average(n, (i) => {
        const image = x.subarray(i * PIXELS, (i + 1) * PIXELS);
        const y = makeLabel(label[i]);
        const { zMean: mean, zLogVar: logVar } = encode(model, image, y);
        const z = mean.map((value, j) => value + Math.exp(power * logVar[j]) * epsilon[i * latents + j]);
        zMean.set(mean, i * latents);
        zLogVar.set(logVar, i * latents);
        return { reconstruction: reconstructionLoss(image, decode(model, z, y)), kl: klLoss(mean, logVar) };
      });
    }

    /** @type {Engine["decode"]} */
    function decodeAll(z, labels) {
      const pictures = new Float32Array(labels.length * PIXELS);
      labels.forEach((y, i) => {
        const code = z.subarray(i * latents, (i + 1) * latents);
        pictures.set(sigmoid(decode(model, code, makeLabel(y))), i * PIXELS);
      });
      return pictures;
    }

    /** @param {Arrays} arrays */
    const copy = (arrays) => makeArrays((layer, part) => arrays[layer][part].slice(), hidden, latents);

    return {
      name: "JavaScript",
      ...{ x, label, epsilon, zMean, zLogVar, step, score, decode: decodeAll },
      getModel: () => copy(model),
      setModel: (from) => forEachArray((array, layer, part) => array.set(from[layer][part])),
      getGradient: () => copy(gradient),
    };
  }

  return { listShapes, makeArrays, create };
};

const cvaePlainStep = makeCvaePlainStep();
