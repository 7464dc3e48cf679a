// @ts-check
/*
 * A panel in Jupyter: controls, and the picture that Python makes of their values. An ES module, as anywidget wants it;
 * cvae_lib/widgets.py puts the classic scripts of the folder `explorer` before it, in the order of loader.js.
 *
 * The panel sends what the reader has moved, and goes on collecting until Python has answered: so the picture follows
 * the hand at the speed of the model, and no queue grows while a slider is dragged.
 */

const PATIENCE = 3000; // ms without an answer before the panel says so
const NO_ANSWER = "No answer from the kernel: it is busy or has ended. Run this cell again once it is back.";
const FRAME = 60; // ms between the steps of a path, at least

/**
 * What the kernel and the page share: the traits of `Panel` in cvae_lib/widgets.py.
 * @typedef {object} PanelModel
 * @property {(trait: string) => any} get
 * @property {(event: string, callback: () => void) => void} on
 * @property {(event: string, callback: () => void) => void} off
 * @property {(message: Values) => void} send
 */

/** @typedef {Record<string, any>} Values - of the controls, by name */

/**
 * A control as Python describes it: its kind, its name, and what this kind needs besides.
 * @typedef {{kind: string, name: string} & Record<string, any>} Control
 */

/**
 * What a control works with.
 * @typedef {object} Hand
 * @property {(moved: Values) => void} move - changes values and asks for their picture
 * @property {(button: string) => void} press - asks Python what a button does
 */

/**
 * A control on the page: its element, and a function that shows the values and the posterior.
 * @typedef {{element: Element, show?: (values: Values, posterior: Posterior | null) => void}} Part
 */

/** @typedef {[mean: number[], deviation: number[]]} Posterior - of the two latents */

const { escape, makeAnnounce, makeUnique, nameChoice, pictureChoice, show, slider } = cvaeElements;

/**
 * Write a name such as z1 with its number as a subscript.
 * @param {string} name
 */
const withSubscript = (name) => escape(name).replace(/^([a-z])(\d+)$/, "$1<sub>$2</sub>");

/**
 * Make the element that this HTML describes.
 * @param {string} html - of one element
 * @returns {HTMLElement}
 */
function make(html) {
  const place = document.createElement("div"); // in a <template> the pad could not write
  place.innerHTML = html;
  return /** @type {HTMLElement} */ (place.firstElementChild);
}

/**
 * Find an element of a part; the HTML in this file has it.
 * @template {Element} T
 * @param {Element} root
 * @param {string} selector
 * @param {new () => T} Kind - such as HTMLInputElement
 */
function find(root, selector, Kind) {
  const found = root.querySelector(selector);
  if (!(found instanceof Kind)) throw new TypeError(`${selector}: found ${found}, expected ${Kind.name}`);
  return found;
}

/* ---- The kinds of controls ---- */

/** @type {(control: Control, hand: Hand) => Part} */
function makeChoice({ name, options, pictures }, { move }) {
  const [group, legend, names] = [makeUnique("cvae-choice"), escape(name), options.map(escape)];
  const html = pictures
    ? pictureChoice(group, legend, names, (i) => `<img src="${pictures[i]}" alt="">`)
    : nameChoice(group, legend, names);
  const element = make(html);
  const radios = element.querySelectorAll("input");
  radios.forEach((radio, i) => radio.addEventListener("change", () => move({ [name]: i })));
  return { element, show: (values) => radios.forEach((radio, i) => (radio.checked = i === values[name])) };
}

/** @type {(control: Control, hand: Hand) => Part} */
function makeSlider({ name, min, max, step, places }, { move }) {
  const element = make(slider("slider", withSubscript(name), { min, max, step }));
  const input = find(element, "input", HTMLInputElement);
  const value = find(element, ".cvae-value", HTMLElement);
  input.addEventListener("input", () => move({ [name]: Number(input.value) }));
  return {
    element,
    show: (values) => {
      input.value = String(values[name]);
      value.textContent = show(values[name], places);
    },
  };
}

