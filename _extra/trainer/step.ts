/*
 * The training step of the conditional VAE of chapter 2, fast: forward pass, backward pass and Adam on a batch of
 * images. This is AssemblyScript, a language with the syntax of TypeScript that compiles to WebAssembly;
 * `npm run build-trainer` writes the binary to step_binary.js. plain_step.js is the same in plain JavaScript.
 *
 * Most numbers that a layer reads are 0: four of five pixels, about half of the hidden units, nine of ten entries of a
 * label. So what is not 0 is listed, and one product of a list with rows of numbers does most of the work: the outputs
 * of a layer are sums of the rows of its weights, and the gradient of the weights is sums of the rows of what comes
 * back. The processor takes four numbers in one instruction (SIMD), and 16 columns stay in its registers.
 */

const PIXELS = 784;
const CLASSES = 10;
const BLOCK = 64; // bytes: 16 numbers, which the width of every layer is a multiple of
const LOG_VAR = 8; // z_mean and z_log_var are one layer of 16 outputs: column 0 starts the means, 8 the log variances
const HEADS = 16; // the columns that no latent uses stay 0

/** For each of `n` rows, a list of what is not 0: a place, in bytes, and the number that stands there. */
class Lists {
  counts: usize;
  entries: usize;
  stride: usize; // bytes from one list to the next; the last entry is room for the one that makes a length even

  constructor(n: i32, longest: i32) {
    this.stride = (<usize>(longest + 1)) << 3;
    this.counts = allocate(n);
    this.entries = heap.alloc(<usize>n * this.stride);
  }

  start(i: i32): usize {
    return this.entries + <usize>i * this.stride;
  }

  end(i: i32): usize {
    return this.start(i) + ((<usize>load<i32>(this.counts + ((<usize>i) << 2))) << 3);
  }

  clear(i: i32): void {
    store<i32>(this.counts + ((<usize>i) << 2), 0);
  }

  add(i: i32, place: i32, value: f32): void {
    const end = this.end(i);
    store<i32>(end, place);
    store<f32>(end, value, 4);
    store<i32>(end, 0, 8); // what follows the last entry counts for nothing: 0 times the first row
    store<f32>(end, 0, 12);
    const count = this.counts + ((<usize>i) << 2);
    store<i32>(count, load<i32>(count) + 1);
  }
}

/** A dense layer. Its bias is one more row of weights, that of an input that is always 1. */
class Layer {
  inputs: i32;
  width: i32; // of the outputs
  size: i32; // the number of weights
  weights: usize; // the kernel row by row, then the bias
  gradient: usize; // of the loss, by the weights
  m: usize; // Adam's two moments
  v: usize;
  outputs: usize; // of each image, before the ReLU
  back: usize; // the gradient of the loss by these outputs
  listed: Lists; // for each image, its inputs that are not 0, the bias first; a place is that of a row of weights
  turned: Lists; // the same for each input: the images where it is not 0; a place is that of a row of `back`

  constructor(inputs: i32, width: i32, capacity: i32) {
    this.inputs = inputs;
    this.width = width;
    const size = (inputs + 1) * width;
    this.size = size;
    this.weights = allocate(size);
    this.gradient = allocate(size);
    this.m = allocate(size);
    this.v = allocate(size);
    this.outputs = allocate(capacity * width);
    this.back = allocate(capacity * width);
    this.listed = new Lists(capacity, inputs + 1);
    this.turned = new Lists(inputs + 1, capacity);
  }

  /** Begin the list of an image with the bias. */
  begin(image: i32): void {
    this.listed.clear(image);
    this.list(image, this.inputs, 1);
  }

  list(image: i32, input: i32, value: f32): void {
    this.listed.add(image, (input * this.width) << 2, value);
  }

  /** Compute the outputs of n images from their lists. */
  forward(n: i32): void {
    multiply(this.listed, n, this.weights, this.outputs, this.width);
  }

