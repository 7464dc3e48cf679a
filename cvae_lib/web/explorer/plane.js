// @ts-check
/*
 * The latent plane, drawn as everywhere in the book: z1 downwards, z2 to the right.
 */
"use strict";

const cvaePlane = (() => {
  const { priorBeyond } = cvaeModel;
  const { show, makeUnique, followPointer } = cvaeElements;

  const LIMIT = 4; // the page's planes show -4 to 4 on both axes
  const STEP = 0.05; // of the sliders and of the pointer
  const EDGE = 200; // where the limit lies, in units of the drawing
  const CAPTION = "The shading shows the prior N(0, I), and the circles lie at 1, 2 and 3 standard deviations.";

  // What marks a point that the reader moves, and a posterior.
  const HANDLE = '<circle class="cvae-handle" r="11"/><circle class="cvae-pupil" r="2"/>';
  const ELLIPSE = '<ellipse class="cvae-ellipse"/><circle class="cvae-mean" r="2.5"/>';

  /** @type {Record<string, Point>} */
  const DIRECTIONS = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };

  /** @type {(value: number, limit: number) => number} */
  const clamp = (value, limit) => Math.min(limit, Math.max(-limit, value));

  /**
   * The plane as SVG: the density of N(0, I), circles at 1, 2 and 3 standard deviations, and room for codes and a mark.
   * @param {number} limit - the plane shows -limit to limit on both axes
   */
  function planeSvg(limit) {
    const id = makeUnique("cvae-density");
    const unit = EDGE / limit;
    const ticks = Array.from({ length: 2 * Math.ceil(limit) - 1 }, (_, i) => i + 1 - Math.ceil(limit));
    /** @type {(x: number, y: number, anchor: string, text: string) => string} */
    const label = (x, y, anchor, text) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
    // The gradient follows the density from the centre to the edge.
    const stops = Array.from({ length: 13 }, (_, i) => {
      const opacity = 0.5 * priorBeyond((limit * i) / 12);
      return `<stop offset="${i / 12}" stop-opacity="${opacity.toFixed(4)}"/>`;
    });
    return `
      <svg viewBox="${-EDGE - 48} ${-EDGE - 8} ${2 * EDGE + 56} ${2 * EDGE + 58}" aria-hidden="true" focusable="false">
        <radialGradient id="${id}" class="cvae-density" gradientUnits="userSpaceOnUse" cx="0" cy="0" r="${EDGE}">
          ${stops.join("")}
        </radialGradient>
        <rect class="cvae-ground" x="${-EDGE}" y="${-EDGE}" width="${2 * EDGE}" height="${2 * EDGE}"/>
        <rect x="${-EDGE}" y="${-EDGE}" width="${2 * EDGE}" height="${2 * EDGE}" fill="url(#${id})"/>
        <path class="cvae-dots"/>
        <path class="cvae-plusses"/>
        ${[1, 2, 3].map((r) => (r > limit ? "" : `<circle class="cvae-circle" r="${r * unit}"/>`)).join("")}
        ${ticks.map((t) => label(t * unit, EDGE + 20, "middle", show(t, 0))).join("")}
        ${ticks.map((t) => label(-EDGE - 8, t * unit + 6, "end", show(t, 0))).join("")}
        <text class="cvae-axis" x="0" y="${EDGE + 44}" text-anchor="middle">z<tspan dy="4">2</tspan></text>
        <text class="cvae-axis" x="${-EDGE - 44}" y="${-unit / 2 + 4}">z<tspan dy="4">1</tspan></text>
        <g class="cvae-mark"></g>
      </svg>`;
  }

  /**
   * Write codes as the path of an SVG, leaving out those beyond the edge.
   * @param {ArrayLike<number>} codes - z1 and z2 of each code, one after the other
   * @param {number} limit
   * @param {string} shape - the path that is drawn at each code
   */
  function codePath(codes, limit, shape) {
    const unit = EDGE / limit;
    let path = "";
    for (let i = 0; i < codes.length; i += 2) {
      const [z1, z2] = [codes[i], codes[i + 1]];
      if (Math.max(Math.abs(z1), Math.abs(z2)) > limit) continue;
      path += `M${(z2 * unit).toFixed(1)} ${(z1 * unit).toFixed(1)}${shape}`;
    }
    return path;
  }

  /**
   * Draw the plane.
   * @param {HTMLElement} place - the element that gets it
   * @param {string} markSvg - the mark, HANDLE or ELLIPSE, drawn around 0 in units of the drawing
   * @param {number} limit - the plane shows -limit to limit on both axes
   */
  function drawPlane(place, markSvg, limit = LIMIT) {
    const unit = EDGE / limit;
    place.innerHTML = planeSvg(limit);
    /** @type {(selector: string) => SVGGraphicsElement} */
    const find = (selector) => /** @type {SVGGraphicsElement} */ (place.querySelector(selector));
    const mark = find(".cvae-mark");
    mark.innerHTML = markSvg;

    /**
     * Draw the codes of training images, the first as dots, the second as plus signs.
     * @param {ArrayLike<number>} dots
     * @param {ArrayLike<number>} plusses
     */
    function drawCodes(dots, plusses = []) {
      find(".cvae-dots").setAttribute("d", codePath(dots, limit, "h0"));
      find(".cvae-plusses").setAttribute("d", codePath(plusses, limit, "m-3 0h6m-3-3v6"));
    }

    /**
     * Put the mark at z, or at the edge if z lies beyond it.
     * @param {ArrayLike<number>} z
     */
    const moveMark = (z) =>
      mark.setAttribute("transform", `translate(${clamp(z[1], limit) * unit} ${clamp(z[0], limit) * unit})`);

    /**
     * Show a posterior: its mean, and an ellipse that reaches two standard deviations from it; nothing for null.
     * @param {[mean: ArrayLike<number>, deviation: ArrayLike<number>] | null} posterior
     */
    function showPosterior(posterior) {
      mark.style.display = posterior ? "" : "none";
      if (!posterior) return;
      const [mean, deviation] = posterior;
      moveMark(mean);
      find("ellipse").setAttribute("ry", String(2 * deviation[0] * unit));
      find("ellipse").setAttribute("rx", String(2 * deviation[1] * unit));
    }

    /**
     * Find the point under the pointer, in the steps of the sliders.
     * @param {PointerEvent} event
     * @returns {Point}
     */
    function pointAt(event) {
      const toDrawing = find("svg").getScreenCTM()?.inverse();
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(toDrawing);
      /** @param {number} value */
      const toStep = (value) => clamp(Math.round(value / unit / STEP) * STEP, limit);
      return [toStep(point.y), toStep(point.x)];
    }

    /**
     * Let the reader move a point by pointer and keyboard.
     * @param {() => ArrayLike<number>} read - tells where the point is, [z1, z2]
     * @param {(z1: number, z2: number) => void} moveTo - called with where it goes, inside of the plane
     */
    function letMove(read, moveTo) {
      place.tabIndex = 0;
      place.setAttribute("role", "application");
      place.setAttribute(
        "aria-label",
        "Latent plane. The arrow keys move the point by 0.1, with Shift by 0.5; Home goes to 0.",
      );
      followPointer(place, (event) => moveTo(...pointAt(event)));
      place.addEventListener("keydown", (event) => {
        if (event.altKey || event.ctrlKey || event.metaKey) return; // with these, keys are the browser's own
        const step = event.shiftKey ? 0.5 : 0.1;
        const direction = DIRECTIONS[event.key];
        /** @param {0 | 1} axis */
        const along = (axis) => clamp(read()[axis] + step * direction[axis], limit);
        if (event.key === "Home") moveTo(0, 0);
        else if (direction) moveTo(along(0), along(1));
        else return;
        event.preventDefault();
      });
    }

    return { drawCodes, moveMark, showPosterior, letMove };
  }

  return { LIMIT, STEP, CAPTION, HANDLE, ELLIPSE, drawPlane };
})();
