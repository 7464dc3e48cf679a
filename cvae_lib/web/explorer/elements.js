// @ts-check
/*
 * The elements that all panels are made of, on the page and in Jupyter, and how to write to them.
 */
"use strict";

const cvaeElements = (() => {
  const { SIDE } = cvaeModel;

  const QUIET = 800; // ms without a change before a screen reader is told

  /* ---- HTML ---- */

  /** @param {string | number} text */
  const escape = (text) => String(text).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

  /**
   * A canvas for one picture of 28 by 28 pixels.
   * @param {string} part - its name in data-part
   * @param {string} text - what a screen reader says of it
   */
  const picture = (part, text) =>
    `<canvas data-part="${part}" width="${SIDE}" height="${SIDE}" role="img" aria-label="${text}"></canvas>`;

  /**
   * Radio buttons, one for each name. The value of a button is its place in the list.
   * @param {string} group - its name, unique on the page
   * @param {string} legend
   * @param {readonly (string | number)[]} names - of the classes, say, as HTML
   * @param {number} [chosen] - the place of the name that is chosen at the start
   */
  const nameChoice = (group, legend, names, chosen) => `
    <fieldset class="cvae-names" style="--cvae-longest: ${Math.max(...names.map((name) => String(name).length))}">
      <legend>${legend}</legend>
      ${names
        .map(
          (name, i) => `<label><input type="radio" name="${group}" value="${i}"
          ${i === chosen ? "checked" : ""}><span>${name}</span></label>`,
        )
        .join("")}
    </fieldset>`;

  /**
   * Radio buttons, one for each picture. The value of a button is its place in the list.
   * @param {string} group - its name, unique on the page
   * @param {string} legend
   * @param {readonly string[]} names - what a screen reader says of each picture
   * @param {(i: number) => string} picture - the HTML of each picture, without a name of its own
   */
  const pictureChoice = (group, legend, names, picture) => `
    <fieldset class="cvae-tests">
      <legend>${legend}</legend>
      ${names
        .map(
          (name, i) => `<label><input type="radio" name="${group}" value="${i}" aria-label="${name}"
            >${picture(i)}</label>`,
        )
        .join("")}
    </fieldset>`;

  /**
   * A slider with its label and its value. A screen reader reads the value from the slider itself.
   * @param {string} part - its name in data-part; the label's is `part`-label and the value's is `part`-value
   * @param {string} label
   * @param {{min: number, max: number, step: number}} range
   */
  const slider = (part, label, { min, max, step }) => `
    <label class="cvae-slider">
      <span data-part="${part}-label">${label}</span>
      <input data-part="${part}" type="range" min="${min}" max="${max}" step="${step}" value="0">
      <span data-part="${part}-value" class="cvae-value" aria-hidden="true"></span>
    </label>`;

  /**
   * Make a name that nothing else on the page has, for a group of radio buttons or an id.
   * @param {string} stem
   */
  const makeUnique = (stem) => `${stem}-${Math.random().toString(36).slice(2)}`;

  /**
   * Append a panel.
   * @param {Element} place
   * @param {string} html - of one <section>
   * @returns {Element} the section
   */
  function addPanel(place, html) {
    place.insertAdjacentHTML("beforeend", html);
    return /** @type {Element} */ (place.lastElementChild);
  }

  /**
   * Find the elements of a panel that carry data-part.
   * @template {Record<string, new () => Element>} Kinds
   * @param {Element} root
   * @param {Kinds} kinds - from the name of each part to its class, such as HTMLInputElement
   * @returns {{[Name in keyof Kinds]: InstanceType<Kinds[Name]>}} from the name of each part to the element
   */
  function findParts(root, kinds) {
    const found = Object.entries(kinds).map(([name, Kind]) => {
      const part = root.querySelector(`[data-part="${name}"]`);
      if (!(part instanceof Kind)) throw new TypeError(`data-part="${name}": found ${part}, expected ${Kind.name}`);
      return [name, part];
    });
    return Object.fromEntries(found);
  }

  /**
   * Find the radio buttons of a group.
   * @param {Element} root
   * @param {string} name
   * @returns {NodeListOf<HTMLInputElement>}
   */
  const findRadios = (root, name) => root.querySelectorAll(`input[name="${name}"]`);

  /* ---- Showing ---- */

  /**
   * Write a number with a true minus sign, and without one if it rounds to zero.
   * @param {number} value
   * @param {number} places - digits after the point
   */
  function show(value, places = 2) {
    const text = value.toFixed(places);
    return /^-0\.?0*$/.test(text) ? text.slice(1) : text.replace("-", "−");
  }

  /**
   * Get the context to draw on a canvas with.
   * @param {HTMLCanvasElement} canvas
   */
  function penOf(canvas) {
    const pen = canvas.getContext("2d");
    if (!pen) throw new Error("this browser gives no 2d context to draw on a canvas with");
    return pen;
  }

  /**
   * Paint a picture.
   * @param {HTMLCanvasElement} canvas - as many pixels wide and high as the picture
   * @param {ArrayLike<number>} pixels - row by row, in [0, 1]: one value a pixel, 0 is black, or red, green and blue
   */
  function paint(canvas, pixels) {
    const image = new ImageData(canvas.width, canvas.height);
    const channels = pixels.length / (canvas.width * canvas.height);
    const offsets = channels === 1 ? [0, 0, 0] : [0, 1, 2]; // of red, green and blue
    for (let i = 0; channels * i < pixels.length; i++) {
      const rgb = offsets.map((offset) => Math.round(255 * pixels[channels * i + offset]));
      image.data.set([...rgb, 255], 4 * i);
    }
    penOf(canvas).putImageData(image, 0, 0);
  }

  /**
   * Wrap `render` so that many calls before the next frame render once.
   * @param {() => void} render
   */
  function oncePerFrame(render) {
    let isAsked = false;
    return () => {
      if (isAsked) return;
      isAsked = true;
      requestAnimationFrame(() => {
        isAsked = false;
        render();
      });
    };
  }

  /**
   * Make a function that tells a screen reader the last of many messages, once they have stopped for a while.
   * @param {Element} region - with role="status"
   * @returns {(text: string) => void}
   */
  function makeAnnounce(region) {
    /** @type {number | undefined} */
    let timer;
    return (text) => {
      clearTimeout(timer);
      timer = setTimeout(() => (region.textContent = text), QUIET);
    };
  }

  /* ---- The pointer ---- */

  /**
   * Follow the first finger, the pen, or the left button of the mouse while it is down on `element`.
   * @param {HTMLElement} element
   * @param {(event: PointerEvent, isFirst: boolean) => void} follow - called where it goes down and wherever it moves
   */
  function followPointer(element, follow) {
    element.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      element.setPointerCapture(event.pointerId);
      follow(event, true);
    });
    element.addEventListener("pointermove", (event) => {
      if (element.hasPointerCapture(event.pointerId)) follow(event, false);
    });
  }

  return {
    escape,
    picture,
    nameChoice,
    pictureChoice,
    slider,
    makeUnique,
    addPanel,
    findParts,
    findRadios,
    show,
    penOf,
    paint,
    oncePerFrame,
    makeAnnounce,
    followPointer,
  };
})();
