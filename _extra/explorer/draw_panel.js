// @ts-check
/*
 * The panel of the first page: ten digits in one handwriting, the latent plane that sets the handwriting, and the
 * chosen digit large. The controls stand there at once; the decoder is loaded when the reader first comes to them.
 * Until then each picture shows its part of the still, ten digits wide and three handwritings high, the middle one at 0.
 */
"use strict";

(() => {
  const { SIDE, DIGITS, decode, sigmoid, makeLabel } = cvaeModel;
  const { picture, pictureChoice, addPanel, findParts, findRadios, show, paint, oncePerFrame } = cvaeElements;
  const { HANDLE, drawPlane } = cvaePlane;

  const FIRST_DIGIT = 3;
  const REACH = 3; // of the plane: beyond it the decoder draws blots

  const html = () => `
    <section class="cvae-draw" aria-label="Draw a digit">
      ${pictureChoice(
        "cvae-drawn",
        "Choose a digit",
        DIGITS.map(String),
        (digit) => `<canvas width="${SIDE}" height="${SIDE}" style="--cvae-digit: ${digit}" aria-hidden="true"></canvas>
          <span aria-hidden="true">${digit}</span>`,
      )}
      <div class="cvae-columns">
        <div>
          <p class="cvae-title">Drag the point</p>
          <div data-part="plane" class="cvae-plane"></div>
        </div>
        <div>
          <p class="cvae-title">The drawing</p>
          ${picture("picture", "The decoded digit")}
        </div>
      </div>
      <p data-part="note" class="cvae-note"></p>
    </section>`;

  const PARTS = { plane: HTMLElement, picture: HTMLCanvasElement, note: HTMLElement };

  /** @type {Mount} */
  async function mount(place, { load, announce, still }) {
    const root = /** @type {HTMLElement} */ (addPanel(place, html()));
    if (still) root.style.setProperty("--cvae-still", `url("${still}")`);
    const part = findParts(root, PARTS);
    const radios = findRadios(root, "cvae-drawn");
    const plane = drawPlane(part.plane, HANDLE, REACH);

    let digit = FIRST_DIGIT;
    /** @type {Point} */
    let z = [0, 0];
    /** @type {Model | undefined} */
    let model; // until it is loaded the point moves and the pictures do not
    let waiting = "The decoder is being loaded.";

    function render() {
      plane.moveMark(z);
      part.picture.style.setProperty("--cvae-digit", String(digit));
      if (!model) return;
      for (const radio of radios) {
        const pixels = sigmoid(decode(model, z, makeLabel(Number(radio.value))));
        paint(/** @type {HTMLCanvasElement} */ (radio.nextElementSibling), pixels);
        if (radio.checked) paint(part.picture, pixels);
      }
    }

    /** Say where the digit is decoded; returns the sentence for a screen reader, which knows the keys already. */
    function describe() {
      const [z1, z2] = z.map((value) => show(value));
      part.picture.setAttribute("aria-label", `The decoded digit: label ${digit}, z1 ${z1}, z2 ${z2}`);
      const text = `This ${digit} is decoded at z1 = ${z1}, z2 = ${z2}.`;
      part.note.textContent = `${text} The arrow keys move the point, too.`;
      return text;
    }

    const update = oncePerFrame(() => {
      render();
      if (!model) part.note.textContent = waiting;
      announce(model ? describe() : waiting);
    });

    radios[digit].checked = true;
    radios.forEach((radio) =>
      radio.addEventListener("change", () => {
        digit = Number(radio.value);
        update();
      }),
    );
    plane.letMove(
      () => z,
      (z1, z2) => {
        z = [z1, z2];
        update();
      },
    );
    render();
    describe();

    cvaeExplorer.onFirstUse(root, async () => {
      try {
        ({ model } = await load());
        render();
        describe();
        root.dataset.alive = "";
      } catch (error) {
        waiting = `The decoder did not load, so the pictures stay as they are. ${error}`;
        part.note.textContent = waiting;
        announce(waiting);
      }
    });
  }

  cvaeExplorer.register("draw", mount);
})();
