// @ts-check
/*
 * The form of the panel that trains: its buttons, pictures, settings and bugs as HTML, in full and as the first page has
 * it, without the plane, the grid and the bugs.
 */
"use strict";

const cvaeForm = (() => {
  const { SIDE, DIGITS } = cvaeModel;
  const { picture, pictureChoice, makeUnique } = cvaeElements;
  const { DEFAULTS, SETTINGS, NAMES } = cvaeSettings;
  const { BUGS, letterOf } = cvaeBugs;

  const GRID = 8; // pictures along each side of the grid
  const FILE = "cvae-trained-in-the-page.npz";

  /** @type {(name: SettingName, note: string) => string} */
  function settingHtml(name, note) {
    const { name: title, options, restarts } = SETTINGS[name];
    const choices = options.map(
      ([value, text], i) => `<option value="${i}" ${value === DEFAULTS[name] ? "selected" : ""}>${text}</option>`,
    );
    return `
      <label>${title}${restarts ? " (starts a new run)" : ""}
        <select data-setting="${name}" aria-describedby="${note}">${choices.join("")}</select></label>`;
  }

  /** @param {SettingName} name */
  const watchHtml = (name) =>
    `<strong>${SETTINGS[name].name}.</strong> ${SETTINGS[name].watch}
     <a href="${SETTINGS[name].page}">Chapter ${SETTINGS[name].chapter}</a>`;

  /** @param {string} note - the id of the sentence that says what to watch for */
  const settingsHtml = (note) => `
    <details>
      <summary>Settings: change one while it trains</summary>
      <p data-part="hidden" class="cvae-note" hidden>A bug hides in the settings. They come back once you have opened its
        answer.</p>
      <div data-part="settings">
        <div class="cvae-settings">${NAMES.map((name) => settingHtml(name, note)).join("")}</div>
        <p data-part="watch" id="${note}">${watchHtml(NAMES[0])}</p>
        <p class="cvae-buttons"><button type="button" data-part="defaults">Back to the settings of the page</button></p>
      </div>
    </details>`;

  const bugsHtml = () => `
    <details>
      <summary>Break it: five bugs to diagnose</summary>
      <p>Train the model as it is for half a minute: its curve stays as the dashed one. Then choose a bug. The training
        starts again with one mistake in the program. Which one? Look at the ten digits, the grid, the codes and the
        curves.</p>
      <p class="cvae-buttons">
        ${BUGS.map((_, i) => `<button type="button" data-bug="${i}" aria-pressed="false">Bug ${letterOf(i)}</button>`).join("")}
        <button type="button" data-part="repair" disabled>Repair it</button>
      </p>
      <details data-part="answer" hidden>
        <summary>Answer</summary>
        <p data-part="diagnosis"></p>
      </details>
    </details>`;

  const takeHtml = () => `
    <p class="cvae-buttons">
      <button type="button" data-part="save" disabled>Save the weights</button>
      <button type="button" data-part="explore" disabled>Open in the explorer</button>
    </p>
    <p class="cvae-note">The weights are a file that <code>load_pretrained("${FILE}")</code> reads. The explorer of
      chapter 6 opens in a new tab with the model as it is now, if it has two latents.
      <span data-part="odd" hidden>The second head of this model holds log σ, and whoever opens it reads log σ².</span></p>`;

  const picturesHtml = () => `
    <div class="cvae-columns">
      <figure>
        <p class="cvae-title">One digit over the plane</p>
        <canvas data-part="grid" width="${GRID * SIDE}" height="${GRID * SIDE}" role="img"
          aria-label="No picture yet"></canvas>
        <figcaption data-part="grid-caption"></figcaption>
      </figure>
      <figure>
        <p class="cvae-title">The codes of the test digits</p>
        <canvas data-part="codes" width="300" height="300" role="img" aria-label="No codes yet"></canvas>
        <figcaption data-part="codes-caption"></figcaption>
      </figure>
    </div>`;

  /** @param {string} group - the name of the radio buttons that choose the digit of the grid; "" for pictures alone */
  const rowHtml = (group) =>
    group
      ? pictureChoice(
          group,
          "The ten digits at z = 0: choose the one for the grid",
          DIGITS.map(String),
          (
            digit,
          ) => `<canvas width="${SIDE}" height="${SIDE}" style="--cvae-digit: ${digit}" aria-hidden="true"></canvas>
            <span aria-hidden="true">${digit}</span>`,
        )
      : `<p class="cvae-title">The ten digits at z = 0</p>
         <div class="cvae-tests" role="group" aria-label="The ten digits at z = 0">
           ${DIGITS.map(
             (digit) =>
               `<div style="--cvae-digit: ${digit}">${picture(`digit-${digit}`, `The ${digit}, not yet drawn`)}<p>${digit}</p></div>`,
           ).join("")}
         </div>`;

  /** @type {(kind: string, text: string, attributes?: string) => string} */
  const keyHtml = (kind, text, attributes = "") =>
    `<li ${attributes}><svg viewBox="0 0 26 8" aria-hidden="true"><path class="cvae-${kind}" d="M0 4H26"/></svg>${text}</li>`;

  /** @type {(isFull: boolean, group: string) => string} */
  const html = (isFull, group) => `
    <section class="cvae-trainer" aria-label="Train a model">
      <p class="cvae-buttons">
        <button type="button" data-part="go">Start</button>
        <button type="button" data-part="step">One step</button>
        <button type="button" data-part="again" disabled>Start again</button>
      </p>
      <p data-part="status" class="cvae-note">The row shows where 1,000 steps lead. Start loads 280 kB, the digits and the
        program that trains; nothing is sent anywhere.</p>
      ${settingsHtml(makeUnique("cvae-watch"))}
      ${isFull ? bugsHtml() : ""}
      ${rowHtml(isFull ? group : "")}
      <div data-part="curves" class="cvae-curves"></div>
      <ul class="cvae-key cvae-note">
        ${keyHtml("test", "1,000 test digits")}
        ${keyHtml("train", "training digits, in the steps since the point before")}
        ${keyHtml("other", "test digits, another run", `data-part="other" hidden`)}
      </ul>
      <p data-part="runs" class="cvae-note"></p>
      ${
        isFull
          ? picturesHtml() + takeHtml()
          : `<p class="cvae-note">The <a href="02_build_the_model.html#train-one-now">same panel in chapter 2</a> also
              shows the latent plane, hides five bugs for you to find, and gives you the weights.</p>`
      }
    </section>`;

  const PARTS = {
    go: HTMLButtonElement,
    step: HTMLButtonElement,
    again: HTMLButtonElement,
    status: HTMLElement,
    curves: HTMLElement,
    runs: HTMLElement,
    other: HTMLElement,
    hidden: HTMLElement,
    settings: HTMLElement,
    watch: HTMLElement,
    defaults: HTMLButtonElement,
  };
  const MORE_PARTS = {
    grid: HTMLCanvasElement,
    "grid-caption": HTMLElement,
    codes: HTMLCanvasElement,
    "codes-caption": HTMLElement,
    repair: HTMLButtonElement,
    answer: HTMLDetailsElement,
    diagnosis: HTMLElement,
    save: HTMLButtonElement,
    explore: HTMLButtonElement,
    odd: HTMLElement,
  };

  return { GRID, FILE, PARTS, MORE_PARTS, html, watchHtml };
})();
