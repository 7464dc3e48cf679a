// @ts-check
/*
 * The panel in which the reader trains a model. The training runs in a worker, see trainer.js; the panel starts it,
 * changes its settings, and draws what it reports about four times a second. Nothing of the digits and of the trainer's
 * program is loaded before the reader presses a button.
 */
"use strict";

/**
 * A training from its first step on, as the panel keeps it.
 * @typedef {object} Training
 * @property {number} number - the worker's count of runs
 * @property {Curves} curves
 * @property {number} step
 * @property {string} story - the settings that it began with, in words
 * @property {{step: number, name: SettingName, words: string}[]} changes - of settings: after which step, and to what
 * @property {boolean} isHealthy - it began with the settings of the page
 */

(() => {
  const { SIDE, DIGITS } = cvaeModel;
  const { makeUnique, addPanel, findParts, findRadios, show, penOf } = cvaeElements;
  const { DEFAULTS, SETTINGS, NAMES, describeOne, describe } = cvaeSettings;
  const { BUGS, letterOf } = cvaeBugs;
  const { GRID, FILE, PARTS, MORE_PARTS, html, watchHtml } = cvaeForm;
  const { append, startCurves } = cvaeCurves;
  const { drawCodes } = cvaeCodes;

  const PIXELS = SIDE * SIDE;
  const FIRST_DIGIT = 3; // of the grid
  const ALL_DIGITS = 5000; // training digits that need one more file
  const WRONG = 0.3; // nats by which a loss must be off to be called wrong
  const SPOKEN = 5000; // ms between two summaries for a screen reader
  const CALM = 2000; // ms between two drawings for a reader who wants less motion
  const EXPLORER = "06_generate_digits.html?trained#explorer";
  const CLASSES = Uint8Array.from({ length: 1000 }, (_, i) => i % DIGITS.length); // of the test digits

  /* ---- Drawing ---- */

  /**
   * Paint pictures side by side.
   * @param {HTMLCanvasElement} canvas
   * @param {Uint8Array} levels - 784 grey values of each picture, 255 is white
   * @param {number} columns - pictures in a row
   */
  function paintSheet(canvas, levels, columns = 1) {
    const pen = penOf(canvas);
    const image = pen.createImageData(canvas.width, canvas.height);
    const words = new Uint32Array(image.data.buffer);
    for (let i = 0; i < levels.length; i++) {
      const [of, pixel] = [Math.floor(i / PIXELS), i % PIXELS];
      const x = (of % columns) * SIDE + (pixel % SIDE);
      const y = Math.floor(of / columns) * SIDE + Math.floor(pixel / SIDE);
      words[y * canvas.width + x] = 0xff000000 | (levels[i] * 0x010101); // opaque grey, whatever the order of the bytes
    }
    pen.putImageData(image, 0, 0);
  }

  /**
   * Make a function that runs jobs one by one, each in a frame of its own, so that no frame takes long.
   * @param {(() => void)[]} jobs
   */
  function onePerFrame(jobs) {
    let [next, isAsked] = [jobs.length, false];
    function turn() {
      isAsked = next + 1 < jobs.length;
      if (isAsked) requestAnimationFrame(turn);
      jobs[next++]();
    }
    return () => {
      next = 0;
      if (!isAsked) requestAnimationFrame(turn);
      isAsked = true;
    };
  }

  /** @param {Losses} losses */
  const sumOf = ({ reconstruction, kl }) => reconstruction + kl;

  /**
   * Give every label the weights of label 0, the only one that a model learned that was not told the label.
   * @param {Model} model
   */
  function forgetLabel({ encoderHidden, decoderHidden }) {
    for (const { kernel, bias } of [encoderHidden, decoderHidden]) {
      const [rows, n] = [/** @type {Float32Array} */ (kernel), bias.length];
      const first = rows.length - DIGITS.length * n;
      for (let digit = 1; digit < DIGITS.length; digit++) rows.copyWithin(first + digit * n, first, first + n);
    }
  }

  /* ---- The panel ---- */

  /** @type {(isFull: boolean) => Mount} */
  const makeMount = (isFull) => async (place, tools) => {
    const group = makeUnique("cvae-row");
    const root = addPanel(place, html(isFull, group));
    if (tools.still) /** @type {HTMLElement} */ (root).style.setProperty("--cvae-still", `url("${tools.still}")`);
    const part = findParts(root, PARTS);
    const more = isFull ? findParts(root, MORE_PARTS) : null;
    const curves = startCurves(part.curves);
    const radios = findRadios(root, group);
    /** @type {HTMLCanvasElement[]} */
    const row = Array.from(root.querySelectorAll(".cvae-tests canvas"));
    /** @type {HTMLSelectElement[]} */
    const selects = Array.from(root.querySelectorAll("[data-setting]"));
    /** @type {HTMLButtonElement[]} */
    const bugs = Array.from(root.querySelectorAll("[data-bug]"));
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

    /** @type {Trainer | undefined} */
    let trainer; // once the reader has pressed a button
    /** @type {Promise<Trainer> | undefined} */
    let opening;
    /** @type {TrainingReport | undefined} */
    let report; // the latest
    let settings = { ...DEFAULTS }; // what the reader chose; what is in force, the report says
    let bug = -1; // the place of the bug that is at work, or -1
    let digit = FIRST_DIGIT;
    let hasMore = false; // the digits beyond 2,000 are there
    let wasHidden = false; // the training stopped because the page was hidden
    let spoken = 0; // when the last summary was told, and when the last drawing began
    let drawn = 0;

    /** @type {(number: number) => Training} */
    const makeRun = (number) => ({
      number,
      curves: { train: [], test: [] },
      step: 0,
      story: "",
      changes: [],
      isHealthy: true,
    });
    let run = makeRun(-1);
    /** @type {Training | null} */
    let last = null;
    /** @type {Training | null} */
    let healthy = null;

    const isSecret = () => bug >= 0 && more?.answer.open === false;
    const compared = () => (bug >= 0 && healthy ? healthy : last);

    /* ---- What a report changes ---- */

    /** @param {string} text */
    function tell(text) {
      part.status.textContent = text;
      tools.announce(text);
    }

    function drawRow() {
      if (!report) return;
      const levels = report.row;
      row.forEach((canvas, i) => {
        paintSheet(canvas, levels.subarray(i * PIXELS, (i + 1) * PIXELS));
        canvas.setAttribute("aria-label", `The ${i} after ${report?.step} steps`);
      });
    }

    function drawGrid() {
      if (!report || !more) return;
      const { grid, settings } = report;
      paintSheet(more.grid, grid, GRID);
      more.grid.setAttribute("aria-label", `64 pictures of the ${report.digit} after ${report.step} steps`);
      more["grid-caption"].textContent = `The ${report.digit} at 64 places that are equally probable under the prior. ${
        settings.latents === 1
          ? "The only latent grows from picture to picture, row by row."
          : `Rows follow z1 from the top, and columns z2 from the left.${settings.latents === 3 ? " Here z3 is 0." : ""}`
      }`;
    }

    function drawPlane() {
      if (!report || !more) return;
      const { latents } = report.settings;
      drawCodes(more.codes, report.codes, CLASSES, latents);
      more["codes-caption"].textContent = `Each small figure is the mean code of one of 1,000 test digits. ${
        latents === 1
          ? "The classes stand side by side."
          : `The circles lie at 1, 2 and 3 standard deviations of the prior.${latents === 3 ? " z3 is not shown." : ""}`
      } Codes beyond the edge are drawn on it.`;
      more.codes.setAttribute("aria-label", `The codes of 1,000 test digits after ${report.step} steps`);
    }

    function drawWords() {
      if (!report) return;
      const { step, seconds, running, engine, test } = report;
      const speed = step && seconds ? `, ${show(step / seconds, 0)} a second` : "";
      const slow =
        engine === "JavaScript"
          ? " This browser cannot run the fast program (WebAssembly with SIMD), so it trains slowly, in JavaScript."
          : "";
      part.status.textContent = step
        ? `${running ? "Training" : "Paused"}: ${step.toLocaleString("en")} steps, ${show(report.epoch, 1)} epochs${speed}.${slow}`
        : `Ready: no step yet.${slow}`;
      part.go.textContent = running ? "Pause" : "Start";
      const words = `Step ${step}: negative ELBO ${show(sumOf(test), 1)} nats, KL loss ${show(test.kl, 1)} nats on test digits.`;
      const now = Date.now();
      if (running && now - spoken < SPOKEN) return;
      spoken = now;
      tools.announce(`${running ? "" : "Paused. "}${words}`);
    }

    function drawRuns() {
      const other = compared();
      part.other.hidden = !other;
      part.runs.textContent = `Solid: ${tellRun(run)}.${tellTruth()}${other ? ` Dashed: ${tellRun(other)}.` : ""}`;
      if (!more) return;
      more.odd.hidden = !report?.settings.logSigma || isSecret();
      more.save.disabled = !run.step;
      more.explore.disabled = !run.step || report?.settings.latents !== 2;
    }

    /** Say what the test digits' loss is, where the program with its mistake says something else. */
    function tellTruth() {
      if (!report?.step || isSecret()) return "";
      const [said, truth] = [report.test, report.truth].map(sumOf);
      if (Math.abs(said - truth) < WRONG) return "";
      return ` Scored properly, it has ${show(truth, 1)} nats on the test digits, and not ${show(said, 1)}.`;
    }

    /**
     * List the changes after which a run has made a step.
     * @param {Training} one
     */
    const listChanges = ({ changes, step: last }) => changes.filter(({ step }) => step < last);

    /** @param {Training} one */
    function tellRun(one) {
      const changes = listChanges(one).map(({ step, words }) => `, from step ${step.toLocaleString("en")} on ${words}`);
      return `${one.story}${changes.join("")}${one.step ? `, ${one.step.toLocaleString("en")} steps` : ""}`;
    }

    const redraw = onePerFrame([
      drawRow,
      () => (drawWords(), drawRuns()),
      drawGrid,
      drawPlane,
      () =>
        curves.draw(
          run.curves,
          compared()?.curves ?? null,
          listChanges(run).map(({ step }) => step),
        ),
    ]);

    /** @param {TrainingReport} latest */
    function onReport(latest) {
      report = latest;
      if (latest.run !== run.number) {
        if (run.step) {
          last = run;
          if (run.isHealthy && !listChanges(run).length) healthy = run;
        }
        run = makeRun(latest.run);
        nameRun();
      }
      const { step, train, test } = latest;
      run.step = step;
      if (train) append(run.curves.train, { step, ...train });
      // Without a step only another way of evaluating moves the loss: the curve then falls or rises on the spot.
      const before = run.curves.test[run.curves.test.length - 1];
      if (before?.step !== step || sumOf(before) !== sumOf(test)) append(run.curves.test, { step, ...test });
      part.again.disabled = step === 0;
      const now = performance.now();
      if (isCalm.matches && latest.running && now - drawn < CALM) return;
      drawn = now;
      redraw();
    }

    /** Say what this run is trained with from its first step on. */
    function nameRun() {
      run.story = isSecret() ? `bug ${letterOf(bug)}` : describe(settings);
      run.isHealthy = bug < 0 && NAMES.every((name) => settings[name] === DEFAULTS[name]);
    }

    /* ---- What the reader does ---- */

    /** Load the trainer, and open it. */
    async function open() {
      tell("The digits and the trainer are being loaded.");
      await tools.load();
      trainer = cvaeTrainer.open({ ...settings, digits: DEFAULTS.digits }, { onReport, onError: complain });
      trainer.show(digit);
      await setDigits();
      return trainer;
    }

    /** Let the trainer have as many digits as the reader chose; those beyond 2,000 are loaded, once. */
    async function setDigits() {
      if (settings.digits === ALL_DIGITS && !hasMore) {
        tell("3,000 more digits are being loaded.");
        await tools.loadMore("digits");
        if (!hasMore) trainer?.addDigits();
        hasMore = true;
      }
      trainer?.set({ digits: settings.digits });
    }

    /** @param {unknown} error */
    const complain = (error) => tell(`The training stopped, so this panel cannot go on. ${error}`);

    /**
     * Use the trainer, which the first press loads.
     * @param {(trainer: Trainer) => void} use
     */
    const withTrainer = (use) => (opening ??= open()).then(use, complain);

    /**
     * Change settings; what is no part of `change` stays.
     * @param {Partial<Settings>} change
     */
    function set(change) {
      settings = { ...settings, ...change };
      selects.forEach((select) => {
        const name = /** @type {SettingName} */ (select.dataset.setting);
        select.value = String(SETTINGS[name].options.findIndex(([value]) => value === settings[name]));
      });
      const { digits, ...others } = change;
      trainer?.set(others);
      if (digits) setDigits().catch(complain);
    }

    part.go.addEventListener("click", () =>
      withTrainer((trainer) => (report?.running ? trainer.pause() : trainer.start())),
    );
    part.step.addEventListener("click", () => withTrainer((trainer) => trainer.step()));
    part.again.addEventListener("click", () => withTrainer((trainer) => trainer.reset()));
    radios.forEach((radio, i) => {
      radio.checked = i === digit;
      radio.addEventListener("change", () => {
        digit = i;
        trainer?.show(digit);
      });
    });

    selects.forEach((select) => {
      const name = /** @type {SettingName} */ (select.dataset.setting);
      select.addEventListener("focus", () => (part.watch.innerHTML = watchHtml(name)));
      select.addEventListener("change", () => {
        const [value] = SETTINGS[name].options[Number(select.value)];
        if (run.step && !SETTINGS[name].restarts) {
          run.changes = run.changes.filter((change) => change.step < run.step || change.name !== name);
          run.changes.push({ step: run.step, name, words: describeOne(name, value) });
        }
        set({ [name]: value });
        if (!run.step) nameRun();
        drawRuns();
      });
    });

    /**
     * Begin a run with the settings of the page, or with a bug in them.
     * @param {number} chosen - the place of the bug, or -1
     */
    function beginWith(chosen) {
      bug = chosen;
      bugs.forEach((button, i) => button.setAttribute("aria-pressed", String(i === bug)));
      if (more) {
        more.answer.open = false;
        more.answer.hidden = bug < 0;
        more.repair.disabled = bug < 0;
        if (bug >= 0) {
          const { answer, measured, page, chapter } = BUGS[bug];
          more.diagnosis.innerHTML = `${answer} ${measured} <a href="${page}">Chapter ${chapter}</a>`;
        }
      }
      hideSettings();
      set({ ...DEFAULTS, ...BUGS[bug]?.change });
      withTrainer((trainer) => {
        trainer.reset();
        trainer.start();
      });
    }

    function hideSettings() {
      part.hidden.hidden = !isSecret();
      part.settings.hidden = isSecret();
    }

    part.defaults.addEventListener("click", () => beginWith(-1));
    bugs.forEach((button, i) => button.addEventListener("click", () => beginWith(i)));
    more?.repair.addEventListener("click", () => beginWith(-1));
    more?.answer.addEventListener("toggle", () => {
      hideSettings();
      if (bug >= 0 && more.answer.open)
        run.story = `bug ${letterOf(bug)} (${describe({ ...DEFAULTS, ...BUGS[bug].change })})`;
      drawRuns();
    });

    /* ---- What the reader takes along ---- */

    more?.save.addEventListener("click", () =>
      withTrainer(async (trainer) => {
        const bytes = cvaeWeights.writeNpz(await trainer.getModel());
        const address = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (bytes)]));
        Object.assign(document.createElement("a"), { href: address, download: FILE }).click();
        setTimeout(() => URL.revokeObjectURL(address), 60_000);
      }),
    );

    // The explorer's page asks for the model, because it alone knows when it can take it.
    /** @type {Map<unknown, Promise<Gift>>} */
    const gifts = new Map();
    more?.explore.addEventListener("click", () =>
      withTrainer((trainer) => {
        const story = tellRun(run);
        const { codes, settings: used } = /** @type {TrainingReport} */ (report);
        const gift = trainer.getModel().then((model) => {
          if (!used.told) forgetLabel(model);
          const ofClass = DIGITS.map((digit) =>
            Float32Array.from(
              { length: codes.length / DIGITS.length },
              (_, i) => codes[2 * (DIGITS.length * Math.floor(i / 2) + digit) + (i % 2)],
            ),
          );
          return { model, codes: ofClass, story };
        });
        gifts.set(window.open(EXPLORER), gift);
      }),
    );
    addEventListener("message", async ({ source, data }) => {
      const gift = gifts.get(source);
      if (gift && data === cvaeExplorer.ASK) /** @type {Window} */ (source).postMessage(await gift, "*");
    });

    // A page that nobody sees does not train.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && report?.running) {
        wasHidden = true;
        trainer?.pause();
      } else if (!document.hidden && wasHidden) {
        wasHidden = false;
        trainer?.start();
      }
    });

    nameRun();
    curves.draw(run.curves, null, []);
    drawRuns();
  };

  cvaeExplorer.register("train", makeMount(true));
  cvaeExplorer.register("train-first", makeMount(false));
})();
