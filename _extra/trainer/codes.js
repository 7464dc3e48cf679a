// @ts-check
/*
 * The codes of the test digits on the latent plane, z1 downwards and z2 to the right: each is a small figure in the
 * colour of its class, so that no colour alone tells the classes apart.
 */
"use strict";

const cvaeCodes = (() => {
  const { DIGITS } = cvaeModel;
  const { penOf, show } = cvaeElements;

  const SIDE = 300; // of the drawing, in units of CSS
  const EDGE = 26; // around the plane, for its numbers
  const SIZE = 9; // of a figure
  const TICKS = [-4, -2, 0, 2, 4];
  const LIMIT = 4.4; // the plane shows -LIMIT to LIMIT; codes farther out are drawn at its edge

  /**
   * Draw the codes.
   * @param {HTMLCanvasElement} canvas
   * @param {ArrayLike<number>} codes - the latents of each code, one code after the other
   * @param {ArrayLike<number>} classes - the class of each
   * @param {number} latents - how many there are; with one, the classes stand side by side, and of three two are shown
   */
  function drawCodes(canvas, codes, classes, latents) {
    const zoom = Math.min(2, globalThis.devicePixelRatio || 1);
    if (canvas.width !== SIDE * zoom) canvas.width = canvas.height = SIDE * zoom;
    const pen = penOf(canvas);
    const style = getComputedStyle(canvas);
    const [ink, line] = ["--cvae-text", "--cvae-line"].map((name) => style.getPropertyValue(name));
    const colours = DIGITS.map((digit) => style.getPropertyValue(`--cvae-class-${digit}`));
    const unit = (SIDE - 2 * EDGE) / 2 / LIMIT;
    /** @param {number} z */
    const toPlane = (z) => SIDE / 2 + unit * Math.min(LIMIT, Math.max(-LIMIT, z));
    /** @param {number} digit */
    const toColumn = (digit) => EDGE + ((SIDE - 2 * EDGE) * (digit + 0.5)) / DIGITS.length;

    pen.setTransform(zoom, 0, 0, zoom, 0, 0);
    pen.clearRect(0, 0, SIDE, SIDE);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.strokeStyle = line;
    pen.strokeRect(EDGE, EDGE, SIDE - 2 * EDGE, SIDE - 2 * EDGE);
    if (latents > 1) {
      pen.setLineDash([4, 3]);
      for (const radius of [1, 2, 3]) {
        pen.beginPath();
        pen.arc(SIDE / 2, SIDE / 2, radius * unit, 0, 2 * Math.PI);
        pen.stroke();
      }
      pen.setLineDash([]);
    }
    pen.fillStyle = ink;
    pen.font = "11px system-ui, sans-serif";
    TICKS.forEach((tick) => pen.fillText(show(tick, 0), EDGE / 2 + 3, toPlane(tick)));
    pen.fillText("z₁", EDGE / 2 + 3, toPlane(-1));
    if (latents > 1) TICKS.forEach((tick) => pen.fillText(show(tick, 0), toPlane(tick), SIDE - EDGE / 2 - 2));
    pen.fillText(latents > 1 ? "z₂" : "class", latents > 1 ? toPlane(1) : SIDE / 2, SIDE - EDGE / 2 - 2);
    pen.font = `bold ${SIZE}px system-ui, sans-serif`;
    for (let i = 0; i < classes.length; i++) {
      pen.fillStyle = colours[classes[i]];
      const spread = (((i * 7919) % 100) / 100 - 0.5) * 18; // with one latent, so that the figures of a class part
      const x = latents > 1 ? toPlane(codes[latents * i + 1]) : toColumn(classes[i]) + spread;
      pen.fillText(String(classes[i]), x, toPlane(codes[latents * i]));
    }
  }

  return { drawCodes };
})();
