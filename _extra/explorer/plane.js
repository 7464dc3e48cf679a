// @ts-check
/*
 * The latent plane, drawn as everywhere in the book: z1 downwards, z2 to the right.
 */
"use strict";

const cvaePlane = (() => {
  const { priorBeyond } = cvaeModel;
  const { show } = cvaeElements;

  const LIMIT = 4; // the plane shows -4 to 4 on both axes
  const STEP = 0.05; // of the sliders and of the pointer
  const UNIT = 50; // one unit of z in units of the drawing

  /** @param {number} value */
  const clamp = (value) => Math.min(LIMIT, Math.max(-LIMIT, value));

  /**
   * The plane as SVG: the density of N(0, I), circles at 1, 2 and 3 standard deviations, and room for codes and a mark.
   * @param {string} id - of its gradient, unique on the page
   */
  function planeSvg(id) {
    const edge = LIMIT * UNIT;
    const ticks = [-3, -2, -1, 0, 1, 2, 3];
    /** @type {(x: number, y: number, anchor: string, text: string) => string} */
    const label = (x, y, anchor, text) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
    // The gradient follows the density from the centre to the edge.
    const stops = Array.from({ length: 13 }, (_, i) => {
      const opacity = 0.5 * priorBeyond((LIMIT * i) / 12);
      return `<stop offset="${i / 12}" stop-opacity="${opacity.toFixed(4)}"/>`;
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

  /**
   * Write codes as the path of an SVG, leaving out those beyond the edge.
   * @param {ArrayLike<number>} codes - z1 and z2 of each code, one after the other
   * @param {string} shape - the path that is drawn at each code
   */
  function codePath(codes, shape) {
    let path = "";
    for (let i = 0; i < codes.length; i += 2) {
      const [z1, z2] = [codes[i], codes[i + 1]];
      if (Math.max(Math.abs(z1), Math.abs(z2)) > LIMIT) continue;
      path += `M${(z2 * UNIT).toFixed(1)} ${(z1 * UNIT).toFixed(1)}${shape}`;
    }
    return path;
  }

  /**
   * Draw the plane.
   * @param {Element} place - the element that gets it
   * @param {string} id - unique on the page
   * @param {string} markSvg - the mark, drawn around 0 in units of the drawing
   */
  function drawPlane(place, id, markSvg) {
    place.innerHTML = planeSvg(id);
    /** @type {(selector: string) => SVGGraphicsElement} */
    const find = (selector) => /** @type {SVGGraphicsElement} */ (place.querySelector(selector));
    const mark = find(".cvae-mark");
    mark.innerHTML = markSvg;

    /**
     * Draw the codes of training digits, the first as dots, the second as plus signs.
     * @param {ArrayLike<number>} dots
     * @param {ArrayLike<number>} plusses
     */
    function drawCodes(dots, plusses = []) {
      find(".cvae-dots").setAttribute("d", codePath(dots, "h0"));
      find(".cvae-plusses").setAttribute("d", codePath(plusses, "m-3 0h6m-3-3v6"));
    }

    /**
     * Put the mark at z, or at the edge if z lies beyond it.
     * @param {ArrayLike<number>} z
     */
    const moveMark = (z) => mark.setAttribute("transform", `translate(${clamp(z[1]) * UNIT} ${clamp(z[0]) * UNIT})`);

    /**
     * Find the point under the pointer, in the steps of the sliders.
     * @param {PointerEvent} event
     * @returns {Point}
     */
    function pointAt(event) {
      const toDrawing = find("svg").getScreenCTM()?.inverse();
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(toDrawing);
      /** @param {number} value */
      const toStep = (value) => clamp(Math.round(value / UNIT / STEP) * STEP);
      return [toStep(point.y), toStep(point.x)];
    }

    return { mark, drawCodes, moveMark, pointAt };
  }

  return { LIMIT, STEP, UNIT, clamp, drawPlane };
})();
