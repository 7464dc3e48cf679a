/*
 * The explorer: what the reader sees and moves. All arithmetic is in model.js. loader.js calls
 * `cvaeExplorer.start(place)` when the place comes into view.
 *
 * The latent plane is drawn as everywhere in the book: z1 downwards, z2 to the right.
 */
(function () {
  "use strict";

  const { SIDE, unpack, parseWeights, encode, decode, sigmoid, makeLabel, reconstructionLoss, klLoss, rasterise } =
    globalThis.cvaeModel;

  const DIGITS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const LIMIT = 4; // the plane shows -4 to 4 on both axes
  const UNIT = 50; // one unit of z in units of the drawing
  const QUIET = 800; // ms without a change before a screen reader is told
  const PAD = 280; // the side of the drawing pad in its own pixels, ten for each of a picture's
  const FIRST_DIGIT = 3; // what the explorer starts with
  const SECOND_DIGIT = 8;

  /* ---- Small tools ---- */

  /** Write a number with a true minus sign. */
  const show = (value, places = 2) => {
    const text = value.toFixed(places);
    return /^-0\.?0*$/.test(text) ? text.slice(1) : text.replace("-", "−");
  };

  const clamp = (value) => Math.min(LIMIT, Math.max(-LIMIT, value));

  /** The first finger, the pen, or the left button of the mouse. */
  const isMain = (event) => event.isPrimary && event.button === 0;

  /** Wrap `render` so that many calls before the next frame draw once. */
  function oncePerFrame(render) {
    let asked = false;
    return () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        render();
      });
    };
  }

  /** Paint 784 pixels in [0, 1] on a canvas of 28 by 28. */
  function paint(canvas, pixels) {
    const image = new ImageData(SIDE, SIDE);
    for (let i = 0; i < pixels.length; i++) {
      image.data.fill(Math.round(255 * pixels[i]), 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  const picture = (part, text) =>
    `<canvas data-part="${part}" width="${SIDE}" height="${SIDE}" role="img" aria-label="${text}"></canvas>`;

  const digitChoice = (name, legend) => `
    <fieldset class="cvae-digits">
      <legend>${legend}</legend>
      ${DIGITS.map(
        (digit) => `<label><input type="radio" name="${name}" value="${digit}"
          ${digit === FIRST_DIGIT ? "checked" : ""}><span>${digit}</span></label>`,
      ).join("")}
    </fieldset>`;

  // A range input tells a screen reader its value itself.
  const slider = (part, label, attributes) => `
    <div class="cvae-slider">
      <label for="cvae-${part}" data-part="${part}-label">${label}</label>
      <input id="cvae-${part}" data-part="${part}" type="range" ${attributes}>
      <span data-part="${part}-value" aria-hidden="true"></span>
    </div>`;

  /** Find the elements of `root` that carry data-part, by that name. */
  function findParts(root) {
    return Object.fromEntries([...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
  }

  /* ---- The latent plane ---- */

  let planes = 0;

  /** The plane as SVG: the density of N(0, I), circles at 1, 2, 3 standard deviations, room for dots and marks. */
  function planeSvg() {
    const id = `cvae-density-${planes++}`;
    const edge = LIMIT * UNIT;
    const ticks = [-3, -2, -1, 0, 1, 2, 3];
    const label = (x, y, anchor, text) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
    // The gradient follows the density: exp(-r² / 2), from the centre to the edge.
    const stops = Array.from({ length: 13 }, (_, i) => {
      const r = (LIMIT * i) / 12;
      return `<stop offset="${r / LIMIT}" stop-opacity="${(0.5 * Math.exp((-r * r) / 2)).toFixed(4)}"/>`;
    });
    return `
      <svg viewBox="${-edge - 48} ${-edge - 8} ${2 * edge + 56} ${2 * edge + 58}" aria-hidden="true" focusable="false">
        <radialGradient id="${id}" class="cvae-density" gradientUnits="userSpaceOnUse" cx="0" cy="0" r="${edge}">
          ${stops.join("")}
        </radialGradient>
        <rect class="cvae-ground" x="${-edge}" y="${-edge}" width="${2 * edge}" height="${2 * edge}"/>
        <rect x="${-edge}" y="${-edge}" width="${2 * edge}" height="${2 * edge}" fill="url(#${id})"/>
        <path class="cvae-dots"/>
        <path class="cvae-plusses"/>
        ${[1, 2, 3].map((r) => `<circle class="cvae-circle" r="${r * UNIT}"/>`).join("")}
        ${ticks.map((t) => label(t * UNIT, edge + 20, "middle", show(t, 0))).join("")}
        ${ticks.map((t) => label(-edge - 8, t * UNIT + 6, "end", show(t, 0))).join("")}
        <text class="cvae-axis" x="0" y="${edge + 44}" text-anchor="middle">z<tspan dy="4">2</tspan></text>
        <text class="cvae-axis" x="${-edge - 44}" y="${-UNIT / 2 + 4}">z<tspan dy="4">1</tspan></text>
        <g class="cvae-mark"></g>
      </svg>`;
  }

  /** Draw the codes of training digits, points (n, 2) flat in units of z: the first as dots, the second as plusses. */
  function drawCodes(svg, dots, plusses = []) {
    const draw = (points, shape) => {
      let path = "";
      for (let i = 0; i < points.length; i += 2) {
        const [z1, z2] = [points[i], points[i + 1]];
        if (Math.max(Math.abs(z1), Math.abs(z2)) > LIMIT) continue;
        path += `M${(z2 * UNIT).toFixed(1)} ${(z1 * UNIT).toFixed(1)}${shape}`;
      }
      return path;
    };
    svg.querySelector(".cvae-dots").setAttribute("d", draw(dots, "h0"));
    svg.querySelector(".cvae-plusses").setAttribute("d", draw(plusses, "m-3 0h6m-3-3v6"));
  }

  /** Put the mark at z, or at the edge where z lies beyond it. */
  function moveMark(svg, [z1, z2]) {
    svg.querySelector(".cvae-mark").setAttribute("transform", `translate(${clamp(z2) * UNIT} ${clamp(z1) * UNIT})`);
  }

  /** The point [z1, z2] under the pointer, in the steps of the sliders. */
  function pointAt(svg, event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.y, point.x].map((value) => clamp(Math.round((20 * value) / UNIT) / 20));
  }

  /* ---- Part 1: from a point to a picture ---- */

  const POINT_HTML = `
    <section aria-labelledby="cvae-point-title">
      <h3 id="cvae-point-title">From a point to a picture</h3>
      ${digitChoice("cvae-digit", "Digit")}
      <div class="cvae-blend">
        <label>Blend with <select data-part="other">
          ${DIGITS.map((digit) => `<option ${digit === SECOND_DIGIT ? "selected" : ""}>${digit}</option>`).join("")}
        </select></label>
        ${slider("share", "", 'min="0" max="100" step="1" value="0"')}
      </div>
      <div class="cvae-columns">
        <figure>
          <div data-part="plane" class="cvae-plane" tabindex="0" role="application"
            aria-label="Latent plane. The arrow keys move the point by 0.1, with Shift by 0.5; Home goes to 0."
            >${planeSvg()}</div>
          <figcaption data-part="caption"></figcaption>
        </figure>
        <div>
          ${picture("picture", "The decoded digit")}
          ${slider("z1", "z<sub>1</sub>", `min="${-LIMIT}" max="${LIMIT}" step="0.05" value="0"`)}
          ${slider("z2", "z<sub>2</sub>", `min="${-LIMIT}" max="${LIMIT}" step="0.05" value="0"`)}
          <p class="cvae-buttons">
            <button type="button" data-part="centre">Go to 0</button>
            <button type="button" data-part="draw">Draw z from the prior</button>
          </p>
          <p data-part="radius" class="cvae-note"></p>
        </div>
      </div>
    </section>`;

  /** Two draws from N(0, 1), by the method of Box and Muller. */
  function drawNormal() {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    const angle = 2 * Math.PI * Math.random();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  }

  /** Say how much of the prior lies beyond radius r: exp(-r² / 2). */
  function describeRadius(r) {
    const share = 100 * Math.exp((-r * r) / 2);
    const text = share < 0.01 ? "less than 0.01" : show(share, share < 1 ? 2 : 0);
    const warning = r > 3 ? " Training brought hardly a digit here: the decoder extrapolates." : "";
    return `Radius ${show(r)}: ${text} % of the prior lies farther out.${warning}`;
  }

  /** Start part 1; returns its render function and its state, for tests. */
  function startPoint(root, { model, points, announce }) {
    const part = findParts(root);
    const svg = part.plane.querySelector("svg");
    const mark = svg.querySelector(".cvae-mark");
    mark.innerHTML = '<circle class="cvae-handle" r="11"/><circle class="cvae-pupil" r="2"/>';
    const state = { digit: FIRST_DIGIT, other: SECOND_DIGIT, share: 0, z: [0, 0] };
    const isBlend = () => state.share > 0 && state.other !== state.digit;

    function render() {
      const { digit, other, share, z } = state;
      paint(part.picture, sigmoid(decode(model, z, makeLabel(digit, other, share))));
      moveMark(svg, z);
      ["z1", "z2"].forEach((name, j) => {
        part[name].value = z[j];
        part[`${name}-value`].textContent = show(z[j]);
      });
      part.radius.textContent = describeRadius(Math.hypot(...z));
    }

    function renderLabel() {
      const { digit, other, share } = state;
      drawCodes(svg, points[digit], isBlend() ? points[other] : []);
      part["share-label"].textContent = `Share of the ${other}`;
      part["share-value"].textContent = `${Math.round(100 * share)} %`;
      part.share.setAttribute("aria-valuetext", `${Math.round(100 * share)} %`);
      const codes = isBlend()
        ? `dots: codes of training digits ${digit}, plusses: of ${other}`
        : `dots: codes of training digits ${digit}`;
      part.caption.textContent = `Shading and circles: the prior N(0, I) at 1, 2 and 3 standard deviations; ${codes}.`;
    }

    const update = oncePerFrame(() => {
      render();
      const label = isBlend() ? `${Math.round(100 * state.share)} % ${state.other} in ${state.digit}` : state.digit;
      const [z1, z2] = state.z;
      part.picture.setAttribute("aria-label", `The decoded digit: label ${label}, z1 ${show(z1)}, z2 ${show(z2)}`);
      announce(`Decoded ${label} at z1 ${show(z1)}, z2 ${show(z2)}.`);
    });

    const moveTo = (z) => {
      state.z = z.map(clamp);
      update();
    };
    const relabel = (change) => {
      Object.assign(state, change);
      renderLabel();
      update();
    };

    root.querySelectorAll("[name=cvae-digit]").forEach((radio) =>
      radio.addEventListener("change", () => relabel({ digit: Number(radio.value) })),
    );
    part.other.addEventListener("change", () => relabel({ other: Number(part.other.value) }));
    part.share.addEventListener("input", () => relabel({ share: part.share.value / 100 }));
    part.z1.addEventListener("input", () => moveTo([Number(part.z1.value), state.z[1]]));
    part.z2.addEventListener("input", () => moveTo([state.z[0], Number(part.z2.value)]));
    part.centre.addEventListener("click", () => moveTo([0, 0]));
    part.draw.addEventListener("click", () => moveTo(drawNormal()));

    part.plane.addEventListener("pointerdown", (event) => {
      if (!isMain(event)) return;
      part.plane.setPointerCapture(event.pointerId);
      moveTo(pointAt(svg, event));
    });
    part.plane.addEventListener("pointermove", (event) => {
      if (part.plane.hasPointerCapture(event.pointerId)) moveTo(pointAt(svg, event));
    });
    part.plane.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.5 : 0.1;
      const moves = { ArrowDown: [step, 0], ArrowUp: [-step, 0], ArrowRight: [0, step], ArrowLeft: [0, -step] };
      if (event.key === "Home") moveTo([0, 0]);
      else if (moves[event.key]) moveTo(state.z.map((value, j) => value + moves[event.key][j]));
      else return;
      event.preventDefault();
    });

    renderLabel();
    render();
    return { state, render };
  }

  /* ---- Part 2: from a picture to a point, and back ---- */

  const TEST_HTML = (perClass) => `
    <fieldset class="cvae-tests">
      <legend>Or take a test digit</legend>
      ${Array.from({ length: perClass }, (_, row) =>
        DIGITS.map(
          (digit) => `<label><input type="radio" name="cvae-test" value="${digit} ${row}"
            aria-label="${digit}, number ${row + 1}"
            ><canvas width="${SIDE}" height="${SIDE}" aria-hidden="true"></canvas></label>`,
        ).join(""),
      ).join("")}
    </fieldset>`;

  const PICTURE_HTML = (perClass) => `
    <section aria-labelledby="cvae-picture-title">
      <h3 id="cvae-picture-title">From a picture to a point, and back</h3>
      <div class="cvae-columns">
        <div>
          <p class="cvae-title">Draw a digit</p>
          <canvas data-part="pad" class="cvae-pad" width="${PAD}" height="${PAD}" role="img"
            aria-label="Drawing pad for mouse, pen or finger. From the keyboard, take a test digit."></canvas>
          <p class="cvae-buttons"><button type="button" data-part="clear">Clear the pad</button></p>
        </div>
        <div>
          ${TEST_HTML(perClass)}
          ${digitChoice("cvae-label", "Label the model is told")}
        </div>
      </div>
      <div class="cvae-columns">
        <figure>
          <div class="cvae-plane" data-part="plane" role="img" aria-label="Latent plane with the posterior"
            >${planeSvg()}</div>
          <figcaption>The posterior q(z | x, y): its mean, and the ellipse of two standard deviations. Dots: codes of
            training digits of this label.</figcaption>
        </figure>
        <div>
          <div class="cvae-pair">
            <div>${picture("input", "What the encoder gets")}<p aria-hidden="true">in</p></div>
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

  /** Start part 2; returns its render function and its state, for tests. */
  function startPicture(root, { model, points, tests, announce }) {
    const part = findParts(root);
    const svg = part.plane.querySelector("svg");
    svg.querySelector(".cvae-mark").innerHTML = '<ellipse class="cvae-ellipse"/><circle class="cvae-mean" r="2.5"/>';
    const ellipse = svg.querySelector("ellipse");
    const blank = new Float32Array(SIDE * SIDE);
    const state = { x: tests[FIRST_DIGIT][1], label: FIRST_DIGIT, strokes: [] };
    const isBlank = () => state.x === blank;
    const pen = part.pad.getContext("2d");

    function render() {
      const label = makeLabel(state.label);
      const { zMean, zLogVar } = encode(model, state.x, label);
      const logits = DIGITS.map((digit) => decode(model, zMean, makeLabel(digit)));
      const blankOr = (pixels) => (isBlank() ? blank : pixels);
      paint(part.input, state.x);
      paint(part.output, blankOr(sigmoid(logits[state.label])));
      DIGITS.forEach((digit) => paint(part[`ten-${digit}`], blankOr(sigmoid(logits[digit]))));

      moveMark(svg, zMean);
      svg.querySelector(".cvae-mark").style.display = isBlank() ? "none" : "";
      const deviation = zLogVar.map((value) => Math.exp(value / 2));
      ellipse.setAttribute("ry", 2 * deviation[0] * UNIT);
      ellipse.setAttribute("rx", 2 * deviation[1] * UNIT);

      const reconstruction = reconstructionLoss(state.x, logits[state.label]);
      const kl = klLoss(zMean, zLogVar);
      const write = (name, text) => (part[name].textContent = isBlank() ? "–" : text);
      write("reconstruction", `${show(reconstruction, 1)} nats`);
      write("kl", `${show(kl, 1)} nats`);
      write("sum", `${show(reconstruction + kl, 1)} nats`);
      write("mean", [...zMean].map((value) => show(value)).join(", "));
      write("deviation", [...deviation].map((value) => show(value)).join(", "));
      part.note.textContent = isBlank()
        ? "Nothing to encode yet: draw a digit or take one."
        : Math.max(...zMean.map(Math.abs)) > LIMIT
          ? "The mean lies outside the plane; it is marked at the edge."
          : "The reconstruction is decoded from the mean, so the losses are those without noise.";
      return { reconstruction, kl };
    }

    function renderLabel() {
      drawCodes(svg, points[state.label]);
      DIGITS.forEach((digit) => {
        const canvas = part[`ten-${digit}`];
        const chosen = digit === state.label;
        canvas.parentElement.classList.toggle("cvae-chosen", chosen);
        canvas.setAttribute("aria-label", `The code decoded as ${digit}${chosen ? ", the chosen label" : ""}`);
      });
    }

    const update = oncePerFrame(() => {
      const { reconstruction, kl } = render();
      if (isBlank()) return;
      announce(`Reconstruction loss ${show(reconstruction, 1)} nats, KL loss ${show(kl, 1)} nats.`);
    });

    function chooseLabel(label) {
      state.label = label;
      root.querySelector(`[name=cvae-label][value="${label}"]`).checked = true;
      renderLabel();
      update();
    }

    function clearPad() {
      state.strokes = [];
      pen.fillStyle = "black";
      pen.fillRect(0, 0, PAD, PAD);
      Object.assign(pen, { fillStyle: "#bbb", font: "20px sans-serif", textAlign: "center" });
      pen.fillText("draw here", PAD / 2, PAD / 2);
    }

    /** Begin a stroke; the first one takes the place of the hint, or of the test digit. */
    function beginStroke() {
      if (state.strokes.length === 0) {
        untake();
        pen.fillStyle = "black";
        pen.fillRect(0, 0, PAD, PAD);
      }
      state.strokes.push([]);
    }

    /** No test digit is taken any more. */
    function untake() {
      const taken = root.querySelector("[name=cvae-test]:checked");
      if (taken) taken.checked = false;
    }

    /** Draw from the stroke's last point to this one, as the reader sees it; model.js makes the picture anew. */
    function drawTo(stroke, point) {
      Object.assign(pen, { strokeStyle: "white", lineWidth: 20, lineCap: "round", lineJoin: "round" });
      pen.beginPath();
      pen.moveTo(...(stroke.at(-1) ?? point).map((value) => (value + 0.5) * 10));
      pen.lineTo(...point.map((value) => (value + 0.5) * 10));
      pen.stroke();
      stroke.push(point);
    }

    const padPoint = (event) => {
      const { left, top, width, height } = part.pad.getBoundingClientRect();
      return [(SIDE * (event.clientX - left)) / width - 0.5, (SIDE * (event.clientY - top)) / height - 0.5];
    };

    function extendStroke(event) {
      const stroke = state.strokes.at(-1);
      // A fast pen is sampled more often than the page is drawn.
      const samples = event.getCoalescedEvents?.() ?? [];
      (samples.length ? samples : [event]).forEach((sample) => drawTo(stroke, padPoint(sample)));
      state.x = rasterise(state.strokes);
      update();
    }

    part.pad.addEventListener("pointerdown", (event) => {
      if (!isMain(event)) return;
      part.pad.setPointerCapture(event.pointerId);
      beginStroke();
      extendStroke(event);
    });
    part.pad.addEventListener("pointermove", (event) => {
      if (part.pad.hasPointerCapture(event.pointerId)) extendStroke(event);
    });
    part.clear.addEventListener("click", () => {
      untake();
      clearPad();
      state.x = blank;
      update();
    });
    root.querySelectorAll("[name=cvae-test]").forEach((radio) => {
      const [digit, row] = radio.value.split(" ").map(Number);
      paint(radio.nextElementSibling, tests[digit][row]);
      radio.checked = state.x === tests[digit][row];
      radio.addEventListener("change", () => {
        clearPad();
        state.x = tests[digit][row];
        chooseLabel(digit);
      });
    });
    root.querySelectorAll("[name=cvae-label]").forEach((radio) =>
      radio.addEventListener("change", () => chooseLabel(Number(radio.value))),
    );

    clearPad();
    renderLabel();
    render();
    return { state, render };
  }

  /* ---- Start ---- */

  /** Read digits.js: the codes of training digits by class, in units of z, and test digits by class, in [0, 1]. */
  function readDigits(packed) {
    const split = (array, n) => {
      const size = array.length / n;
      return Array.from({ length: n }, (_, i) => array.subarray(i * size, (i + 1) * size));
    };
    const points = Float32Array.from(unpack(packed.points), (value) => value * packed.z_step);
    const tests = Float32Array.from(unpack(packed.test), (value) => value / 255);
    return {
      points: split(points, 10),
      tests: split(tests, 10).map((ofClass) => split(ofClass, packed.test.shape[1])),
    };
  }

  /** Make a function that tells a screen reader the last of many messages, once they stop for a while. */
  function makeAnnounce(region) {
    let timer;
    return (text) => {
      clearTimeout(timer);
      timer = setTimeout(() => (region.textContent = text), QUIET);
    };
  }

  /**
   * Build the explorer in `place`. What stood there is kept for print.
   * @returns {{point: object, picture: object}} the two parts: their `state`, and `render()` which draws it at once
   */
  function start(place) {
    const { points, tests } = readDigits(globalThis.cvaeDigits);
    const still = document.createElement("div");
    still.className = "cvae-still";
    still.append(...place.childNodes);
    const live = document.createElement("div");
    live.className = "cvae-live";
    live.innerHTML = `${POINT_HTML}${PICTURE_HTML(tests[0].length)}<p class="cvae-hidden" role="status"></p>`;
    place.append(still, live);
    const [point, picture] = live.querySelectorAll("section");
    const tools = {
      model: parseWeights(globalThis.cvaeWeights),
      points,
      tests,
      announce: makeAnnounce(live.querySelector("[role=status]")),
    };
    globalThis.cvaeExplorer.parts = { point: startPoint(point, tools), picture: startPicture(picture, tools) };
    place.dataset.started = "";
    return globalThis.cvaeExplorer.parts;
  }

  globalThis.cvaeExplorer = { start };
})();
