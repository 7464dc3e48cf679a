// @ts-check
/*
 * The controls of what a decoder is told: a button for each class, the blend of two classes, a slider for each angle.
 */
"use strict";

const cvaeLabel = (() => {
  const { escape, nameChoice, slider, addPanel, findParts, findRadios, show } = cvaeElements;

  const PERCENT = { min: 0, max: 100, step: 1 };
  const STEPS = 72; // of an angle's slider, over its period
  const TURN = 360; // an angle with this period is in degrees

  const CLASS_PARTS = {
    other: HTMLSelectElement,
    share: HTMLInputElement,
    "share-label": HTMLElement,
    "share-value": HTMLElement,
  };
  const ANGLE_PARTS = { angle: HTMLInputElement, "angle-value": HTMLElement };

  /** @param {string} name */
  const capitalise = (name) => escape(name.charAt(0).toUpperCase() + name.slice(1));

  /** @type {(value: number, period: number) => string} */
  const writeAngle = (value, period) => show(value, 0) + (period === TURN ? "°" : "");

  /** @param {Blend} blend */
  const isBlend = ({ first, second, share }) => share > 0 && second !== first;

  /** @param {Blend} blend */
  const percent = ({ share }) => `${Math.round(100 * share)} %`;

  /**
   * Find the classes among the attributes; there is one set of them.
   * @param {readonly Attribute[]} attributes
   */
  const findClasses = (attributes) => /** @type {Classes} */ (attributes.find((one) => "title" in one));

  /**
   * Say a label in words, such as "A, hue 120°" or "40 % 8 in 3".
   * @param {readonly Attribute[]} attributes
   * @param {Label} label
   */
  function describe(attributes, { blend, angles }) {
    const words = attributes.flatMap((one) => {
      if ("period" in one) return one.names.map((name) => `${name} ${writeAngle(angles[name], one.period)}`);
      const [first, second] = [one.names[blend.first], one.names[blend.second]];
      return isBlend(blend) ? `${percent(blend)} ${second} in ${first}` : String(first);
    });
    return words.join(", ");
  }

  /**
   * Add the controls of the classes.
   * @param {HTMLElement} place
   * @param {Classes} classes
   * @param {Blend} blend - which the controls change
   * @param {() => void} onChange
   */
  function addClasses(place, { title, names }, blend, onChange) {
    const written = names.map(escape);
    const html = `
      ${nameChoice("cvae-class", capitalise(title), written, blend.first)}
      <div class="cvae-blend">
        <label>Blend with <select data-part="other">
          ${written.map((name, i) => `<option value="${i}">${name}</option>`).join("")}
        </select></label>
        ${slider("share", "", PERCENT)}
      </div>`;
    place.insertAdjacentHTML("beforeend", html);
    const part = findParts(place, CLASS_PARTS);
    part.other.value = String(blend.second);

    function write() {
      part["share-label"].textContent = `Share of the ${names[blend.second]}`;
      part["share-value"].textContent = percent(blend);
      part.share.setAttribute("aria-valuetext", percent(blend));
    }

    /** @param {Partial<Blend>} change */
    function change(change) {
      Object.assign(blend, change);
      write();
      onChange();
    }

    findRadios(place, "cvae-class").forEach((radio) =>
      radio.addEventListener("change", () => change({ first: Number(radio.value) })),
    );
    part.other.addEventListener("change", () => change({ second: Number(part.other.value) }));
    part.share.addEventListener("input", () => change({ share: Number(part.share.value) / 100 }));
    write();
  }

  /**
   * Add the slider of an angle.
   * @param {HTMLElement} place
   * @param {string} name
   * @param {number} period
   * @param {Record<string, number>} angles - the slider changes that of this name
   * @param {() => void} onChange
   */
  function addAngle(place, name, period, angles, onChange) {
    const range = { min: 0, max: period, step: period / STEPS };
    const part = findParts(addPanel(place, slider("angle", capitalise(name), range)), ANGLE_PARTS);

    function read() {
      angles[name] = Number(part.angle.value);
      const text = writeAngle(angles[name], period);
      part["angle-value"].textContent = text;
      part.angle.setAttribute("aria-valuetext", text);
    }

    part.angle.addEventListener("input", () => {
      read();
      onChange();
    });
    read();
  }

  /**
   * Put the controls of all attributes into a place, instead of what is there.
   * @param {HTMLElement} place
   * @param {readonly Attribute[]} attributes
   * @param {[first: number, second: number]} start - the class that is chosen, and the class to blend with
   * @param {() => void} onChange - called whenever the reader has moved a control
   * @returns {Label} what the controls say, now and later
   */
  function addControls(place, attributes, [first, second], onChange) {
    /** @type {Label} */
    const label = { blend: { first, second, share: 0 }, angles: {} };
    place.replaceChildren();
    attributes.forEach((one) => {
      if ("title" in one) addClasses(place, one, label.blend, onChange);
      else one.names.forEach((name) => addAngle(place, name, one.period, label.angles, onChange));
    });
    return label;
  }

  return { isBlend, findClasses, describe, addControls };
})();
