// @ts-check
/*
 * The second panel: the reader draws a digit or takes a test digit, and sees where the encoder puts it, what it costs
 * in nats, and what its code becomes under every label.
 */
"use strict";

const cvaePicturePanel = (() => {
  const { SIDE, DIGITS, encode, decode, sigmoid, makeLabel, reconstructionLoss, klLoss } = cvaeModel;
  const { picture, nameChoice, pictureChoice, addPanel, findParts, findRadios, show, paint, oncePerFrame } =
    cvaeElements;
  const { LIMIT, ELLIPSE, drawPlane } = cvaePlane;
  const { SIZE, startPad } = cvaePad;
  const { rasterise } = cvaeStrokes;

  const FIRST_TEST = { digit: 3, row: 1 }; // what the panel starts with
  const BLANK = new Float32Array(SIDE * SIDE);

  /**
   * The test digits, the first of each class in the first row.
   * @param {number} perClass - test digits of each class
   */
  const testChoice = (perClass) =>
    pictureChoice(
      "cvae-test",
      "Or take a test digit",
      Array.from({ length: perClass }, (_, row) => DIGITS.map((digit) => `${digit}, number ${row + 1}`)).flat(),
      () => `<canvas width="${SIDE}" height="${SIDE}" aria-hidden="true"></canvas>`,
    );

  /** @param {number} perClass - test digits of each class */
  const html = (perClass) => `
    <section aria-labelledby="cvae-picture-title">
      <h3 id="cvae-picture-title">From a picture to a point, and back</h3>
      <div class="cvae-columns">
        <div>
          <p class="cvae-title">Draw a digit</p>
          <canvas data-part="pad" class="cvae-pad" width="${SIZE}" height="${SIZE}" role="img"
            aria-label="Drawing pad for mouse, pen or finger. From the keyboard, take a test digit."></canvas>
          <p class="cvae-buttons"><button type="button" data-part="clear">Clear the pad</button></p>
        </div>
        <div>
          ${testChoice(perClass)}
          ${nameChoice("cvae-label", "Label given to the model", DIGITS, FIRST_TEST.digit)}
        </div>
      </div>
      <div class="cvae-columns">
        <figure>
          <div class="cvae-plane" data-part="plane" role="img" aria-label="Latent plane with the posterior"></div>
          <figcaption>The point is the mean of the posterior q(z | x, y), and the ellipse reaches two standard
            deviations from it. Each dot is the mean code of a training digit of this label.</figcaption>
        </figure>
        <div>
          <div class="cvae-pair">
            <div>${picture("input", "The encoder's input")}<p aria-hidden="true">input</p></div>
            <div>${picture("output", "The reconstruction")}<p aria-hidden="true">reconstruction</p></div>
          </div>
          <dl>
            <div><dt>Reconstruction loss</dt><dd data-part="reconstruction"></dd></div>
            <div><dt>KL loss</dt><dd data-part="kl"></dd></div>
            <div><dt>Sum</dt><dd data-part="sum"></dd></div>
            <div><dt>Mean of z<sub>1</sub>, z<sub>2</sub></dt><dd data-part="mean"></dd></div>
            <div><dt>Standard deviations</dt><dd data-part="deviation"></dd></div>
          </dl>
          <p class="cvae-note" data-part="note"></p>
        </div>
      </div>
      <div class="cvae-ten" role="group" aria-label="The same code under all ten labels">
        <p class="cvae-title">The same code under all ten labels</p>
        ${DIGITS.map((digit) => `<div>${picture(`ten-${digit}`, "")}<p aria-hidden="true">${digit}</p></div>`).join("")}
      </div>
    </section>`;

  const PARTS = {
    pad: HTMLCanvasElement,
    clear: HTMLButtonElement,
    plane: HTMLElement,
    input: HTMLCanvasElement,
    output: HTMLCanvasElement,
    reconstruction: HTMLElement,
    kl: HTMLElement,
    sum: HTMLElement,
    mean: HTMLElement,
    deviation: HTMLElement,
    note: HTMLElement,
  };

  /**
   * Encode a picture and decode the mean of its posterior under every label.
   * @param {Model} model
   * @param {ArrayLike<number>} x - 784 pixels in [0, 1]
   * @param {number} label - the digit that both networks are told
   */
  function reconstruct(model, x, label) {
    const { zMean, zLogVar } = encode(model, x, makeLabel(label));
    const logits = DIGITS.map((digit) => decode(model, zMean, makeLabel(digit)));
    return {
      zMean,
      deviation: zLogVar.map((value) => Math.exp(value / 2)),
      pictures: logits.map(sigmoid),
      reconstruction: reconstructionLoss(x, logits[label]),
      kl: klLoss(zMean, zLogVar),
    };
  }

  /** @param {Float64Array} zMean */
  const describeMean = (zMean) =>
    Math.max(...zMean.map(Math.abs)) > LIMIT
      ? "The mean lies outside the plane; it is marked at the edge."
      : "The reconstruction is decoded from the mean, so these losses are without sampling noise.";

  /**
   * Append the panel and start it.
   * @param {Element} place
   * @param {Tools} tools
   */
  function mount(place, { model, codes, tests, announce }) {
    const root = addPanel(place, html(tests[0].length));
    const part = findParts(root, PARTS);
    const plane = drawPlane(part.plane, ELLIPSE);
    const testRadios = findRadios(root, "cvae-test");
    const labelRadios = findRadios(root, "cvae-label");
    /** @type {NodeListOf<HTMLCanvasElement>} */
    const ten = root.querySelectorAll(".cvae-ten canvas");

    let label = FIRST_TEST.digit;
    let x = tests[FIRST_TEST.digit][FIRST_TEST.row];

    function render() {
      const isBlank = x === BLANK;
      const { zMean, deviation, pictures, reconstruction, kl } = reconstruct(model, x, label);
      paint(part.input, x);
      paint(part.output, isBlank ? BLANK : pictures[label]);
      ten.forEach((canvas, digit) => paint(canvas, isBlank ? BLANK : pictures[digit]));

      plane.showPosterior(isBlank ? null : [zMean, deviation]);

      /** @type {(element: HTMLElement, text: string) => void} */
      const write = (element, text) => (element.textContent = isBlank ? "–" : text);
      write(part.reconstruction, `${show(reconstruction, 1)} nats`);
      write(part.kl, `${show(kl, 1)} nats`);
      write(part.sum, `${show(reconstruction + kl, 1)} nats`);
      write(part.mean, `${show(zMean[0])}, ${show(zMean[1])}`);
      write(part.deviation, `${show(deviation[0])}, ${show(deviation[1])}`);
      part.note.textContent = isBlank
        ? "There is nothing to encode yet. Draw a digit or take one."
        : describeMean(zMean);
    }

    function renderLabel() {
      plane.drawCodes(codes[label], []);
      ten.forEach((canvas, digit) => {
        const isChosen = digit === label;
        canvas.parentElement?.classList.toggle("cvae-chosen", isChosen);
        canvas.setAttribute("aria-label", `The code decoded as ${digit}${isChosen ? ", the chosen label" : ""}`);
      });
    }

    const update = oncePerFrame(() => {
      render();
      if (x === BLANK) return;
      announce(`Reconstruction loss ${part.reconstruction.textContent}, KL loss ${part.kl.textContent}.`);
    });

    /** @param {number} digit */
    function chooseLabel(digit) {
      label = digit;
      labelRadios[digit].checked = true;
      renderLabel();
      update();
    }

    /**
     * Show a picture that is not a test digit.
     * @param {Float32Array} pixels
     */
    function showDrawing(pixels) {
      testRadios.forEach((radio) => (radio.checked = false));
      x = pixels;
      update();
    }

    const pad = startPad(part.pad, (strokes) => showDrawing(rasterise(strokes)));
    part.clear.addEventListener("click", () => {
      pad.clear();
      showDrawing(BLANK);
    });
    testRadios.forEach((radio) => {
      const [digit, row] = [Number(radio.value) % DIGITS.length, Math.floor(Number(radio.value) / DIGITS.length)];
      const pixels = tests[digit][row];
      paint(/** @type {HTMLCanvasElement} */ (radio.nextElementSibling), pixels);
      radio.checked = x === pixels;
      radio.addEventListener("change", () => {
        pad.clear();
        x = pixels;
        chooseLabel(digit);
      });
    });
    labelRadios.forEach((radio) => radio.addEventListener("change", () => chooseLabel(Number(radio.value))));

    renderLabel();
    render();
  }

  return { mount };
})();
