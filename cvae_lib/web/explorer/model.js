// @ts-check
/*
 * The conditional VAE of chapter 2 in plain arithmetic: its weights, the encoder, the decoder, labels, the two losses and
 * the prior. Nothing here touches the page, so this file also runs in node, where a test compares it with Keras.
 *
 * Like all files of this folder and of _extra/explorer it is a classic script, because a browser imports no module into
 * a page that is opened from disk. Classic scripts share one scope: each file defines one constant, whose name starts
 * with `cvae`, and the files that loader.js lists after it use that constant. In Jupyter the text of the scripts of this
 * folder, one after the other, and of panel.js is one module.
 */
"use strict";

/**
 * An array that cvae_lib/tools/export_explorer.py packed: its bytes in base64, in row-major order.
 * @typedef {{shape: number[], type: "float32" | "int16" | "uint8", data: string}} PackedBytes
 */

/**
 * A kernel as text: whole multiples of `step`, row after row, written as the function write_steps of that file says.
 * @typedef {{shape: number[], type: "steps", data: string, step: number}} PackedKernel
 */

/** @typedef {PackedBytes | PackedKernel} PackedArray */

/**
 * What each script of weights defines. The key of an array is "layer/variable".
 * @typedef {{model: string, sha256: string, arrays: Record<string, PackedArray>}} PackedWeights
 */

/**
 * A dense layer. The kernel has one row for each input, and the rows follow each other.
 * @typedef {{kernel: ArrayLike<number>, bias: ArrayLike<number>}} Layer
 */

/** @typedef {Record<"encoderHidden" | "zMean" | "zLogVar", Layer>} Encoder */

/** @typedef {Record<"decoderHidden" | "xLogits", Layer>} Decoder */

/** @typedef {Encoder & Decoder} Model */

/** @typedef {{title: string, names: readonly (string | number)[]}} Classes - such as digits or letters */

/** @typedef {{names: readonly string[], period: number}} Cyclic - numbers that begin again after a period, such as a hue */

/** @typedef {Classes | Cyclic} Attribute - what a decoder may be told, as in cvae_lib/data/conditions.py */

/** @typedef {{first: number, second: number, share: number}} Blend - of two classes, `share` of the second from 0 to 1 */

/** @typedef {{blend: Blend, angles: Record<string, number>}} Label - the classes, and each cyclic number by its name */

/** @typedef {[number, number]} Point - [z1, z2] in the latent plane, or [x, y] on the drawing pad */

