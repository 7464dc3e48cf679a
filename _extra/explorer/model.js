/*
 * The conditional VAE of chapter 2 in plain arithmetic: weights, encoder, decoder, the two losses, and the way from
 * pen strokes to a picture like MNIST's. No drawing and no page: it runs in node too, where a test compares it with
 * Keras.
 *
 * A classic script and not an ES module, because a browser imports no module into a page that is opened from disk.
 */
(function () {
  "use strict";

  const SIDE = 28;
  const N_X = SIDE * SIDE;
  const N_Y = 10;

  /* ---- Weights ---- */

  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const TYPES = { float32: Float32Array, int16: Int16Array, uint8: Uint8Array };

  /**
   * Unpack one array that cvae_lib/export.py packed, in row-major order.
   * @param {{shape: number[], type: string, data: string, scale?: object}} packed
   * @returns {Float32Array|Int16Array|Uint8Array}
   */
  function unpack(packed) {
    if (packed.type === "rows12") return unpackRows(packed);
    const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
    return new TYPES[packed.type](bytes.buffer);
  }

  /** Unpack a kernel of 12 bits a weight, two characters of base64, times the scale of its row. */
  function unpackRows({ shape: [rows, columns], data, scale }) {
    const value = new Uint8Array(128);
    for (let i = 0; i < 64; i++) value[ALPHABET.charCodeAt(i)] = i;
    const scales = unpack(scale);
    const kernel = new Float32Array(rows * columns);
    for (let i = 0; i < kernel.length; i++) {
      const whole = (value[data.charCodeAt(2 * i)] << 6) | value[data.charCodeAt(2 * i + 1)];
      kernel[i] = (whole - 2047) * scales[Math.floor(i / columns)];
    }
    return kernel;
  }

  /**
   * Unpack the weights of a model.
   * @param {{arrays: Object<string, object>}} packed - the object that weights.js defines
   * @returns {Object<string, {kernel: Float32Array, bias: Float32Array}>} one entry a dense layer; a kernel has one
   *     row for each input
   */
  function parseWeights(packed) {
    const layers = {};
    for (const [path, array] of Object.entries(packed.arrays)) {
      const [layer, variable] = path.split("/");
      layers[layer] = { ...layers[layer], [variable]: unpack(array) };
    }
    return layers;
  }

  /* ---- The two networks ---- */

  /**
   * Compute bias + input · kernel. Inputs that are zero are skipped: most pixels, half of the hidden units, and nine
   * of ten entries of a label are.
   * @param {{kernel: Float32Array, bias: Float32Array}} layer
   * @param {ArrayLike<number>[]} inputs - vectors that follow each other, as after a Concatenate
   * @returns {Float64Array}
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

  const relu = (values) => values.map((value) => (value > 0 ? value : 0));

  /**
   * Encode an image: q(z | x, y).
   * @param {object} model - from parseWeights
   * @param {ArrayLike<number>} x - 784 pixels in [0, 1], row by row
   * @param {ArrayLike<number>} label - 10 numbers, one-hot
   * @returns {{zMean: Float64Array, zLogVar: Float64Array}} 2 numbers each
   */
  function encode(model, x, label) {
    const hidden = relu(dense(model.encoder_hidden, x, label));
    return { zMean: dense(model.z_mean, hidden), zLogVar: dense(model.z_log_var, hidden) };
  }

  /**
   * Decode a point of the latent plane: the logits of p(x | z, y).
   * @param {object} model - from parseWeights
   * @param {ArrayLike<number>} z - 2 numbers
   * @param {ArrayLike<number>} label - 10 numbers, one-hot or a blend
   * @returns {Float64Array} 784 logits; their sigmoid is the picture
   */
  function decode(model, z, label) {
    return dense(model.x_logits, relu(dense(model.decoder_hidden, z, label)));
  }

  /** Turn logits into the means of the pixels, in [0, 1]. */
  const sigmoid = (logits) => logits.map((logit) => 1 / (1 + Math.exp(-logit)));

  /**
   * Make a label: one-hot for `first`, moved by `share` (0 to 1) towards one-hot for `second`.
   * @returns {Float64Array} 10 numbers
   */
  function makeLabel(first, second = first, share = 0) {
    const label = new Float64Array(N_Y);
    label[first] += 1 - share;
    label[second] += share;
    return label;
  }

  /* ---- The two losses, in nats an image ---- */

  /** softplus(a) = log(1 + e^a), without overflow. */
  const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

  /** The reconstruction loss, equation (3) of chapter 2: -log p(x | z, y), summed over the pixels. */
  function reconstructionLoss(x, logits) {
    return logits.reduce((sum, logit, i) => sum + softplus(logit) - x[i] * logit, 0);
  }

  /** The KL loss, equation (4) of chapter 2: KL(N(zMean, exp(zLogVar)) || N(0, I)), summed over the latents. */
  function klLoss(zMean, zLogVar) {
    return zMean.reduce((sum, mean, j) => sum + 0.5 * (Math.exp(zLogVar[j]) + mean * mean - 1 - zLogVar[j]), 0);
  }

  /* ---- From pen strokes to pixels ---- */

  const BOX = 20; // MNIST's digits fill a box of 20 by 20 pixels
  const CENTRE = 14; // and have their centre of mass at the middle of pixel 14
  const PEN = 2.7; // the mean width of a stroke in MNIST, in pixels
  const MAX_ZOOM = 4; // a dot is not blown up to fill the box

  /**
   * Draw strokes as MNIST does: fit into a box of 20 by 20 pixels, shades of grey at the edges, centre of mass to the
   * middle.
   * @param {number[][][]} strokes - each a list of points [x, y], in pixels of a 28 by 28 pad
   * @returns {Float32Array} 784 pixels in [0, 1]; all zero for no strokes
   */
  function rasterise(strokes) {
    const points = strokes.flat();
    if (points.length === 0) return new Float32Array(N_X);
    const xs = points.map(([x]) => x);
    const ys = points.map(([, y]) => y);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    // The pen's own width, with its soft edge, is in the box too.
    const zoom = Math.min(MAX_ZOOM, (BOX - PEN - 1) / Math.max(right - left, bottom - top));
    const move = (dx, dy) =>
      strokes.map((stroke) =>
        stroke.map(([x, y]) => [(x - (left + right) / 2) * zoom + dx, (y - (top + bottom) / 2) * zoom + dy]),
      );
    const [x, y] = centreOfMass(ink(move(CENTRE, CENTRE)));
    return ink(move(2 * CENTRE - x, 2 * CENTRE - y));
  }

  /** The grey value of each pixel: 1 inside a stroke, falling to 0 over one pixel at its edge. */
  function ink(strokes) {
    const pixels = new Float32Array(N_X);
    const reach = PEN / 2 + 0.5;
    for (const stroke of strokes) {
      stroke.forEach((end, i) => {
        const start = stroke[Math.max(i - 1, 0)];
        const low = (axis) => Math.max(0, Math.ceil(Math.min(start[axis], end[axis]) - reach));
        const high = (axis) => Math.min(SIDE - 1, Math.floor(Math.max(start[axis], end[axis]) + reach));
        for (let y = low(1); y <= high(1); y++) {
          for (let x = low(0); x <= high(0); x++) {
            const grey = Math.min(1, reach - distanceToSegment(x, y, start, end));
            if (grey > pixels[y * SIDE + x]) pixels[y * SIDE + x] = grey;
          }
        }
      });
    }
    return pixels;
  }

  function distanceToSegment(x, y, [x0, y0], [x1, y1]) {
    const [dx, dy] = [x1 - x0, y1 - y0];
    const length2 = dx * dx + dy * dy;
    const t = length2 === 0 ? 0 : Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length2));
    return Math.hypot(x - x0 - t * dx, y - y0 - t * dy);
  }

  function centreOfMass(pixels) {
    let [mass, x, y] = [0, 0, 0];
    pixels.forEach((grey, i) => {
      mass += grey;
      x += grey * (i % SIDE);
      y += grey * Math.floor(i / SIDE);
    });
    return [x / mass, y / mass];
  }

  globalThis.cvaeModel = {
    SIDE,
    unpack,
    parseWeights,
    encode,
    decode,
    sigmoid,
    makeLabel,
    reconstructionLoss,
    klLoss,
    rasterise,
  };
})();