/** @type {(control: Control, hand: Hand) => Part} */
function makePlane({ of, limit, codes, by, caption }, { move }) {
  const element = make('<figure><div class="cvae-plane"></div><figcaption></figcaption></figure>');
  const place = find(element, "div", HTMLElement);
  const isMoved = of.length > 0;
  const plane = cvaePlane.drawPlane(place, isMoved ? cvaePlane.HANDLE : cvaePlane.ELLIPSE, limit);
  /** @type {Values} */
  let shown = {};
  /** @type {number[][]} */
  let drawn = []; // the codes: a thousand dots are not drawn again for each move
  if (isMoved) {
    plane.letMove(
      () => of.map((/** @type {string} */ name) => shown[name]),
      (z1, z2) => move({ [of[0]]: z1, [of[1]]: z2 }),
    );
  } else {
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", "Latent plane with the posterior");
  }
  find(element, "figcaption", HTMLElement).textContent = `${cvaePlane.CAPTION} ${caption}`;
  return {
    element,
    show: (values, posterior) => {
      shown = values;
      const [dots, plusses] = by.length ? by.map((/** @type {string} */ name) => codes[values[name]]) : codes;
      if (drawn[0] !== dots || drawn[1] !== plusses) plane.drawCodes(dots ?? [], plusses === dots ? [] : plusses);
      drawn = [dots, plusses];
      if (isMoved) plane.moveMark(of.map((/** @type {string} */ name) => values[name]));
      else plane.showPosterior(posterior);
    },
  };
}

/** @type {(control: Control, hand: Hand) => Part} */
function makePad({ name }, { move }) {
  const { SIZE, startPad } = cvaePad;
  const element = make(`
    <div>
      <p class="cvae-title">${escape(name)}</p>
      <canvas class="cvae-pad" width="${SIZE}" height="${SIZE}" role="img"
        aria-label="Drawing pad for mouse, pen or finger. From the keyboard, take a picture."></canvas>
      <p class="cvae-buttons"><button type="button">Clear the pad</button></p>
    </div>`);
  let isBlank = true;
  const pad = startPad(find(element, "canvas", HTMLCanvasElement), (strokes) => {
    isBlank = false;
    move({ [name]: Array.from(cvaeStrokes.rasterise(strokes), (grey) => Math.round(255 * grey)) });
  });
  find(element, "button", HTMLButtonElement).addEventListener("click", () => move({ [name]: null }));
  return {
    element,
    show: (values) => {
      if (values[name] !== null || isBlank) return;
      isBlank = true;
      pad.clear();
    },
  };
}

/** @type {(control: Control, hand: Hand) => Part} */
function makeButton({ name }, { press }) {
  const element = make(`<button type="button">${escape(name)}</button>`);
  element.addEventListener("click", () => press(name));
  return { element };
}

/** @type {(control: Control, hand: Hand) => Part} */
function makePlay({ name, steps }, { move }) {
  const element = make(`<button type="button">${escape(name)}</button>`);
  let [timer, next] = [0, 0];
  function stop() {
    clearTimeout(timer);
    timer = 0;
    element.textContent = name;
  }
  function go() {
    if (next === steps.length || !element.isConnected) return stop();
    move(steps[next++]);
    timer = setTimeout(go, FRAME);
  }
  element.addEventListener("click", () => {
    if (timer) return stop();
    next = 0;
    element.textContent = "Stop";
    go();
  });
  return { element };
}

/** @type {Record<string, (control: Control, hand: Hand) => Part>} */
const MAKERS = {
  choice: makeChoice,
  slider: makeSlider,
  plane: makePlane,
  pad: makePad,
  button: makeButton,
  play: makePlay,
};

/** @type {Record<string, string>} */
const PLACES = {
  choice: "choices",
  pad: "pads",
  plane: "planes",
  slider: "sliders",
  button: "buttons",
  play: "buttons",
};

/* ---- The panel ---- */

const SLIDERS_AND_BUTTONS = `
  <div data-place="sliders" class="cvae-sliders"></div>
  <p data-place="buttons" class="cvae-buttons"></p>`;

/**
 * The panel without its controls. Sliders stand under the picture beside a plane; without one they take its place.
 * @param {string} title
 * @param {boolean} hasPlane
 */
