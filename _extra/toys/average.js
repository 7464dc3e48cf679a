// @ts-check
/*
 * One test digit over the whole latent plane: the reader moves z and reads p(x | z, y), and averages it over draws from
 * the prior.
 */
"use strict";

(() => {
  const { drawPrior } = cvaeModel;
  const { picture, nameChoice, makeUnique, addPanel, findParts, findRadios, show, paint, penOf, oncePerFrame } =
    cvaeElements;
  const { LIMIT, HANDLE, drawPlane } = cvaePlane;
  const { EXAMPLES, exampleChoice, startChoice, loadOnFirstUse, showPair, reconstruct } = cvaeToys;

  const CELLS = 64; // of the map, along each axis
  const SLICE = 12; // ms of a frame for the map
  const STRIDES = [8, 4, 2, 1]; // the map is computed in coarse squares first
  const DRAWS = 100; // at a press of the button
  const DARKEST = 150; // nats above the best, where the map of the loss ends
  const VIEWS = ["the loss, in nats", "the probability"];
  // Viridis, as in the book's figures: bright is good.
  const COLOURS = [
    [68, 1, 84],
    [59, 82, 139],
    [33, 145, 140],
    [94, 201, 98],
    [253, 231, 37],
  ];
  const VIEW = makeUnique("cvae-view");

  const html = () => `
    <section aria-labelledby="cvae-average-title">
      <h3 id="cvae-average-title">Where on the plane is this digit likely?</h3>
      <div class="cvae-columns">
        <figure>
          <div data-part="plane" class="cvae-plane"></div>
          <figcaption data-part="caption"></figcaption>
        </figure>
        <div>
          ${exampleChoice("average")}
          ${nameChoice(VIEW, "The map shows", VIEWS, 0)}
          <div class="cvae-pair">
            <div>${picture("input", "The image x")}<p aria-hidden="true">image x</p></div>
            <div>${picture("output", "The decoded picture")}<p aria-hidden="true">decoded z</p></div>
          </div>
          <dl>
            <div><dt>−log p(x | z, y) at this z</dt><dd data-part="here"></dd></div>
            <div><dt data-part="count"></dt><dd data-part="average"></dd></div>
            <div><dt>−log p(x | y), exactly</dt><dd data-part="exact"></dd></div>
          </dl>
          <p class="cvae-buttons"><button type="button" data-part="draw">Draw ${DRAWS} z from the prior</button></p>
        </div>
      </div>
    </section>`;

  const PARTS = {
    plane: HTMLElement,
    caption: HTMLElement,
    input: HTMLCanvasElement,
    output: HTMLCanvasElement,
    here: HTMLElement,
    count: HTMLElement,
    average: HTMLElement,
    exact: HTMLElement,
    draw: HTMLButtonElement,
  };

  /**
   * The cells of the map in the order in which they are computed: row, column, and the side of the square that shows
   * the cell's value until its neighbours have their own.
   */
  const ORDER = STRIDES.flatMap((stride, pass) => {
    const places = Array.from({ length: CELLS / stride }, (_, i) => i * stride);
    /** @type {(row: number, column: number) => boolean} */
    const isKnown = (row, column) => pass > 0 && row % (2 * stride) === 0 && column % (2 * stride) === 0;
    return places.flatMap((row) =>
      places.filter((column) => !isKnown(row, column)).map((column) => ({ row, column, side: stride })),
    );
  });

  /**
   * The colour of a share of the way from the darkest to the brightest.
   * @param {number} share - 0 to 1
   */
  function colourOf(share) {
    const place = Math.min(0.9999, Math.max(0, share)) * (COLOURS.length - 1);
    const [low, high] = [COLOURS[Math.floor(place)], COLOURS[Math.floor(place) + 1]];
    return low.map((value, i) => value + (high[i] - value) * (place % 1));
  }

  /**
   * Put a place for the map, CELLS by CELLS pixels, into the plane, under its circles.
   * @param {HTMLElement} place
   * @returns {(pixels: ImageData) => void} shows a map
   */
  function addMap(place) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = CELLS;
    const ground = /** @type {SVGGraphicsElement} */ (place.querySelector(".cvae-ground"));
    const image = document.createElementNS("http://www.w3.org/2000/svg", "image");
    for (const name of ["x", "y", "width", "height"]) image.setAttribute(name, ground.getAttribute(name) ?? "");
    image.setAttribute("preserveAspectRatio", "none");
    place.querySelector(".cvae-dots")?.before(image);
    const lines = /** @type {NodeListOf<SVGElement>} */ (
      place.querySelectorAll(".cvae-circle, .cvae-handle, .cvae-dots")
    );
    return (pixels) => {
      lines.forEach((line) => (line.style.stroke = "white")); // it stands out from all colours of the map
      penOf(canvas).putImageData(pixels, 0, 0);
      image.setAttribute("href", canvas.toDataURL());
    };
  }

  /** @type {Mount} */
  async function mount(place, { load, announce }) {
    const root = addPanel(place, html());
    const part = findParts(root, PARTS);
    const plane = drawPlane(part.plane, HANDLE);
    const showMap = addMap(part.plane);

    /** @type {Model | null} */
    let model = null;
    let example = EXAMPLES[0];
    let view = 0;
    /** @type {Point} */
    let z = [0, 0];
    const losses = new Float64Array(CELLS * CELLS); // of the cells of the map, row by row
    let computed = 0; // cells of the map
    /** @type {Point[]} */
    let draws = [];
    let sum = 0; // of exp(exact - loss) over the draws

    /** @type {(row: number, column: number) => Point} */
    const centre = (row, column) => [((2 * row + 1) / CELLS - 1) * LIMIT, ((2 * column + 1) / CELLS - 1) * LIMIT];

    function paintMap() {
      if (!computed) return;
      const pixels = new ImageData(CELLS, CELLS);
      const best = Math.min(...losses);
      losses.forEach((loss, i) => {
        const share = view === 0 ? 1 - (loss - best) / DARKEST : Math.exp(best - loss);
        pixels.data.set([...colourOf(share), 255], 4 * i);
      });
      showMap(pixels);
    }

    /** Compute the map of an example, a slice of each frame, until another example is chosen. */
    function fillMap(chosen = example) {
      if (!model || chosen !== example) return;
      const end = performance.now() + SLICE;
      // The coarse squares come in one go, so that the map has no hole.
      while (computed < ORDER.length && (performance.now() < end || computed < (CELLS / STRIDES[0]) ** 2)) {
        const { row, column, side } = ORDER[computed++];
        const { loss } = reconstruct(model, centre(row, column), example);
        for (let i = row; i < row + side; i++) losses.fill(loss, i * CELLS + column, i * CELLS + column + side);
      }
      paintMap();
      if (computed < ORDER.length) requestAnimationFrame(() => fillMap(chosen));
    }

    function render() {
      plane.moveMark(z);
      if (!model) return;
      const { picture, loss } = reconstruct(model, z, example);
      paint(part.output, picture);
      part.here.textContent = `${show(loss, 1)} nats`;
      part.output.setAttribute("aria-label", `The picture decoded at z ${showPair(z)}`);
    }

    function renderDraws() {
      plane.drawCodes(draws.flat());
      part.count.textContent = `−log of the average of ${draws.length} draws`;
      const average = example.exact - Math.log(sum / draws.length);
      part.average.textContent = draws.length ? `${show(average, 1)} nats` : "–";
    }

    const update = oncePerFrame(() => {
      render();
      if (model) announce(`At z ${showPair(z)} the loss is ${part.here.textContent}.`);
    });

    function begin() {
      [computed, draws, sum] = [0, [], 0];
      paint(part.input, example.x);
      part.exact.textContent = `${show(example.exact, 1)} nats`;
      part.here.textContent = "–";
      part.caption.textContent =
        `How well each z explains the ${example.label}: bright is good. ` +
        "The circles are the prior at 1, 2 and 3 standard deviations.";
      render();
      renderDraws();
      fillMap();
    }

    plane.letMove(
      () => z,
      (z1, z2) => {
        z = [z1, z2];
        update();
      },
    );
    findRadios(root, VIEW).forEach((radio) =>
      radio.addEventListener("change", () => {
        view = Number(radio.value);
        paintMap();
      }),
    );
    part.draw.addEventListener("click", async () => {
      ({ model } = await load()); // a press that comes before the decoder counts, too
      for (let i = 0; i < DRAWS; i++) {
        const draw = drawPrior();
        draws.push(draw);
        sum += Math.exp(example.exact - reconstruct(model, draw, example).loss);
      }
      renderDraws();
      announce(`${part.count.textContent}: ${part.average.textContent}.`);
    });
    startChoice(root, "average", (chosen) => {
      example = chosen;
      begin();
    });
    loadOnFirstUse(root, load, (loaded) => {
      model = loaded;
      begin();
    });
    begin();
  }

  cvaeExplorer.register("average", mount);
})();