  /** Go back through the layer: the gradient by its weights, and by those inputs that are not 0: n rows at `to`. */
  backward(n: i32, to: usize): void {
    const rowBytes = this.width << 2;
    for (let input = 0; input <= this.inputs; input++) this.turned.clear(input);
    for (let image = 0; image < n; image++) {
      const end = this.listed.end(image);
      for (let p = this.listed.start(image); p < end; p += 8) {
        this.turned.add(load<i32>(p) / rowBytes, image * rowBytes, load<f32>(p, 4));
      }
    }
    multiply(this.turned, this.inputs + 1, this.back, this.gradient, this.width);
    if (to) multiplyBack(this, n, to);
  }

  /** Take a step of Adam, as Keras does; the rate has Adam's correction for the first steps in it. */
  update(rate: f32): void {
    const step = f32x4.splat(rate);
    const bytes = (<usize>this.size) << 2;
    for (let p: usize = 0; p < bytes; p += 16) {
      const g = v128.load(this.gradient + p);
      const m = mix(v128.load(this.m + p), g, 0.1);
      const v = mix(v128.load(this.v + p), f32x4.mul(g, g), 0.001);
      const move = f32x4.div(f32x4.mul(step, m), f32x4.add(f32x4.sqrt(v), f32x4.splat(1e-7)));
      v128.store(this.m + p, m);
      v128.store(this.v + p, v);
      v128.store(this.weights + p, f32x4.sub(v128.load(this.weights + p), move));
    }
  }
}

let latents: i32;
let encoderHidden!: Layer;
let heads!: Layer;
let decoderHidden!: Layer;
let xLogits!: Layer;
let x: usize; // pixels in [0, 1], 784 an image
let label: usize; // a class an image, i32
let epsilon: usize; // `latents` numbers an image
let z: usize; // the same
let backZ: usize; // the gradient of the loss by z and by the label

/** Make the networks, with weights of 0, and room for batches of up to `capacity` images. hidden: a multiple of 16. */
export function create(hidden: i32, n_z: i32, capacity: i32): void {
  latents = n_z;
  encoderHidden = new Layer(PIXELS + CLASSES, hidden, capacity);
  heads = new Layer(hidden, HEADS, capacity);
  decoderHidden = new Layer(n_z + CLASSES, hidden, capacity);
  xLogits = new Layer(hidden, PIXELS, capacity);
  x = allocate(capacity * PIXELS);
  label = allocate(capacity);
  epsilon = allocate(capacity * n_z);
  z = allocate(capacity * n_z);
  backZ = allocate(capacity * (n_z + CLASSES));
}

/** Encode n images: x and label to the outputs of the heads. */
export function encode(n: i32): void {
  for (let image = 0; image < n; image++) {
    encoderHidden.begin(image);
    const pixels = row(x, image, PIXELS);
    for (let i = 0; i < PIXELS; i++) {
      const value = load<f32>(pixels + ((<usize>i) << 2));
      if (value != 0) encoderHidden.list(image, i, value);
    }
    encoderHidden.list(image, PIXELS + load<i32>(row(label, image, 1)), 1);
  }
  encoderHidden.forward(n);
  listActive(encoderHidden, heads, n);
  heads.forward(n);
}

/** Draw z = z_mean + exp(power * z_log_var) * epsilon; return the KL loss, its sum over n images. power is 1/2. */
export function sample(n: i32, power: f32): f64 {
  let kl: f64 = 0;
  for (let image = 0; image < n; image++) {
    for (let j = 0; j < latents; j++) {
      const at = row(heads.outputs, image, HEADS) + ((<usize>j) << 2);
      const mean = load<f32>(at);
      const logVar = load<f32>(at, LOG_VAR << 2);
      const noise = load<f32>(row(epsilon, image, latents) + ((<usize>j) << 2));
      store<f32>(row(z, image, latents) + ((<usize>j) << 2), mean + Mathf.exp(power * logVar) * noise);
      kl += 0.5 * (Mathf.exp(logVar) + mean * mean - 1 - logVar);
    }
  }
  return kl;
}

