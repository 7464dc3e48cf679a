// @ts-check
/*
 * The curves of a run: the negative ELBO, the reconstruction loss and the KL loss over the steps, each in a plot of its
 * own, for the training digits, for the test digits, and for the test digits of another run.
 */
"use strict";

/**
 * The losses at a step, in nats an image.
 * @typedef {{step: number, reconstruction: number, kl: number}} StepLosses
 */

/** @typedef {{train: StepLosses[], test: StepLosses[]}} Curves - of a run */

const cvaeCurves = (() => {
  const { addPanel, show } = cvaeElements;

  // In units of the drawing, which are about pixels.
  const [WIDTH, HEIGHT] = [236, 168];
  const [LEFT, RIGHT, TOP, BOTTOM] = [38, WIDTH - 6, 8, HEIGHT - 36];

  const FEWEST = 100; // steps that a plot shows, at least
  const START = 0.15; // the share of the steps whose high losses do not stretch the scale
  const LONGEST = 400; // points of a curve, at most

  /** @type {{title: string, read: (losses: StepLosses) => number, places: number, lowest?: number}[]} */
  const PLOTS = [
    { title: "Negative ELBO", read: ({ reconstruction, kl }) => reconstruction + kl, places: 1 },
    { title: "Reconstruction", read: ({ reconstruction }) => reconstruction, places: 1 },
    { title: "KL loss", read: ({ kl }) => kl, places: 2, lowest: 0 },
  ];

  /**
   * Append a point to a curve. A curve that has become too long keeps every second of its points.
   * @param {StepLosses[]} curve
   * @param {StepLosses} losses
   */
  function append(curve, losses) {
    curve.push(losses);
    if (curve.length <= LONGEST) return;
    curve.splice(0, curve.length, ...curve.filter((_, i) => i % 2 === 1 || i === curve.length - 1));
  }

  /**
   * Choose about four round numbers from `low` to `high`.
   * @param {number} low
   * @param {number} high
   */
  function chooseTicks(low, high) {
    const power = 10 ** Math.floor(Math.log10((high - low) / 3));
    const step = power * ([1, 2, 5, 10].find((factor) => (high - low) / (factor * power) <= 4) ?? 10);
    const first = Math.floor(low / step);
    const n = Math.ceil(high / step - 1e-9) - first;
    return Array.from({ length: n + 1 }, (_, i) => (first + i) * step);
  }

  /**
   * @param {string} title
   * @param {number} clip - the number of the plot
   * @param {string} id - what the names of this place's plots begin with
   */
  const html = (title, clip, id) => `
    <figure class="cvae-curve">
      <figcaption>${title}, nats<span class="cvae-value"></span></figcaption>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}: no step yet">
        <clipPath id="${id}-${clip}"><rect x="${LEFT}" y="${TOP - 1}" width="${RIGHT - LEFT}" height="${BOTTOM - TOP + 2}"/></clipPath>
        <path class="cvae-frame" d="M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}"/>
        <g class="cvae-ticks"></g>
        <g clip-path="url(#${id}-${clip})">
          <path class="cvae-changes"/><path class="cvae-other"/><path class="cvae-train"/><path class="cvae-test"/>
        </g>
        <text x="${(LEFT + RIGHT) / 2}" y="${HEIGHT - 4}" text-anchor="middle">steps</text>
      </svg>
    </figure>`;

  /**
   * Draw empty plots in a place.
   * @param {Element} place
   */
  function startCurves(place) {
    const id = cvaeElements.makeUnique("cvae-curves");
    const plots = PLOTS.map((plot, i) => ({ ...plot, root: addPanel(place, html(plot.title, i, id)) }));

    /**
     * Draw one plot.
     * @param {(typeof plots)[0]} plot
     * @param {Curves} run
     * @param {Curves | null} other
     * @param {number[]} changes - the steps after which a setting was changed
     * @param {number} last - the last step that the plot shows
     */
    function drawPlot({ title, read, places, lowest, root }, run, other, changes, last) {
      const steps = chooseTicks(0, last);
      const end = steps[steps.length - 1];
      const curves = [run.train, run.test, other?.test ?? []];
      const inView = curves.flatMap((curve) => curve.filter(({ step }) => step >= START * last && step <= end));
      const values = (inView.length ? inView : curves.flat()).map(read).filter(Number.isFinite);
      const [low, high] = values.length ? [lowest ?? Math.min(...values), Math.max(...values)] : [0, 1];
      const nats = chooseTicks(low, Math.max(high, low + (places === 2 ? 0.1 : 1)));
      const [bottom, top] = [nats[0], nats[nats.length - 1]];
      /** @param {number} step */
      const toX = (step) => LEFT + ((RIGHT - LEFT) * step) / end;
      /** @param {number} value */
      const toY = (value) => BOTTOM - ((BOTTOM - TOP) * (value - bottom)) / (top - bottom);
      /** @param {StepLosses[]} curve */
      const toPath = (curve) => {
        const points = curve.filter((losses) => Number.isFinite(read(losses)));
        return points
          .map((one, i) => `${i ? "L" : "M"}${toX(one.step).toFixed(1)} ${toY(read(one)).toFixed(1)}`)
          .join("");
      };
      /** @type {(name: string, path: string) => void} */
      const draw = (name, path) => root.querySelector(`.cvae-${name}`)?.setAttribute("d", path);

      draw("train", toPath(run.train));
      draw("test", toPath(run.test));
      draw("other", toPath(other?.test ?? []));
      draw("changes", changes.map((step) => `M${toX(step).toFixed(1)} ${TOP}V${BOTTOM}`).join(""));
      const decimals = Math.max(0, Math.min(2, -Math.floor(Math.log10(nats[1] - nats[0]))));
      const marks = [
        ...steps.map(
          (step) => `<text x="${toX(step)}" y="${BOTTOM + 15}" text-anchor="middle">${show(step, 0)}</text>`,
        ),
        ...(values.length ? nats : []).map(
          (value) => `<text x="${LEFT - 5}" y="${toY(value) + 4}" text-anchor="end">${show(value, decimals)}</text>`,
        ),
      ];
      /** @type {Element} */ (root.querySelector(".cvae-ticks")).innerHTML = marks.join("");
      const latest = run.test[run.test.length - 1];
      const value = latest && show(read(latest), places);
      /** @type {Element} */ (root.querySelector(".cvae-value")).textContent = value ?? "";
      const spoken = value ? `${value} nats on test digits at step ${latest.step}` : "no step yet";
      /** @type {Element} */ (root.querySelector("svg")).setAttribute("aria-label", `${title}: ${spoken}`);
    }

    /**
     * Draw the curves of a run, and the test curves of another for as many steps as help to compare.
     * @param {Curves} run
     * @param {Curves | null} other
     * @param {number[]} changes - the steps after which a setting was changed, each a line across the plots
     */
    function draw(run, other, changes) {
      /** @param {StepLosses[] | undefined} curve */
      const lastOf = (curve) => curve?.[curve.length - 1]?.step ?? 0;
      const now = Math.max(lastOf(run.train), lastOf(run.test));
      const last = Math.max(
        FEWEST,
        now ? Math.max(now, Math.min(lastOf(other?.test), 1.5 * now)) : lastOf(other?.test),
      );
      plots.forEach((plot) => drawPlot(plot, run, other, changes, last));
    }

    return { draw };
  }

  return { append, startCurves };
})();
