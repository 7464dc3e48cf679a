// @ts-check
/*
 * Trains in a worker, beside the page, so that the page never waits: the worker's program, and what the page calls. The
 * worker is made from the text of functions, because a page that is opened from disk may not load a worker from a file.
 */
"use strict";

/**
 * What the worker tells the page, at most four times a second.
 * @typedef {object} State
 * @property {"WebAssembly" | "JavaScript"} engine
 * @property {boolean} running
 * @property {number} run - goes up with each new run
 * @property {number} step - steps of this run so far
 * @property {number} epoch - the same in epochs, a fraction
 * @property {number} seconds - that these steps took, without pauses and reports
 * @property {Settings} settings - in force
 * @property {Losses | null} train - the mean over the steps since the last report, null if there were none
 * @property {number} digit - that of the grid
 */

/** @typedef {State & Evaluation & Pictures} TrainingReport */

/**
 * What the page tells the worker.
 * @typedef {{command: "open", binary: Uint8Array, train: PackedLevels, test: PackedLevels, settings: Settings}
 *   | {command: "start" | "pause" | "step" | "reset" | "model"}
 *   | {command: "set", changes: Partial<Settings>}
 *   | {command: "show", digit: number}
 *   | {command: "add", train: PackedLevels}} Command
 */

/** @typedef {{report: TrainingReport} | {model: Model}} Answer */

/**
 * What the page calls.
 * @typedef {object} Trainer
 * @property {() => void} start
 * @property {() => void} pause
 * @property {() => void} step - makes one step and pauses
 * @property {() => void} reset - begins a new run with the settings in force
 * @property {(changes: Partial<Settings>) => void} set - changes settings; latents, hidden and seed begin a new run
 * @property {(digit: number) => void} show - chooses the digit of the grid
 * @property {() => void} addDigits - hands over the digits of more_digits.js, which must have run; once
 * @property {() => Promise<Model>} getModel
 * @property {() => void} close - ends the worker
 */