/** Decode n codes: z and label to logits. */
export function decode(n: i32): void {
  for (let image = 0; image < n; image++) {
    decoderHidden.begin(image);
    for (let j = 0; j < latents; j++) {
      decoderHidden.list(image, j, load<f32>(row(z, image, latents) + ((<usize>j) << 2)));
    }
    decoderHidden.list(image, latents + load<i32>(row(label, image, 1)), 1);
  }
  decoderHidden.forward(n);
  listActive(decoderHidden, xLogits, n);
  xLogits.forward(n);
}

/**
 * Return the reconstruction loss, its sum over n images, and begin the way back: by a logit a, the gradient of
 * softplus(a) - x a is sigmoid(a) - x. `weight` multiplies this gradient.
 */
export function score(n: i32, weight: f32): f64 {
  const one = f32x4.splat(1);
  const zero = f32x4.splat(0);
  let loss: f64 = 0;
  for (let image = 0; image < n; image++) {
    const pixels = row(x, image, PIXELS);
    const logits = row(xLogits.outputs, image, PIXELS);
    const back = row(xLogits.back, image, PIXELS);
    let linear = zero;
    let product = one;
    for (let p: usize = 0; p < (<usize>PIXELS) << 2; p += 16) {
      const a = v128.load(logits + p);
      const target = v128.load(pixels + p);
      // softplus(a) = max(a, 0) + log(1 + exp(-|a|)). Instead of each logarithm, that of a product of 28: below 2^28.
      const e = expNegative(f32x4.neg(f32x4.abs(a)));
      const t = f32x4.add(one, e);
      product = f32x4.mul(product, t);
      linear = f32x4.add(linear, f32x4.sub(f32x4.max(a, zero), f32x4.mul(target, a)));
      if (p % 448 == 432) {
        loss += addLogs(product);
        product = one;
      }
      const sigmoid = f32x4.div(v128.bitselect(e, one, f32x4.lt(a, zero)), t);
      v128.store(back + p, f32x4.mul(f32x4.splat(weight), f32x4.sub(sigmoid, target)));
    }
    loss += <f64>addLanes(linear);
  }
  return loss;
}

/**
 * Go back through both networks, and take a step of Adam. `beta` is the weight of the KL loss over the number of images,
 * `power` is that of `sample`.
 */
export function backward(n: i32, beta: f32, power: f32, rate: f32): void {
  xLogits.backward(n, decoderHidden.back);
  decoderHidden.backward(n, backZ);
  for (let image = 0; image < n; image++) {
    for (let j = 0; j < latents; j++) {
      const at = row(heads.outputs, image, HEADS) + ((<usize>j) << 2);
      const to = row(heads.back, image, HEADS) + ((<usize>j) << 2);
      const logVar = load<f32>(at, LOG_VAR << 2);
      const noise = load<f32>(row(epsilon, image, latents) + ((<usize>j) << 2));
      const byZ = load<f32>(row(backZ, image, latents + CLASSES) + ((<usize>j) << 2));
      store<f32>(to, byZ + beta * load<f32>(at));
      const byLogVar = byZ * noise * power * Mathf.exp(power * logVar) + beta * 0.5 * (Mathf.exp(logVar) - 1);
      store<f32>(to, byLogVar, LOG_VAR << 2);
    }
  }
  heads.backward(n, encoderHidden.back);
  encoderHidden.backward(n, 0); // nobody asks for the gradient by pixels
  encoderHidden.update(rate);
  heads.update(rate);
  decoderHidden.update(rate);
  xLogits.update(rate);
}

/* ---- The two products ---- */

