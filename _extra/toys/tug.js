// @ts-check
/*
 * The tug of war: the reader moves the mean and the standard deviations of q, or lets both losses pull, and watches the
 * losses and the pictures.
 */
"use strict";

(() => {
  const { picture, slider, addPanel, findParts, show, paint, oncePerFrame } = cvaeElements;
  const { ELLIPSE, drawPlane } = cvaePlane;
  const { EXAMPLES, EPSILON, exampleChoice, startChoice, loadOnFirstUse } = cvaeToys;
  const { showPair, shift, reconstruct, computeKl, averageLoss } = cvaeToys;

  const LIMIT = 2.5; // of the plane: the posteriors of all examples lie inside
  const SIGMA = { min: 0.02, max: 1.5, step: 0.01 };
  const WEIGHT = { min: 0, max: 10, step: 0.1 };
  // By how much the mean and the logarithm of sigma move when both losses pull: first far, then less and less.
  const MOVES = [0.32, 0.16, 0.08, 0.04, 0.02, 0.01];

  const html = () => `
    <section aria-labelledby="cvae-tug-title">
      <h3 id="cvae-tug-title">Two losses pull on one ellipse</h3>
      <div class="cvae-columns">
        <figure>
          <div data-part="plane" class="cvae-plane"></div>
          <figcaption>The ellipse is q, at two standard deviations: drag it. The circles are the prior at 1 and 2
            standard deviations.</figcaption>
        </figure>
        <div>
          ${exampleChoice("tug")}
          ${slider("sigma1", "σ<sub>1</sub>", SIGMA)}
          ${slider("sigma2", "σ<sub>2</sub>", SIGMA)}
          ${slider("weight", "weight of the KL", WEIGHT)}
          <p class="cvae-buttons">
            <button type="button" data-part="pull">Let both losses pull</button>
            <button type="button" data-part="prior">Go to the prior</button>
            <button type="button" data-part="encoder">Go to the encoder's q</button>
          </p>
        </div>
      </div>
      <div class="cvae-columns">
        <div class="cvae-pair">
          <div>${picture("input", "The image x")}<p aria-hidden="true">image x</p></div>
          <div>${picture("output", "The average picture over the ellipse")}<p aria-hidden="true">average over q</p></div>
        </div>
        <dl>
          <div><dt>Reconstruction loss</dt><dd data-part="reconstruction"></dd></div>
          <div><dt>KL loss</dt><dd data-part="kl"></dd></div>
          <div><dt>Reconstruction + weight × KL</dt><dd data-part="sum"></dd></div>
          <div><dt>Negative ELBO (weight 1)</dt><dd data-part="elbo"></dd></div>
          <div><dt>−log p(x | y), exactly</dt><dd data-part="exact"></dd></div>
        </dl>
      </div>
      <p class="cvae-note">The reconstruction loss is a mean over ${EPSILON.length} values of ε, always the same, so it is
        off by a hundredth of a nat where q is narrow, and by more where it is wide.</p>
    </section>`;

  const PARTS = {
    plane: HTMLElement,
    sigma1: HTMLInputElement,
    "sigma1-value": HTMLElement,
    sigma2: HTMLInputElement,
    "sigma2-value": HTMLElement,
    weight: HTMLInputElement,
    "weight-value": HTMLElement,
    pull: HTMLButtonElement,
    prior: HTMLButtonElement,
    encoder: HTMLButtonElement,
    input: HTMLCanvasElement,
    output: HTMLCanvasElement,
    reconstruction: HTMLElement,
    kl: HTMLElement,
    sum: HTMLElement,
    elbo: HTMLElement,
    exact: HTMLElement,
  };

  /**
   * What the ellipse is: its mean, and the logarithms of its standard deviations.
   * @typedef {[number, number, number, number]} Ellipse
   */

  /** @type {(mean: Point, sigma: Point) => Ellipse} */
  const toEllipse = (mean, sigma) => [mean[0], mean[1], Math.log(sigma[0]), Math.log(sigma[1])];

  /** @type {(q: Ellipse) => Point} */
  const meanOf = (q) => [q[0], q[1]];

  /** @type {(q: Ellipse) => Point} */
  const sigmaOf = (q) => [Math.exp(q[2]), Math.exp(q[3])];

  /**
   * The average picture over the ellipse: what the decoder draws on average.
   * @param {Model} model
   * @param {Ellipse} q
   * @param {Example} example
   */
  function averagePicture(model, q, example) {
    const sum = new Float64Array(example.x.length);
    for (const epsilon of EPSILON) {
      const { picture } = reconstruct(model, shift(meanOf(q), sigmaOf(q), epsilon), example);
      picture.forEach((value, i) => (sum[i] += value / EPSILON.length));
    }
    return sum;
  }

  /** @type {Mount} */
  async function mount(place, { load, announce }) {
    const root = addPanel(place, html());
    const part = findParts(root, PARTS);
    const plane = drawPlane(part.plane, ELLIPSE, LIMIT);

    /** @type {Model | null} */
    let model = null;
    let example = EXAMPLES[0];
    let weight = 1;
    let q = toEllipse(example.mean, example.sigma);
    let pulls = 0; // counts each pull and each move by the reader, so that a pull can tell that it is out of date

    /** @param {Ellipse} ellipse */
    const weightedSum = (ellipse) =>
      averageLoss(/** @type {Model} */ (model), meanOf(ellipse), sigmaOf(ellipse), example) +
      weight * computeKl(meanOf(ellipse), sigmaOf(ellipse));

    function render() {
      const [mean, sigma] = [meanOf(q), sigmaOf(q)];
      const kl = computeKl(mean, sigma);
      plane.showPosterior([mean, sigma]);
      part.sigma1.value = String(sigma[0]);
      part.sigma2.value = String(sigma[1]);
      part["sigma1-value"].textContent = show(sigma[0]);
      part["sigma2-value"].textContent = show(sigma[1]);
      part.weight.value = String(weight);
      part["weight-value"].textContent = show(weight, 1);
      part.kl.textContent = `${show(kl)} nats`;
      part.exact.textContent = `${show(example.exact)} nats`;
      if (!model) return;
      const reconstruction = averageLoss(model, mean, sigma, example);
      paint(part.output, averagePicture(model, q, example));
      part.reconstruction.textContent = `${show(reconstruction)} nats`;
      part.sum.textContent = `${show(reconstruction + weight * kl)} nats`;
      part.elbo.textContent = `${show(reconstruction + kl)} nats`;
    }

    /** Tell a screen reader the result of what the reader did, but not of the decoder's arrival. */
    function tell() {
      if (!model) return;
      const where = `Mean ${showPair(meanOf(q))}, sigma ${showPair(sigmaOf(q))}`;
      announce(`${where}: reconstruction ${part.reconstruction.textContent}, KL ${part.kl.textContent}.`);
    }

    const update = oncePerFrame(() => {
      render();
      tell();
    });

    /** @param {Ellipse} ellipse */
    function moveTo(ellipse) {
      pulls++;
      part.pull.setAttribute("aria-busy", "false");
      q = ellipse;
      update();
    }

    /** Move one of the four numbers at a time, while the weighted sum falls, and show each round. */
    function pull(move = 0, mine = ++pulls) {
      if (mine !== pulls) return;
      part.pull.setAttribute("aria-busy", String(move < MOVES.length));
      if (move === MOVES.length) return;
      const before = q;
      let lowest = weightedSum(q);
      for (let i = 0; i < q.length; i++) {
        for (const sign of [1, -1]) {
          const tried = /** @type {Ellipse} */ (q.map((value, j) => (i === j ? value + sign * MOVES[move] : value)));
          const sum = tried[i] > Math.log(SIGMA.min) ? weightedSum(tried) : Infinity;
          if (sum < lowest) {
            [q, lowest] = [tried, sum];
            break;
          }
        }
      }
      render();
      tell();
      requestAnimationFrame(() => pull(q === before ? move + 1 : move, mine));
    }

    function begin() {
      paint(part.input, example.x);
      moveTo(toEllipse(example.mean, example.sigma));
    }

    plane.letMove(
      () => meanOf(q),
      (z1, z2) => moveTo([z1, z2, q[2], q[3]]),
    );
    part.sigma1.addEventListener("input", () => moveTo([q[0], q[1], Math.log(Number(part.sigma1.value)), q[3]]));
    part.sigma2.addEventListener("input", () => moveTo([q[0], q[1], q[2], Math.log(Number(part.sigma2.value))]));
    part.weight.addEventListener("input", () => {
      weight = Number(part.weight.value);
      moveTo(q);
    });
    part.pull.addEventListener("click", async () => {
      ({ model } = await load()); // a press that comes before the decoder counts, too
      pull();
    });
    part.prior.addEventListener("click", () => moveTo([0, 0, 0, 0]));
    part.encoder.addEventListener("click", begin);
    startChoice(root, "tug", (chosen) => {
      example = chosen;
      begin();
    });
    [part.reconstruction, part.sum, part.elbo].forEach((element) => (element.textContent = "–"));
    loadOnFirstUse(root, load, (loaded) => {
      model = loaded;
      render();
    });
    begin();
  }

  cvaeExplorer.register("tug", mount);
})();
