// @ts-check
/*
 * The second panel: the reader draws a digit or takes a test digit. Beside the pad the panel shows what the model makes
 * of it and the two losses in nats; below, where the encoder puts it, and what its code becomes under every label.
 */
"use strict";

(() => {
  const { SIDE, DIGITS, encode, decode, sigmoid, makeLabel, reconstructionLoss, klLoss } = cvaeModel;
  const { picture, nameChoice, pictureChoice, addPanel, findParts, findRadios, show, paint, oncePerFrame } =
    cvaeElements;
  const { LIMIT, ELLIPSE, drawPlane } = cvaePlane;
  const { SIZE, startPad } = cvaePad;
  const { rasterise } = cvaeStrokes;

  /** @typedef {"digit" | "loss" | "reader"} Chooser - what chose the label: the test image, the lowest loss, the reader */

  const FIRST_TEST = { digit: 3, row: 1 }; // what the panel starts with
  const BLANK = new Float32Array(SIDE * SIDE);

  /**
   * The test digits, the first of each class in the first row.
   * @param {number} perClass - test digits of each class
   */
  const testChoice = (perClass) =>
    pictureChoice(
      "cvae-test",
      "Or take a test image",
      Array.from({ length: perClass }, (_, row) => DIGITS.map((digit) => `${digit}, number ${row + 1}`)).flat(),
      () => `<canvas width="${SIDE}" height="${SIDE}" aria-hidden="true"></canvas>`,
    );

  /** @type {(perClass: number, source: string) => string} */
  const html = (perClass, source) => `
    <section aria-labelledby="cvae-picture-title">
      <h3 id="cvae-picture-title">From a picture to a point, and back</h3>
      <div class="cvae-study">
        <div>
          <p class="cvae-title">Draw a digit</p>
          <canvas data-part="pad" class="cvae-pad" width="${SIZE}" height="${SIZE}" role="img"
            aria-label="Drawing pad for mouse, pen or finger. From the keyboard, take a test image."></canvas>
          <p class="cvae-buttons"><button type="button" data-part="clear">Clear the pad</button></p>
        </div>
        <div class="cvae-pair">
          <div>${picture("input", "The encoder's input")}<p aria-hidden="true">input</p></div>
          <div>${picture("output", "The reconstruction")}<p aria-hidden="true">reconstruction</p></div>
        </div>
        <dl>
          <div><dt>Reconstruction loss</dt><dd data-part="reconstruction"></dd></div>
          <div><dt>KL loss</dt><dd data-part="kl"></dd></div>
          <div><dt>Sum</dt><dd data-part="sum"></dd></div>
        </dl>
        <div>
          ${nameChoice("cvae-label", "Label given to the model", DIGITS, FIRST_TEST.digit)}
          <p class="cvae-note" data-part="note"></p>
        </div>
      </div>
      ${testChoice(perClass)}
      <div class="cvae-columns">
        <figure>
          <div class="cvae-plane" data-part="plane" role="img" aria-label="Latent plane with the posterior"></div>
          <figcaption>The point is the mean of the posterior q(z | x, y), and the ellipse reaches two standard
            deviations from it. Each dot is the mean code of a ${source} image of the chosen label.</figcaption>
        </figure>
        <div>
          <dl>
            <div><dt>Mean of z<sub>1</sub>, z<sub>2</sub></dt><dd data-part="mean"></dd></div>
            <div><dt>Standard deviations</dt><dd data-part="deviation"></dd></div>
          </dl>
          <p class="cvae-note" data-part="place"></p>
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
    place: HTMLElement,
  };

  /**
   * Encode a picture and decode the mean of its posterior, both with the same label.
   * @param {Model} model
   * @param {ArrayLike<number>} x - 784 pixels in [0, 1]
   * @param {number} label - the digit that both networks are given
   */
  function reconstruct(model, x, label) {
    const { zMean, zLogVar } = encode(model, x, makeLabel(label));
    const logits = decode(model, zMean, makeLabel(label));
    const [reconstruction, kl] = [reconstructionLoss(x, logits), klLoss(zMean, zLogVar)];
    return {
      zMean,
      deviation: zLogVar.map((value) => Math.exp(value / 2)),
      picture: sigmoid(logits),
      reconstruction,
      kl,
      sum: reconstruction + kl,
    };
  }

  /** @param {Float64Array} zMean */
  const describeMean = (zMean) =>
    Math.max(...zMean.map(Math.abs)) > LIMIT
      ? "The mean lies outside the plane; it is marked at the edge."
      : "The reconstruction is decoded from the mean, so the losses contain no sampling noise.";

  /**
   * Say why this label is chosen, and compare its loss with that of the best or the next label.
   * @param {number[]} sums - the sum of the two losses under each label, in nats
   * @param {number} label - the chosen one
   * @param {Chooser} chooser
   */
  function describeLabel(sums, label, chooser) {
    const [best, next] = [...DIGITS].sort((a, b) => sums[a] - sums[b]);
    const above = show(sums[label === best ? next : label] - sums[best], 1);
    const comparison =
      label === best
        ? `its sum is the lowest, and that of label ${next} follows, ${above} nats higher`
        : `its sum is ${above} nats higher than that of label ${best}, the lowest`;
    const text = {
      digit: `The test image comes with label ${label}: ${comparison}.`,
      loss: `Label ${label} is chosen for you, because ${comparison}. Choose another one to compare.`,
      reader: `You chose label ${label}: ${comparison}.`,
    };
    return text[chooser];
  }

  /** @type {Mount} */
  async function mount(place, { load, announce }) {
    const { model, codes, tests, source } = await load();
    const root = addPanel(place, html(tests[0].length, source));
    const part = findParts(root, PARTS);
    const plane = drawPlane(part.plane, ELLIPSE);
    const testRadios = findRadios(root, "cvae-test");
    const labelRadios = findRadios(root, "cvae-label");
    /** @type {NodeListOf<HTMLCanvasElement>} */
    const ten = root.querySelectorAll(".cvae-ten canvas");

    let label = FIRST_TEST.digit;
    /** @type {Chooser} */
    let chooser = "digit";
    let x = tests[FIRST_TEST.digit][FIRST_TEST.row];
    let isTest = true; // x is a test image, not a drawing
    let shownLabel = -1;

    /** Show which label is chosen, and the codes of its training images. */
    function renderLabel() {
      if (shownLabel === label) return;
      shownLabel = label;
      labelRadios[label].checked = true;
      plane.drawCodes(codes[label]);
      ten.forEach((canvas, digit) => {
        const isChosen = digit === label;
        canvas.parentElement?.classList.toggle("cvae-chosen", isChosen);
        canvas.setAttribute("aria-label", `The code decoded as ${digit}${isChosen ? ", the chosen label" : ""}`);
      });
    }

    function renderBlank() {
      renderLabel();
      [part.input, part.output, ...ten].forEach((canvas) => paint(canvas, BLANK));
      plane.showPosterior(null);
      [part.reconstruction, part.kl, part.sum, part.mean, part.deviation].forEach((one) => (one.textContent = "–"));
      part.note.textContent = "There is nothing to encode yet. Draw a digit or take a test image.";
      part.place.textContent = "";
    }

    function renderPicture() {
      const underLabels = DIGITS.map((digit) => reconstruct(model, x, digit));
      const sums = underLabels.map(({ sum }) => sum);
      if (chooser === "loss") label = sums.indexOf(Math.min(...sums));
      renderLabel();
      const { zMean, deviation, picture, reconstruction, kl, sum } = underLabels[label];
      paint(part.input, x);
      paint(part.output, picture);
      ten.forEach((canvas, digit) => paint(canvas, sigmoid(decode(model, zMean, makeLabel(digit)))));
      plane.showPosterior([zMean, deviation]);
      part.reconstruction.textContent = `${show(reconstruction, 1)} nats`;
      part.kl.textContent = `${show(kl, 1)} nats`;
      part.sum.textContent = `${show(sum, 1)} nats`;
      part.mean.textContent = `${show(zMean[0])}, ${show(zMean[1])}`;
      part.deviation.textContent = `${show(deviation[0])}, ${show(deviation[1])}`;
      part.note.textContent = describeLabel(sums, label, chooser);
      part.place.textContent = describeMean(zMean);
    }

    const render = () => (x === BLANK ? renderBlank() : renderPicture());

    const update = oncePerFrame(() => {
      render();
      if (x === BLANK) return;
      const { reconstruction, kl, note } = part;
      announce(`Reconstruction loss ${reconstruction.textContent}, KL loss ${kl.textContent}. ${note.textContent}`);
    });

    /** @type {(digit: number, by: Chooser) => void} */
    function chooseLabel(digit, by) {
      label = digit;
      chooser = by;
      renderLabel();
      update();
    }

    /**
     * Show a picture that is not a test image. A drawing keeps the label that the reader chooses for it.
     * @param {Float32Array} pixels
     */
    function showDrawing(pixels) {
      testRadios.forEach((radio) => (radio.checked = false));
      if (isTest || pixels === BLANK) chooser = "loss";
      isTest = false;
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
        isTest = true;
        chooseLabel(digit, "digit");
      });
    });
    labelRadios.forEach((radio) => radio.addEventListener("change", () => chooseLabel(Number(radio.value), "reader")));

    render();
  }

  cvaeExplorer.register("picture", mount);
})();