/** Compute n rows at `to`: row i is the sum, over the entries of list i, of value times the row of `from` at place. */
function multiply(lists: Lists, n: i32, from: usize, to: usize, width: i32): void {
  const rowBytes = (<usize>width) << 2;
  // All rows for 16 columns before the next 16: so these columns of `from` stay in the processor's nearest cache.
  for (let block: usize = 0; block < rowBytes; block += BLOCK) {
    const base = from + block;
    for (let i = 0; i < n; i++) {
      const end = lists.end(i);
      let a0 = f32x4.splat(0);
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      let b0 = a0;
      let b1 = a0;
      let b2 = a0;
      let b3 = a0;
      // Two entries at a time, in sums of their own, so that an addition need not wait for the one before it.
      for (let p = lists.start(i); p < end; p += 16) {
        const one = base + <usize>load<i32>(p);
        const two = base + <usize>load<i32>(p, 8);
        const u = v128.load32_splat(p, 4);
        const v = v128.load32_splat(p, 12);
        a0 = f32x4.add(a0, f32x4.mul(u, v128.load(one)));
        a1 = f32x4.add(a1, f32x4.mul(u, v128.load(one, 16)));
        a2 = f32x4.add(a2, f32x4.mul(u, v128.load(one, 32)));
        a3 = f32x4.add(a3, f32x4.mul(u, v128.load(one, 48)));
        b0 = f32x4.add(b0, f32x4.mul(v, v128.load(two)));
        b1 = f32x4.add(b1, f32x4.mul(v, v128.load(two, 16)));
        b2 = f32x4.add(b2, f32x4.mul(v, v128.load(two, 32)));
        b3 = f32x4.add(b3, f32x4.mul(v, v128.load(two, 48)));
      }
      const target = to + <usize>i * rowBytes + block;
      v128.store(target, f32x4.add(a0, b0));
      v128.store(target, f32x4.add(a1, b1), 16);
      v128.store(target, f32x4.add(a2, b2), 32);
      v128.store(target, f32x4.add(a3, b3), 48);
    }
  }
}

/**
 * Compute the gradient by the inputs of a layer, n rows at `to`: for each input that is not 0, what came back to the
 * image times the input's row of weights. For an input of 0 it is 0, as it must be where a ReLU is at rest.
 */
function multiplyBack(layer: Layer, n: i32, to: usize): void {
  const rowBytes = (<usize>layer.width) << 2;
  memory.fill(to, 0, (<usize>n * <usize>layer.inputs) << 2);
  for (let image = 0; image < n; image++) {
    const back = row(layer.back, image, layer.width);
    const target = row(to, image, layer.inputs);
    const end = layer.listed.end(image);
    // Two inputs at a time, without the bias, which comes first.
    for (let p = layer.listed.start(image) + 8; p < end; p += 16) {
      const one = layer.weights + <usize>load<i32>(p);
      const two = layer.weights + <usize>load<i32>(p, 8);
      let a0 = f32x4.splat(0);
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      let b0 = a0;
      let b1 = a0;
      let b2 = a0;
      let b3 = a0;
      for (let q: usize = 0; q < rowBytes; q += BLOCK) {
        const c0 = v128.load(back + q);
        const c1 = v128.load(back + q, 16);
        const c2 = v128.load(back + q, 32);
        const c3 = v128.load(back + q, 48);
        a0 = f32x4.add(a0, f32x4.mul(c0, v128.load(one + q)));
        a1 = f32x4.add(a1, f32x4.mul(c1, v128.load(one + q, 16)));
        a2 = f32x4.add(a2, f32x4.mul(c2, v128.load(one + q, 32)));
        a3 = f32x4.add(a3, f32x4.mul(c3, v128.load(one + q, 48)));
        b0 = f32x4.add(b0, f32x4.mul(c0, v128.load(two + q)));
        b1 = f32x4.add(b1, f32x4.mul(c1, v128.load(two + q, 16)));
        b2 = f32x4.add(b2, f32x4.mul(c2, v128.load(two + q, 32)));
        b3 = f32x4.add(b3, f32x4.mul(c3, v128.load(two + q, 48)));
      }
      // A place is a row's number times its bytes, and a number of the target has 4 bytes.
      store<f32>(
        target + <usize>(load<i32>(p) / layer.width),
        addLanes(f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3))),
      );
      if (p + 8 < end) {
        const sum = addLanes(f32x4.add(f32x4.add(b0, b1), f32x4.add(b2, b3)));
        store<f32>(target + <usize>(load<i32>(p, 8) / layer.width), sum);
      }
    }
  }
}

