// @ts-check
/*
 * The weights of a model as a file: an .npz, which is a zip of NumPy arrays, with the names that the weights have in
 * Keras. `cvae_lib.pretrained.load_pretrained` reads it.
 */
"use strict";

const cvaeWeights = (() => {
  /** @type {Record<keyof Model, string>} */
  const NAMES = {
    encoderHidden: "encoder_hidden",
    zMean: "z_mean",
    zLogVar: "z_log_var",
    decoderHidden: "decoder_hidden",
    xLogits: "x_logits",
  };

  /**
   * Write an array as an .npy file: the magic string, version 1, the length of the header, the header, the numbers.
   * @param {Float32Array} array
   * @param {number[]} shape
   */
  function writeNpy(array, shape) {
    const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
    // Spaces and a line feed fill the header, so that the numbers start at a multiple of 64 bytes.
    const header = text.padEnd(Math.ceil((10 + text.length + 1) / 64) * 64 - 10 - 1) + "\n";
    const bytes = new Uint8Array(10 + header.length + 4 * array.length);
    bytes.set([0x93, ...encode("NUMPY"), 1, 0, header.length & 0xff, header.length >> 8]);
    bytes.set(encode(header), 10);
    const numbers = new DataView(bytes.buffer, 10 + header.length);
    array.forEach((value, i) => numbers.setFloat32(4 * i, value, true));
    return bytes;
  }

  /** @param {string} text - in ASCII */
  const encode = (text) => new TextEncoder().encode(text);

  const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    return crc;
  });

  /**
   * Compute the checksum of a zip's entry, CRC-32.
   * @param {Uint8Array} bytes
   */
  function computeCrc(bytes) {
    let crc = 0xffffffff;
    for (const byte of bytes) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
    return (crc ^ 0xffffffff) >>> 0;
  }

  /**
   * Write fields of 2 and 4 bytes, the lowest byte first.
   * @param {[2 | 4, number][]} fields
   */
  const writeFields = (fields) =>
    Uint8Array.from(fields.flatMap(([size, value]) => Array.from({ length: size }, (_, i) => value >>> (8 * i))));

  /**
   * Write a zip of files as they are, without compression: each with a header, then the directory, then its end.
   * @param {{name: string, bytes: Uint8Array}[]} files
   */
  function writeZip(files) {
    const parts = [];
    const directory = [];
    let offset = 0;
    for (const { name, bytes } of files) {
      const [title, size] = [encode(name), bytes.length];
      /** @type {[2 | 4, number][]} */
      const common = [
        [2, 20], // the version of zip that is needed: 2.0
        [2, 0], // no flags
        [2, 0], // stored
        [2, 0], // the time and the date: midnight, 1 January 1980, the first that there is
        [2, 33],
        [4, computeCrc(bytes)],
        [4, size],
        [4, size], // the same without compression
        [2, title.length],
        [2, 0], // no extra field
      ];
      parts.push(writeFields([[4, 0x04034b50], ...common]), title, bytes);
      directory.push(
        writeFields([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]),
        title,
      );
      offset += 30 + title.length + size;
    }
    const size = directory.reduce((sum, { length }) => sum + length, 0);
    const n = files.length;
    const end = writeFields([
      [4, 0x06054b50],
      [2, 0],
      [2, 0],
      [2, n],
      [2, n],
      [4, size],
      [4, offset],
      [2, 0],
    ]);
    return join([...parts, ...directory, end]);
  }

  /** @param {Uint8Array[]} parts */
  function join(parts) {
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /**
   * Write a model.
   * @param {Model} model
   * @returns {Uint8Array} the bytes of the file
   */
  function writeNpz(model) {
    const files = Object.entries(NAMES).flatMap(([key, name]) => {
      const { kernel, bias } = model[/** @type {keyof Model} */ (key)];
      const shape = [kernel.length / bias.length, bias.length];
      return [
        { name: `${name}/kernel.npy`, bytes: writeNpy(Float32Array.from(kernel), shape) },
        { name: `${name}/bias.npy`, bytes: writeNpy(Float32Array.from(bias), [bias.length]) },
      ];
    });
    return writeZip(files);
  }

  return { writeNpz };
})();
