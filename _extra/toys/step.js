// @ts-check
/*
 * The reader goes through the model one step at a time: image, posterior, noise, code, picture, losses.
 */
"use strict";

(() => {
  const { drawPrior } = cvaeModel;
  const { picture, addPanel, findParts, show, paint } = cvaeElements;
  const { ELLIPSE, drawPlane } = cvaePlane;
  const { EXAMPLES, exampleChoice, startChoice, loadOnFirstUse, showPair, shift, reconstruct, computeKl } = cvaeToys;

  const LIMIT = 2.5; // of the plane: all of the posteriors lie inside
  const BLANK = new Float32Array(EXAMPLES[0].x.length);

  const html = () => `
    <section aria-labelledby="cvae-step-title">
      <h3 id="cvae-step-title">Step through the model</h3>
      <div class="cvae-columns">
        <div>
          ${exampleChoice("step")}
          <p class="cvae-buttons"><button type="button" data-part="next">Next step</button></p>
          <p data-part="text"></p>
          <div class="cvae-pair">
            <div>${picture("input", "The image x")}<p aria-hidden="true">image x</p></div>
            <div>${picture("output", "The decoded picture")}<p aria-hidden="true">decoded z</p></div>
          </div>
          <dl>
            <div><dt>Reconstruction loss</dt><dd data-part="loss"></dd></div>
            <div><dt>KL loss</dt><dd data-part="kl"></dd></div>
            <div><dt data-part="count"></dt><dd data-part="average"></dd></div>
          </dl>
        </div>
        <figure>
          <div data-part="plane" class="cvae-plane" role="img" aria-label="Latent plane with the posterior"></div>
          <figcaption>The ellipse is the encoder's answer q, at two standard deviations, and each dot is a draw z.
            The circles are the prior at 1 and 2 standard deviations.</figcaption>
        </figure>
      </div>
    </section>`;

  const PARTS = {
    next: HTMLButtonElement,
    text: HTMLElement,
    input: HTMLCanvasElement,
    output: HTMLCanvasElement,
    loss: HTMLElement,
    kl: HTMLElement,
    count: HTMLElement,
    average: HTMLElement,
    plane: HTMLElement,
  };

  /** @type {Mount} */
  async function mount(place, { load, announce }) {
    const root = addPanel(place, html());
    const part = findParts(root, PARTS);
    const plane = drawPlane(part.plane, ELLIPSE, LIMIT);
    // The draws lie under the ellipse, so they have to show through it.
    /** @type {SVGElement} */ (part.plane.querySelector(".cvae-ellipse")).style.fillOpacity = "0.2";

    /** @type {Model | null} */
    let model = null;
    let example = EXAMPLES[0];
    let step = 0;
    /** @type {Point[]} */
    let draws = [];
    let sum = 0; // of the reconstruction losses of the draws that were decoded

    /** @param {string} text */
    function tell(text) {
      part.text.textContent = text;
      announce(text);
    }

    function begin() {
      step = 0;
      draws = [];
      sum = 0;
      paint(part.input, example.x);
      paint(part.output, BLANK);
      plane.showPosterior(null);
      plane.drawCodes([]);
      [part.loss, part.kl, part.average].forEach((element) => (element.textContent = "–"));
      part.count.textContent = "Negative ELBO";
      part.next.textContent = "Next step";
      part.text.textContent = `An image x and its label y = ${example.label} go into the encoder.`;
    }

    function encode() {
      const { mean, sigma } = example;
      plane.showPosterior([mean, sigma]);
      part.kl.textContent = `${show(computeKl(mean, sigma), 1)} nats`;
      tell(`The encoder answers with a mean μ = ${showPair(mean)} and a standard deviation σ = ${showPair(sigma)}.`);
    }

    function draw() {
      const epsilon = drawPrior();
      const z = shift(example.mean, example.sigma, epsilon);
      draws.push(z);
      plane.drawCodes(draws.flat());
      tell(`Noise is drawn, ε = ${showPair(epsilon)}. It gives z = μ + σ ε = ${showPair(z)}.`);
    }

    function decode() {
      const z = draws[draws.length - 1];
      const { picture, loss } = reconstruct(/** @type {Model} */ (model), z, example);
      sum += loss;
      const average = sum / draws.length;
      paint(part.output, picture);
      part.loss.textContent = `${show(loss, 1)} nats`;
      part.count.textContent = `Negative ELBO, by ${draws.length} draw${draws.length > 1 ? "s" : ""}`;
      part.average.textContent = `${show(average + computeKl(example.mean, example.sigma), 1)} nats`;
      part.next.textContent = "Draw again";
      tell(`The decoder turns z and the label into a picture. The loss of this draw is ${part.loss.textContent}.`);
    }

    const steps = [encode, draw, decode];
    part.next.addEventListener("click", async () => {
      const mine = step;
      if (steps[mine] === decode && !model) {
        tell("The decoder is being loaded.");
        ({ model } = await load());
      }
      if (step !== mine) return; // another press took this step meanwhile, or the reader chose another digit
      part.next.textContent = "Next step";
      steps[step]();
      step = step + 1 < steps.length ? step + 1 : 1;
    });
    startChoice(root, "step", (chosen) => {
      example = chosen;
      begin();
      tell(part.text.textContent);
    });
    // The weights come while the reader reads the first steps.
    loadOnFirstUse(root, load, (loaded) => (model = loaded));
    begin();
  }

  cvaeExplorer.register("step", mount);
})();
