// @ts-check
/*
 * The first panel: the reader chooses a label and a point of the latent plane, and sees what the decoder draws there.
 * It starts with digits. The decoder of other images is loaded when the reader switches to it.
 */
"use strict";

(() => {
  const { SIDE, DIGITS, decode, sigmoid, encodeAttributes, drawPrior, priorBeyond } = cvaeModel;
  const { picture, slider, addPanel, findParts, show, paint, oncePerFrame } = cvaeElements;
  const { LIMIT, STEP, CAPTION, HANDLE, drawPlane } = cvaePlane;
  const { isBlend, findClasses, describe, addControls } = cvaeLabel;

  const SUBJECTS = ["digits", "fashion", "letters"]; // the panel starts with the first
  /** @type {[number, number]} */
  const FIRST_DIGITS = [3, 8]; // the digit that it starts with, and the one to blend with
  const RANGE = { min: -LIMIT, max: LIMIT, step: STEP };

  const html = () => `
    <section aria-labelledby="cvae-point-title">
      <h3 id="cvae-point-title">From a point to a picture</h3>
      <p class="cvae-switch">
        <label>Draw <select data-part="subject">
          ${SUBJECTS.map((name) => `<option>${name}</option>`).join("")}
        </select></label>
        <span data-part="loading" class="cvae-note"></span>
      </p>
      <div data-part="label"></div>
      <div class="cvae-columns">
        <figure>
          <div data-part="plane" class="cvae-plane"></div>
          <figcaption data-part="caption"></figcaption>
        </figure>
        <div>
          ${picture("picture", "")}
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
    subject: HTMLSelectElement,
    loading: HTMLElement,
    label: HTMLElement,
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
  async function mount(place, { load, loadSubject, announce }) {
    const { model, codes, source } = await load();
    const root = addPanel(place, html());
    const part = findParts(root, PARTS);
    const plane = drawPlane(part.plane, HANDLE);

    /** @type {Subject} */
    const digits = {
      decode: (z, label) => decode(model, z, label),
      shape: [SIDE, SIDE],
      attributes: [{ title: "digit", names: DIGITS }],
      codes,
    };
    let subject = digits;
    let shown = SUBJECTS[0]; // its name
    let label = addControls(part.label, digits.attributes, FIRST_DIGITS, relabel);
    /** @type {Point} */
    let z = [0, 0];

    /** Draw the picture; returns the sentence for a screen reader. */
    function renderPoint() {
      const { attributes } = subject;
      paint(part.picture, sigmoid(subject.decode(z, encodeAttributes(attributes, label))));
      plane.moveMark(z);
      const [z1, z2] = z.map((value) => show(value));
      part.z1.value = String(z[0]);
      part.z2.value = String(z[1]);
      part["z1-value"].textContent = z1;
      part["z2-value"].textContent = z2;
      part.radius.textContent = describeRadius(Math.hypot(...z));
      const told = describe(attributes, label);
      const { title } = findClasses(attributes);
      part.picture.setAttribute("aria-label", `The decoded ${title}: label ${told}, z1 ${z1}, z2 ${z2}`);
      return `Decoded ${told} at z1 ${z1}, z2 ${z2}.`;
    }

    /** Show the codes of the chosen classes, if they are known. */
    function renderCodes() {
      const { first, second } = label.blend;
      const { names } = findClasses(subject.attributes);
      plane.drawCodes(subject.codes[first] ?? [], (isBlend(label.blend) && subject.codes[second]) || []);
      const plusses = isBlend(label.blend)
        ? `, and each plus sign that of a ${source} image of a ${names[second]}`
        : "";
      const dots = ` Each dot is the mean code of a ${source} image of a ${names[first]}${plusses}.`;
      part.caption.textContent = CAPTION + (subject.codes.length > 0 ? dots : "");
    }

    const update = oncePerFrame(() => announce(renderPoint()));

    function relabel() {
      renderCodes();
      update();
    }

    /** @type {(z1: number, z2: number) => void} */
    function moveTo(z1, z2) {
      z = [z1, z2];
      update();
    }

    /**
     * Draw something else from now on, at the same point.
     * @param {string} name
     * @param {Subject} next
     */
    function use(name, next) {
      [shown, subject] = [name, next];
      label = addControls(part.label, next.attributes, next === digits ? FIRST_DIGITS : [0, 1], relabel);
      [part.picture.height, part.picture.width] = next.shape;
      part.picture.style.aspectRatio = `${part.picture.width} / ${part.picture.height}`;
      relabel();
    }

    /** @param {string} text */
    function tell(text) {
      part.loading.textContent = text;
      announce(text);
    }

    /** Load what the reader has chosen; a choice that the reader has changed meanwhile is dropped. */
    async function changeSubject() {
      const name = part.subject.value;
      const isChosen = () => part.subject.value === name;
      if (name !== SUBJECTS[0]) tell(`The decoder of ${name} is being loaded.`);
      try {
        const next = name === SUBJECTS[0] ? digits : await loadSubject(name);
        if (!isChosen()) return;
        part.loading.textContent = "";
        use(name, next);
      } catch (error) {
        if (!isChosen()) return;
        part.subject.value = shown;
        tell(`The decoder of ${name} did not load, so this panel still draws ${shown}. ${error}`);
      }
    }

    part.subject.addEventListener("change", changeSubject);
    part.z1.addEventListener("input", () => moveTo(Number(part.z1.value), z[1]));
    part.z2.addEventListener("input", () => moveTo(z[0], Number(part.z2.value)));
    part.centre.addEventListener("click", () => moveTo(0, 0));
    part.draw.addEventListener("click", () => moveTo(...drawPrior()));
    plane.letMove(() => z, moveTo);

    renderCodes();
    renderPoint();
  }

  cvaeExplorer.register("point", mount);
})();
