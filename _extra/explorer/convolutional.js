// @ts-check
/*
 * The decoder of cvae_lib/convolutional.py in plain arithmetic. The page loads this file with the first model that
 * needs it.
 */
"use strict";

/** @typedef {Record<"decoderHidden" | "smallPicture" | "decoderConvolution1" | "decoderConvolution2", Layer>} ConvolutionalDecoder */

const cvaeConvolutional = (() => {
  const { dense, relu } = cvaeModel;

  const SIDE = 3; // of a kernel

  /**
   * Double the height and the width of a picture by a transposed convolution: each pixel of the input, times the kernel,
   * is added to the output from twice its place on. What lies beyond the output's edge is left out.
   * @param {Layer} layer - its kernel, row after row, (3, 3, output channels, input channels)
   * @param {Float64Array} input - row after row, (height, width, input channels)
   * @param {number} height - of the input
   * @param {number} width - of the input
   * @returns {Float64Array} (2 * height, 2 * width, output channels)
   */
  function enlarge({ kernel, bias }, input, height, width) {
    const [channels, depth] = [bias.length, input.length / (height * width)];
    const output = Float64Array.from({ length: 4 * height * width * channels }, (_, i) => bias[i % channels]);
    for (let pixel = 0; pixel < height * width; pixel++) {
      const [top, left] = [2 * Math.floor(pixel / width), 2 * (pixel % width)];
      for (let tap = 0; tap < SIDE * SIDE; tap++) {
        const [row, column] = [top + Math.floor(tap / SIDE), left + (tap % SIDE)];
        if (row >= 2 * height || column >= 2 * width) continue;
        for (let channel = 0; channel < channels; channel++) {
          const [weights, to] = [(tap * channels + channel) * depth, (row * 2 * width + column) * channels + channel];
          for (let i = 0; i < depth; i++) output[to] += kernel[weights + i] * input[pixel * depth + i];
        }
      }
    }
    return output;
  }

  /**
   * Decode a point of the latent plane: the logits of p(x | z, y).
   * @param {ConvolutionalDecoder} model
   * @param {ArrayLike<number>} z - 2 numbers
   * @param {ArrayLike<number>} label - the vector of the condition
   * @param {readonly number[]} shape - height, width and, of colour images, channels
   * @returns {Float64Array} a logit for each value of the image, row after row
   */
  function decode(model, z, label, [height, width, channels = 1]) {
    const [rows, columns] = [Math.ceil(height / 4), Math.ceil(width / 4)];
    const small = relu(dense(model.smallPicture, relu(dense(model.decoderHidden, z, label))));
    const half = relu(enlarge(model.decoderConvolution1, small, rows, columns));
    const whole = enlarge(model.decoderConvolution2, half, 2 * rows, 2 * columns);
    // What was drawn too large is cut at the end.
    const size = width * channels;
    const starts = Array.from({ length: height }, (_, row) => row * 4 * columns * channels);
    return Float64Array.from(starts.flatMap((start) => [...whole.subarray(start, start + size)]));
  }

  return { decode };
})();
