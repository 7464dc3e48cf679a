// @ts-check
/*
 * The first panel: the reader chooses a label and a point of the latent plane, and sees what the decoder draws there.
 */
"use strict";

(() => {
  const { DIGITS, decode, sigmoid, makeLabel, drawPrior, priorBeyond } = cvaeModel;
  const { picture, nameChoice, slider, addPanel, findParts, findRadios, show, paint, oncePerFrame } = cvaeElements;
  const { LIMIT, STEP, CAPTION, HANDLE, drawPlane } = cvaePlane;

  const FIRST_DIGIT = 3; // what the panel starts with
  const SECOND_DIGIT = 8;
  const PERCENT = { min: 0, max: 100, step: 1 };
  const RANGE = { min: -LIMIT, max: LIMIT, step: STEP };

  const html = () => `
    <section aria-labelledby="cvae-point-title">
      <h3 id="cvae-point-title">From a point to a picture</h3>
      ${nameChoice("cvae-digit", "Digit", DIGITS, FIRST_DIGIT)}
      <div class="cvae-blend">
        <label>Blend with <select data-part="other">
          ${DIGITS.map((digit) => `<option ${digit === SECOND_DIGIT ? "selected" : ""}>${digit}</option>`).join("")}
        </select></label>
        ${slider("share", "", PERCENT)}
      </div>
      <div class="cvae-columns">
        <figure>
          <div data-part="plane" class="cvae-plane"></div>
          <figcaption data-part="caption"></figcaption>
        </figure>
        <div>
          ${picture("picture", "The decoded digit")}
          ${slider("z1", "z<sub>1</sub>", RANGE)}
          ${slider("z2", "z<sub>2</sub>", RANGE)}
          <p class="cvae-buttons">
            <button type="button" data-part="centre">Go to 0</button>
            <button type="button" data-part="draw">Draw z from the prior</button>
          </p>
          <p data-part="radius" class="cvae-note"></p>
        </div>
      </div>
    </section>`;

  const PARTS = {
    other: HTMLSelectElement,
    share: HTMLInputElement,
    "share-label": HTMLElement,
    "share-value": HTMLElement,
    plane: HTMLElement,
    caption: HTMLElement,
    picture: HTMLCanvasElement,
    z1: HTMLInputElement,
    "z1-value": HTMLElement,
    z2: HTMLInputElement,
    "z2-value": HTMLElement,
    centre: HTMLButtonElement,
    draw: HTMLButtonElement,
    radius: HTMLElement,
  };

  /**
   * Say how much of the prior lies beyond a radius, and warn where the decoder saw hardly any code in training.
   * @param {number} radius
   */
  function describeRadius(radius) {
    const percent = 100 * priorBeyond(radius);
    const text = percent < 0.01 ? "less than 0.01" : show(percent, percent < 1 ? 2 : 0);
    const warning = radius > 3 ? " Hardly any training image is encoded here, so the decoder extrapolates." : "";
    return `Radius ${show(radius)}: ${text} % of the prior lies farther out.${warning}`;
  }

  /** @type {Mount} */
  async function mount(place, { load, announce }) {
    const { model, codes, source } = await load();
    const root = addPanel(place, html());
    const part = findParts(root, PARTS);
    const plane = drawPlane(part.plane, HANDLE);

    let digit = FIRST_DIGIT;
    let other = SECOND_DIGIT;
    let share = 0; // of the other digit in the label, 0 to 1
    /** @type {Point} */
    let z = [0, 0];
    const isBlend = () => share > 0 && other !== digit;
    const percent = () => `${Math.round(100 * share)} %`;

    function renderPoint() {
      paint(part.picture, sigmoid(decode(model, z, makeLabel(digit, other, share))));
      plane.moveMark(z);
      part.z1.value = String(z[0]);
      part.z2.value = String(z[1]);
      part["z1-value"].textContent = show(z[0]);
      part["z2-value"].textContent = show(z[1]);
      part.radius.textContent = describeRadius(Math.hypot(...z));
    }

    function renderLabel() {
      plane.drawCodes(codes[digit], isBlend() ? codes[other] : []);
      part["share-label"].textContent = `Share of the ${other}`;
      part["share-value"].textContent = percent();
      part.share.setAttribute("aria-valuetext", percent());
      const plusses = isBlend() ? `, and each plus sign that of a ${source} image of a ${other}` : "";
      part.caption.textContent = `${CAPTION} Each dot is the mean code of a ${source} image of a ${digit}${plusses}.`;
    }

    const update = oncePerFrame(() => {
      renderPoint();
      const label = isBlend() ? `${percent()} ${other} in ${digit}` : digit;
      const [z1, z2] = z.map((value) => show(value));
      part.picture.setAttribute("aria-label", `The decoded digit: label ${label}, z1 ${z1}, z2 ${z2}`);
      announce(`Decoded ${label} at z1 ${z1}, z2 ${z2}.`);
    });

    /** @type {(z1: number, z2: number) => void} */
    function moveTo(z1, z2) {
      z = [z1, z2];
      update();
    }

    function relabel() {
      renderLabel();
      update();
    }

    findRadios(root, "cvae-digit").forEach((radio) =>
      radio.addEventListener("change", () => {
        digit = Number(radio.value);
        relabel();
      }),
    );
    part.other.addEventListener("change", () => {
      other = Number(part.other.value);
      relabel();
    });
    part.share.addEventListener("input", () => {
      share = Number(part.share.value) / 100;
      relabel();
    });
    part.z1.addEventListener("input", () => moveTo(Number(part.z1.value), z[1]));
    part.z2.addEventListener("input", () => moveTo(z[0], Number(part.z2.value)));
    part.centre.addEventListener("click", () => moveTo(0, 0));
    part.draw.addEventListener("click", () => moveTo(...drawPrior()));
    plane.letMove(() => z, moveTo);

    renderLabel();
    renderPoint();
  }

  cvaeExplorer.register("point", mount);
})();