const cvaeTrainer = (() => {
  /** The program of the worker: listens to commands, and trains for a moment at a time while it runs. */
  function work() {
    const BETWEEN_REPORTS = 250; // ms, at least
    const SHARE = 4; // and at least this many times as long as a report took
    const MOMENT = 20; // ms of training until the worker looks for commands

    /** @type {Run} */
    let run;
    let runs = 0;
    /** @type {Digits} */
    let data;
    /** @type {Uint8Array} */
    let binary;
    let running = false;
    let seconds = 0;
    let digit = 3;
    /** @type {Losses[]} */
    let losses = []; // of the steps since the last report
    let due = 0; // when the next report may come
    let asked = false; // whether a command waits for a report
    let isPlanned = false; // whether a turn comes without a command

    /** @type {(hidden: number, latents: number, capacity: number) => Engine} */
    function makeEngine(hidden, latents, capacity) {
      try {
        return cvaeWasmStep.create(/** @type {BufferSource} */ (binary), hidden, latents, capacity);
      } catch {
        return cvaePlainStep.create(hidden, latents, capacity); // a browser from before WebAssembly with SIMD
      }
    }

    /** @param {Settings} settings */
    function begin(settings) {
      run = cvaeRun.create(settings, makeEngine, data);
      runs += 1;
      seconds = 0;
      losses = [];
    }

    function trainOnce() {
      const start = performance.now();
      losses.push(run.step());
      seconds += (performance.now() - start) / 1000;
    }

    function report() {
      const start = performance.now();
      const [evaluation, pictures] = [run.evaluate(), run.draw(digit)];
      /** @param {keyof Losses} key */
      const average = (key) => losses.reduce((sum, loss) => sum + loss[key], 0) / losses.length;
      const { codes } = evaluation;
      send(
        {
          report: {
            engine: run.engine.name,
            ...{ running, run: runs, ...run.state, seconds, settings: run.getSettings(), digit },
            train: losses.length ? { reconstruction: average("reconstruction"), kl: average("kl") } : null,
            ...evaluation,
            ...pictures,
          },
        },
        [codes.buffer, pictures.row.buffer, pictures.grid.buffer],
      );
      losses = [];
      asked = false;
      const end = performance.now();
      due = end + Math.max(BETWEEN_REPORTS, SHARE * (end - start));
    }

    /**
     * @param {Answer} answer
     * @param {ArrayBufferLike[]} [transfer] - what the worker gives away
     */
    function send(answer, transfer = []) {
      /** @type {any} */ (globalThis).postMessage(answer, transfer);
    }

    /** @type {Record<string, (command: any) => void>} */
    const obey = {
      open(command) {
        binary = command.binary;
        data = { train: cvaeRun.unpackDigits(command.train), test: cvaeRun.unpackDigits(command.test) };
        begin(command.settings);
      },
      start: () => (running = true),
      pause: () => (running = false),
      step() {
        running = false;
        trainOnce();
      },
      reset: () => begin(run.getSettings()),
      set({ changes }) {
        const old = run.getSettings();
        const settings = { ...old, ...changes };
        if (["latents", "hidden", "seed"].some((key) => settings[key] !== /** @type {any} */ (old)[key]))
          begin(settings);
        else run.set(changes);
      },
      show: (command) => (digit = command.digit),
      add(command) {
        const more = cvaeRun.unpackDigits(command.train);
        const all = new Uint8Array(data.train.length + more.length);
        all.set(data.train);
        all.set(more, data.train.length);
        data.train = all;
      },
    };

    // A message to itself is a turn that comes after the commands that wait, and sooner than any timer.
    const { port1, port2 } = new MessageChannel();
    function plan() {
      if (isPlanned || !(running || asked)) return;
      isPlanned = true;
      port2.postMessage(null);
    }
    port1.onmessage = () => {
      isPlanned = false;
      const end = performance.now() + MOMENT;
      while (running && performance.now() < end) trainOnce();
      if (asked || performance.now() >= due) report();
      plan();
    };

    globalThis.onmessage = ({ data: command }) => {
      if (command.command === "model") return send({ model: run.engine.getModel() });
      obey[command.command](command);
      asked = true;
      plan();
    };
  }

  /** @param {string} variable - what a script of data defines */
  const readData = (variable) => /** @type {Record<string, any>} */ (globalThis)[variable];

  /** The text of the worker: each constant of the files before this one, and the program. */
  const writeProgram = () =>
    [
      '"use strict";',
      `const cvaeModel = (${makeCvaeModel})();`,
      `const cvaePlainStep = (${makeCvaePlainStep})();`,
      `const cvaeWasmStep = (${makeCvaeWasmStep})();`,
      `const cvaeRun = (${makeCvaeRun})();`,
      `(${work})();`,
    ].join("\n");

  /**
   * Start a worker with a run at step 0, which does not run yet. The scripts of data must have run.
   * @param {Partial<Settings>} settings - those that differ from the defaults
   * @param {{onReport: (report: TrainingReport) => void, onError: (message: string) => void}} handlers
   * @returns {Trainer}
   */
  function open(settings, { onReport, onError }) {
    const address = URL.createObjectURL(new Blob([writeProgram()], { type: "text/javascript" }));
    const worker = new Worker(address);
    /** @type {((model: Model) => void)[]} */
    const waiting = []; // for a model
    worker.onerror = (event) => onError(event.message);
    worker.onmessage = ({ data }) => {
      if ("report" in data) onReport(data.report);
      else waiting.shift()?.(data.model);
    };

    /** @param {Command} command */
    const send = (command) => worker.postMessage(command);
    const binary = Uint8Array.from(atob(readData("cvaeStepBinary")), (character) => character.charCodeAt(0));
    const [train, test] = [readData("cvaeTrainDigits"), readData("cvaeTestDigits")];
    send({ command: "open", binary, train, test, settings: { ...cvaeRun.DEFAULTS, ...settings } });

    return {
      start: () => send({ command: "start" }),
      pause: () => send({ command: "pause" }),
      step: () => send({ command: "step" }),
      reset: () => send({ command: "reset" }),
      set: (changes) => send({ command: "set", changes }),
      show: (digit) => send({ command: "show", digit }),
      addDigits: () => send({ command: "add", train: readData("cvaeMoreDigits") }),
      getModel: () =>
        new Promise((resolve) => {
          waiting.push(resolve);
          send({ command: "model" });
        }),
      close() {
        worker.terminate();
        URL.revokeObjectURL(address);
      },
    };
  }

  /** The grey values of the test digits, 0 to 15, 784 a digit: digit i is an i % 10. */
  const unpackTestDigits = () => cvaeRun.unpackDigits(readData("cvaeTestDigits"));

  return { DEFAULTS: cvaeRun.DEFAULTS, open, unpackTestDigits };
})();