/** List for layer `to` the outputs of layer `from` that the ReLU lets through. */
function listActive(from: Layer, to: Layer, n: i32): void {
  for (let image = 0; image < n; image++) {
    to.begin(image);
    const outputs = row(from.outputs, image, from.width);
    for (let i = 0; i < from.width; i++) {
      const value = load<f32>(outputs + ((<usize>i) << 2));
      if (value > 0) to.list(image, i, value);
    }
  }
}

/* ---- Small things ---- */

/** Allocate numbers of 4 bytes. Memory that was never used is 0, and none is ever freed. */
function allocate(numbers: i32): usize {
  return heap.alloc((<usize>numbers) << 2);
}

/** The address of row i of an array with `width` numbers a row. */
function row(array: usize, i: i32, width: i32): usize {
  return array + ((<usize>(i * width)) << 2);
}

/** Move `old` towards `now` by a share. */
function mix(old: v128, now: v128, share: f32): v128 {
  return f32x4.add(old, f32x4.mul(f32x4.sub(now, old), f32x4.splat(share)));
}

function addLogs(a: v128): f64 {
  const pair = <f64>Mathf.log(f32x4.extract_lane(a, 0)) + <f64>Mathf.log(f32x4.extract_lane(a, 1));
  return pair + <f64>Mathf.log(f32x4.extract_lane(a, 2)) + <f64>Mathf.log(f32x4.extract_lane(a, 3));
}

function addLanes(a: v128): f32 {
  const pairs = f32x4.add(a, v128.shuffle<f32>(a, a, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/**
 * Compute exp(a) for a <= 0: a = n log 2 + r, exp(a) = 2^n exp(r), and exp(r) is a polynomial where |r| is at most half of
 * log 2. The coefficients are those of expf in the library Cephes; the error is that of a float32.
 */
function expNegative(a: v128): v128 {
  a = f32x4.max(a, f32x4.splat(-87)); // below, float32 has few digits or none
  const n = f32x4.nearest(f32x4.mul(a, f32x4.splat(1.44269504)));
  // log 2 in two parts, the first with few digits, so that n times it is exact.
  const r = f32x4.sub(f32x4.sub(a, f32x4.mul(n, f32x4.splat(0.693359375))), f32x4.mul(n, f32x4.splat(-2.1219444e-4)));
  let p = f32x4.splat(1.98756915e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), f32x4.splat(1));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23); // the bits of 2^n
  return f32x4.mul(p, power);
}

/* ---- Where things are ---- */

/** The address of the weights of a layer: 0 encoder_hidden, 1 the heads, 2 decoder_hidden, 3 x_logits. */
export function weightsOf(layer: i32): usize {
  return find(layer).weights;
}

/** The address of the gradient by these weights in the last step, in the same order. */
export function gradientOf(layer: i32): usize {
  return find(layer).gradient;
}

function find(layer: i32): Layer {
  return layer == 0 ? encoderHidden : layer == 1 ? heads : layer == 2 ? decoderHidden : xLogits;
}

export function xAddress(): usize {
  return x;
}

export function labelAddress(): usize {
  return label;
}

export function epsilonAddress(): usize {
  return epsilon;
}

export function zAddress(): usize {
  return z;
}

export function headsAddress(): usize {
  return heads.outputs;
}

export function logitsAddress(): usize {
  return xLogits.outputs;
}