// The trainer gives the text of this function to its worker.
const makeCvaeModel = () => {
  const SIDE = 28; // pixels
  const DIGITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]; // the classes

  /* ---- Weights ---- */

  const TYPES = { float32: Float32Array, int16: Int16Array, uint8: Uint8Array };

  // How a multiple is written: the character of 0, and those that move the next one by REACH.
  const [ZERO, MORE, LESS] = Array.from("O~}", (character) => character.charCodeAt(0));
  const REACH = 44;

  /**
   * Unpack an array.
   * @param {PackedArray} packed
   * @returns {Float32Array | Int16Array | Uint8Array} the elements, row after row
   */
  function unpack(packed) {
    if (packed.type === "steps") return unpackKernel(packed);
    const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
    return new TYPES[packed.type](bytes.buffer);
  }

  /**
   * Unpack a kernel.
   * @param {PackedKernel} packed
   * @returns {Float32Array}
   */
  function unpackKernel({ shape: [rows, columns], data, step }) {
    const kernel = new Float32Array(rows * columns);
    let [length, moved] = [0, 0];
    for (let i = 0; i < data.length; i++) {
      const code = data.charCodeAt(i);
      if (code === MORE) moved += REACH;
      else if (code === LESS) moved -= REACH;
      else {
        kernel[length++] = step * (code - ZERO + moved);
        moved = 0;
      }
    }
    return kernel;
  }

  /**
   * Unpack the weights of a network. A layer that is named z_mean in Keras is zMean here.
   * @param {PackedWeights} packed - the encoder or the decoder
   * @returns {Record<string, Layer>} the layers of this network
   */
  function parseWeights({ arrays }) {
    const names = Object.keys(arrays).flatMap((key) => (key.endsWith("/kernel") ? [key.slice(0, -7)] : []));
    const layers = names.map((name) => [
      name.replace(/_(.)/g, (_, letter) => letter.toUpperCase()),
      { kernel: unpack(arrays[`${name}/kernel`]), bias: unpack(arrays[`${name}/bias`]) },
    ]);
    return Object.fromEntries(layers);
  }

  /* ---- The two networks ---- */

  /**
   * Compute bias + input · kernel. Inputs that are zero are skipped, which most are: most pixels, half of the hidden
   * units, and nine of the ten entries of a label.
   * @param {Layer} layer
   * @param {ArrayLike<number>[]} inputs - vectors that follow each other, as after a Concatenate
   * @returns {Float64Array} one number for each unit of the layer
   */
  function dense({ kernel, bias }, ...inputs) {
    const output = Float64Array.from(bias);
    const n = output.length;
    let row = 0;
    for (const input of inputs) {
      for (let i = 0; i < input.length; i++, row += n) {
        const value = input[i];
        if (value === 0) continue;
        for (let j = 0; j < n; j++) output[j] += value * kernel[row + j];
      }
    }
    return output;
  }

  /** @param {Float64Array} values */
  const relu = (values) => values.map((value) => (value > 0 ? value : 0));

  /**
   * Encode an image: the posterior q(z | x, y).
   * @param {Encoder} model
   * @param {ArrayLike<number>} x - 784 pixels in [0, 1], row by row
   * @param {ArrayLike<number>} label - 10 numbers, one-hot
   * @returns {{zMean: Float64Array, zLogVar: Float64Array}} the mean and the log variance, 2 numbers each
   */
  function encode(model, x, label) {
    const hidden = relu(dense(model.encoderHidden, x, label));
    return { zMean: dense(model.zMean, hidden), zLogVar: dense(model.zLogVar, hidden) };
  }

  /**
   * Decode a point of the latent plane: the logits of p(x | z, y).
   * @param {Decoder} model
   * @param {ArrayLike<number>} z - 2 numbers
   * @param {ArrayLike<number>} label - 10 numbers, one-hot or a blend
   * @returns {Float64Array} 784 logits, whose sigmoid is the picture
   */
  function decode(model, z, label) {
    return dense(model.xLogits, relu(dense(model.decoderHidden, z, label)));
  }

  /**
   * Turn logits into the means of the pixels, in [0, 1].
   * @param {Float64Array} logits
   */
  const sigmoid = (logits) => logits.map((logit) => 1 / (1 + Math.exp(-logit)));

  /**
   * Make a label: one-hot for `first`, moved by `share` towards one-hot for `second`.
   * @param {number} first - a class, from 0 on
   * @param {number} second - a class, from 0 on
   * @param {number} share - 0 for `first` alone, 1 for `second` alone
   * @param {number} n - the number of classes
   * @returns {Float64Array} n numbers
   */
  function makeLabel(first, second = first, share = 0, n = DIGITS.length) {
    const label = new Float64Array(n);
    label[first] += 1 - share;
    label[second] += share;
    return label;
  }

  /**
   * Make the vector of a label: those of its attributes follow each other. Cyclic numbers become all their cosines, then
   * all their sines.
   * @param {readonly Attribute[]} attributes
   * @param {Label} label
   * @returns {number[]} n_y numbers
   */
  function encodeAttributes(attributes, { blend: { first, second, share }, angles }) {
    return attributes.flatMap((one) => {
      if ("title" in one) return [...makeLabel(first, second, share, one.names.length)];
      const turns = one.names.map((name) => (2 * Math.PI * angles[name]) / one.period);
      return [...turns.map(Math.cos), ...turns.map(Math.sin)];
    });
  }

  /* ---- The two losses, in nats an image ---- */

  /**
   * Compute log(1 + e^a) without overflow.
   * @param {number} a
   */
  const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

  /**
   * Compute the reconstruction loss, equation (2.3) of the book: -log p(x | z, y), summed over the pixels.
   * @param {ArrayLike<number>} x - 784 pixels in [0, 1]
   * @param {Float64Array} logits - 784 logits
   * @returns {number} nats
   */
  function reconstructionLoss(x, logits) {
    return logits.reduce((sum, logit, i) => sum + softplus(logit) - x[i] * logit, 0);
  }

  /**
   * Compute the KL loss, equation (2.4) of the book: KL(N(zMean, exp(zLogVar)) || N(0, I)), summed over the latents.
   * @param {Float64Array} zMean
   * @param {Float64Array} zLogVar
   * @returns {number} nats
   */
  function klLoss(zMean, zLogVar) {
    return zMean.reduce((sum, mean, j) => sum + 0.5 * (Math.exp(zLogVar[j]) + mean * mean - 1 - zLogVar[j]), 0);
  }

  /* ---- The prior N(0, I) ---- */

  /**
   * Draw z from the prior, by the method of Box and Muller.
   * @returns {Point}
   */
  function drawPrior() {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    const angle = 2 * Math.PI * Math.random();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  }

  /**
   * Compute the share of the prior that lies farther than `radius` from 0: exp(-r² / 2) in two dimensions. Up to a
   * factor this is also the prior's density at that radius.
   * @param {number} radius
   * @returns {number} in [0, 1]
   */
  const priorBeyond = (radius) => Math.exp((-radius * radius) / 2);

  return {
    SIDE,
    DIGITS,
    unpack,
    parseWeights,
    dense,
    relu,
    encode,
    decode,
    sigmoid,
    makeLabel,
    encodeAttributes,
    reconstructionLoss,
    klLoss,
    drawPrior,
    priorBeyond,
  };
};

const cvaeModel = makeCvaeModel();