const panelHtml = (title, hasPlane) => `
  <div class="cvae-live cvae-panel" role="group" aria-label="${escape(title)}">
    <div class="cvae-top"><div data-place="pads"></div><div data-place="choices" class="cvae-choices"></div></div>
    <div class="cvae-sides">
      <div data-place="planes">${hasPlane ? "" : SLIDERS_AND_BUTTONS}</div>
      <div>
        <div class="cvae-picture"><img alt=""><div aria-hidden="true"></div></div>
        ${hasPlane ? SLIDERS_AND_BUTTONS : ""}
        <p class="cvae-note"></p>
        <p class="cvae-warning" role="alert"></p>
      </div>
    </div>
    <p class="cvae-hidden" role="status"></p>
  </div>`;

/**
 * Lay words over the places of a sheet of pictures.
 * @param {HTMLElement} layer
 * @param {string[][]} captions - one for each place, row by row; empty for a picture without words
 */
function layCaptions(layer, captions) {
  const columns = Math.max(1, ...captions.map((row) => row.length));
  layer.style.gridTemplate = `repeat(${captions.length || 1}, 1fr) / repeat(${columns}, 1fr)`;
  const cell = (/** @type {string} */ text, /** @type {number} */ row, /** @type {number} */ column) =>
    `<span style="grid-area: ${row + 1} / ${column + 1}">${escape(text)}</span>`;
  layer.innerHTML = captions.map((row, i) => row.map((text, j) => cell(text, i, j)).join("")).join("");
}

/**
 * Show a panel. anywidget calls this for each place where the panel is displayed.
 * @param {{model: PanelModel, el: HTMLElement}} view
 * @returns {() => void} what ends it
 */
function render({ model, el }) {
  /** @type {Control[]} */
  const controls = model.get("controls");
  const hasPlane = controls.some(({ kind }) => kind === "plane");
  const root = make(panelHtml(model.get("title"), hasPlane));
  const image = find(root, "img", HTMLImageElement);
  const captions = find(root, ".cvae-picture > div", HTMLElement);
  const note = find(root, ".cvae-note", HTMLElement);
  const warning = find(root, ".cvae-warning", HTMLElement);
  const announce = makeAnnounce(find(root, "[role=status]", HTMLElement));

  /** @type {Values} */
  let values = { ...model.get("values") }; // as this view shows them
  /** @type {Values} */
  let moved = {}; // by the reader, and not yet sent
  let timer = 0; // not 0 while an answer is awaited

  function ask() {
    if (timer || Object.keys(moved).length === 0) return;
    timer = setTimeout(() => {
      timer = 0; // so that the next move asks again
      warning.textContent = NO_ANSWER;
    }, PATIENCE);
    const message = moved;
    moved = {};
    model.send(message);
  }

  const hand = {
    /** @param {Values} changed */
    move: (changed) => {
      Object.assign(moved, changed);
      Object.assign(values, changed);
      showValues();
      ask();
    },
    /** @param {string} button */
    press: (button) => {
      moved[button] = true;
      ask();
    },
  };

  const parts = controls.map((control) => MAKERS[control.kind](control, hand));
  parts.forEach(({ element }, i) => {
    find(root, `[data-place=${PLACES[controls[i].kind]}]`, HTMLElement).append(element);
  });
  // JupyterLab takes the arrows and Enter for its own, unless an element that has the focus says this.
  root.querySelectorAll("input, button, [tabindex]").forEach((node) => {
    node.setAttribute("data-lm-suppress-shortcuts", "true");
  });
  const showValues = () => parts.forEach((part) => part.show?.(values, model.get("posterior")));

  function showPicture() {
    image.src = model.get("source");
    image.alt = model.get("alt");
    note.textContent = model.get("text");
    layCaptions(captions, model.get("captions"));
  }

  function takeAnswer() {
    clearTimeout(timer);
    timer = 0;
    warning.textContent = "";
    values = { ...model.get("values"), ...moved };
    showValues();
    showPicture();
    announce(`${image.alt} ${note.textContent}`);
    ask();
  }

  showValues();
  showPicture();
  el.append(root);
  model.on("change:answers", takeAnswer);
  return () => {
    clearTimeout(timer);
    model.off("change:answers", takeAnswer);
  };
}

export default { render };
