// @ts-check
/*
 * The frame around the panels: reads the data that the page has loaded, and mounts the panels in their place. loader.js
 * calls `cvaeExplorer.start` when the place comes into view.
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
 * What letters-2d.js and its like define.
 * @typedef {PackedWeights & {image_shape: number[], condition: Attribute[]}} PackedSubject
 */

/**
 * What a decoder draws.
 * @typedef {object} Subject
 * @property {(z: ArrayLike<number>, label: ArrayLike<number>) => Float64Array} decode - returns the logits of the pixels
 * @property {readonly number[]} shape - of its images: height, width and, in colour, channels
 * @property {readonly Attribute[]} attributes - what it is told, in the order of the label
 * @property {ArrayLike<number>[]} codes - for each class, z1 and z2 of the mean codes of images; empty if not known
 */

/**
 * What a panel computes with; what it did not ask for is missing from the model, or empty.
 * @typedef {object} Data
 * @property {Model} model
 * @property {ArrayLike<number>[]} codes - for each class, z1 and z2 of the mean codes of digits
 * @property {"training" | "test"} source - where these digits are from
 * @property {ArrayLike<number>[][]} tests - for each class, the pixels of test digits
 */

/**
 * What a panel works with.
 * @typedef {object} Tools
 * @property {() => Promise<Data>} load - loads the panel's data
 * @property {(what: string) => Promise<unknown>} loadMore - loads what loader.js lists as more of this name
 * @property {(name: string) => Promise<Subject>} loadSubject - loads a decoder of something else, such as "letters"
 * @property {(text: string) => void} announce - tells a screen reader once the messages have stopped
 * @property {string} still - the address of the picture that stands in the panel's place, "" if none does
 */

/**
 * A model that the reader trained on another page of the book, which opened this one.
 * @typedef {object} Gift
 * @property {Model} model
 * @property {Float32Array[]} codes - for each class, z1 and z2 of the mean codes of test digits
 * @property {string} story - how it was trained
 */

/** @typedef {(place: Element, tools: Tools) => Promise<void>} Mount - appends a panel and starts it */

const cvaeExplorer = (() => {
  const { DIGITS, unpack, parseWeights, decode } = cvaeModel;

  const ASK = "the trained model, please";
  const PATIENCE = 3000; // ms that the page which trained it has to answer
  const REST = 4000; // ms from the page's load until a panel that nobody touches may use an idle moment

  /** @type {Record<string, Mount>} */
  const mounts = {};

  /**
   * Make a panel known by its name.
   * @param {string} name - as in loader.js and in the attribute data-panels
   * @param {Mount} mount
   */
  function register(name, mount) {
    mounts[name] = mount;
  }

  /* ---- Data ---- */

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
   * @returns {Pick<Data, "codes" | "tests">}
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
   * Make a function that unpacks, once, what a script of data has defined.
   * @template Packed, Parsed
   * @param {string} variable - the global variable that the script defines
   * @param {(packed: Packed) => Parsed} parse
   * @returns {() => Parsed | {}} nothing as long as the script is not loaded
   */
  function makeReader(variable, parse) {
    /** @type {Parsed | undefined} */
    let parsed;
    return () => {
      const packed = /** @type {Record<string, any>} */ (globalThis)[variable];
      if (packed && !parsed) parsed = parse(packed);
      return parsed ?? {};
    };
  }

  const readDecoder = makeReader("cvaeDecoder", parseWeights);
  const readEncoder = makeReader("cvaeEncoder", parseWeights);
  const readDigits = makeReader("cvaeDigits", parseDigits);

  /**
   * Unpack a decoder of something else than digits.
   * @param {PackedSubject} packed
   * @returns {Subject}
   */
  function parseSubject(packed) {
    const { image_shape: shape, condition: attributes } = packed;
    const model = /** @type {any} */ (parseWeights(packed));
    return {
      decode: (z, label) =>
        model.smallPicture ? cvaeConvolutional.decode(model, z, label, shape) : decode(model, z, label),
      shape,
      attributes,
      codes: [],
    };
  }

  /** @type {Record<string, () => Subject | {}>} */
  const SUBJECTS = {
    fashion: makeReader("cvaeFashion2D", parseSubject),
    letters: makeReader("cvaeLetters2D", parseSubject),
  };

  /** @returns {Data} */
  const readData = () => ({
    model: /** @type {Model} */ ({ ...readDecoder(), ...readEncoder() }),
    ...{ codes: [], tests: [], ...readDigits() },
    source: "training",
  });

  /**
   * Ask the page that opened this one for the model that the reader trained there. Such a message passes between pages
   * from disk, too, which share no storage in every browser.
   * @returns {Promise<Gift | null>} null if no page answers, or it has been closed
   */
  function askForGift() {
    return new Promise((resolve) => {
      addEventListener("message", ({ source, data }) => {
        if (source === opener && data?.model) resolve(data);
      });
      opener?.postMessage(ASK, "*");
      setTimeout(() => resolve(null), opener ? PATIENCE : 0);
    });
  }

  /**
   * Say whose model the panels show, on a page that was opened to show the reader's own.
   * @param {Element} live
   * @param {Gift | null} gift
   */
  function tellOrigin(live, gift) {
    const note = document.createElement("p");
    note.textContent = gift
      ? `This is the model that you trained: ${gift.story}. `
      : "The page that trained the model does not answer, so this is the book's model. ";
    if (gift) {
      const link = Object.assign(document.createElement("a"), {
        href: location.pathname,
        textContent: "Take the book's.",
      });
      note.append(link);
    }
    live.append(note);
  }

  /* ---- Panels ---- */

  /**
   * Call `use` once: when a pointer, the focus or a key first comes to the element, or else when the page has been
   * idle for a while, unless the reader asks to save data.
   * @param {Element} element
   * @param {() => void} use
   */
  function onFirstUse(element, use) {
    const once = new AbortController();
    const { signal } = once;
    function begin() {
      if (signal.aborted) return;
      once.abort();
      use();
    }
    // A screen reader may send nothing but a click.
    ["pointerenter", "pointerdown", "focusin", "keydown", "click"].forEach((event) =>
      element.addEventListener(event, begin, { signal }),
    );
    const { connection } = /** @type {Navigator & {connection?: {saveData: boolean}}} */ (navigator);
    if (connection?.saveData) return;
    const whenIdle = globalThis.requestIdleCallback ?? setTimeout; // Safari has no idle callback
    const rest = () => setTimeout(() => whenIdle(begin), REST);
    if (document.readyState === "complete") rest();
    else addEventListener("load", rest, { signal });
  }

  /**
   * Build the panels. What the page put into `place` is kept, for print.
   * @param {HTMLElement} place
   * @param {{name: string, loadData: () => Promise<unknown>, loadMore: (what: string) => Promise<unknown>}[]} panels -
   *   their names, and what loads their data
   */
  async function start(place, panels) {
    const live = document.createElement("div");
    live.className = "cvae-live";
    const status = document.createElement("p");
    status.className = "cvae-hidden";
    status.setAttribute("role", "status");
    const announce = cvaeElements.makeAnnounce(status);
    const picture = place.querySelector("img")?.src ?? "";
    const isForGift = new URLSearchParams(location.search).has("trained");
    const gift = isForGift ? await askForGift() : null;
    if (isForGift) tellOrigin(live, gift);
    /** @returns {Data} */
    const read = () => (gift ? { ...readData(), ...gift, source: "test" } : readData());
    for (const { name, loadData, loadMore } of panels) {
      const load = async () => (await loadData(), read());
      /** @param {string} subject */
      const loadSubject = async (subject) => (await loadMore(subject), /** @type {Subject} */ (SUBJECTS[subject]()));
      await mounts[name](live, { announce, still: picture, load, loadMore, loadSubject });
    }
    live.append(status);

    const still = document.createElement("div");
    still.className = "cvae-still";
    still.append(...place.childNodes);
    place.append(still, live);
    place.dataset.started = "";
  }

  return { ASK, register, onFirstUse, start };
})();
