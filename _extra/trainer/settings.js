// @ts-check
/*
 * The settings that the panel shows: each teaches one thing. How they are called, what to watch for after a change, and
 * in which section of the book that is measured.
 */
"use strict";

/** @typedef {Exclude<keyof Settings, "hidden">} SettingName */

/**
 * How a setting is shown.
 * @typedef {object} SettingView
 * @property {string} name
 * @property {Settings[SettingName]} start - its value when the page opens, as in run.js
 * @property {[value: Settings[SettingName], text: string][]} options - what can be chosen
 * @property {string} watch - a sentence that says what to watch for
 * @property {string} page - of the book, without its folder, with the section
 * @property {string} chapter - the number and the name of the page
 * @property {boolean} [restarts] - a change of it starts a new run
 */

const cvaeSettings = (() => {
  /** @type {(...values: number[]) => [number, string][]} */
  const numbers = (...values) => values.map((value) => [value, value.toLocaleString("en")]);

  /** @type {Record<SettingName, SettingView>} */
  const SETTINGS = {
    pixels: {
      name: "Loss over the pixels",
      start: "sum",
      options: [
        ["sum", "sum"],
        ["mean", "mean"],
      ],
      watch: `With the mean, the KL counts 784 times too much. Its curve falls to 0, and the 64 pictures of the grid
        become one.`,
      page: "02_build_the_model.html#the-trap-a-mean-where-a-sum-belongs",
      chapter: "2, Build the model",
    },
    beta: {
      name: "Weight of the KL loss",
      start: 1,
      options: numbers(0, 0.25, 0.5, 1, 2, 4, 8),
      watch: `At 0 the codes scatter far from the prior, and the digits at z = 0 break up. At 8 the KL curve falls below 2
        nats, and the reconstruction loss rises by more than that.`,
      page: "12_add_latents.html#what-does-a-heavier-kl-change",
      chapter: "12, Add latents, lose control",
    },
    told: {
      name: "Label",
      start: true,
      options: [
        [true, "told"],
        [false, "not told"],
      ],
      watch: `Without the label, z has to say which digit it is. The classes part on the plane, and the ten digits
        become one blur.`,
      page: "10_weigh_the_label.html#a-vae-is-a-cvae-that-is-always-told-the-same",
      chapter: "10, Weigh the label",
    },
    oneEpsilon: {
      name: "Noise ε",
      start: false,
      options: [
        [false, "one an image"],
        [true, "one a batch"],
      ],
      watch: "With one ε a batch the KL curve swings, and for some hundred steps the test curve stays higher.",
      page: "11_train_two_latents_better.html#a-bug-that-nothing-reports-one-for-the-whole-batch",
      chapter: "11, Train two latents better",
    },
    logSigma: {
      name: "Second head sampled as",
      start: false,
      options: [
        [false, "log σ²"],
        [true, "log σ"],
      ],
      watch: `The KL loss takes the head for a log variance either way. If the sample does not, the KL curve falls,
        and the sum looks better than it is.`,
      page: "04_encode_a_digit.html#mistake-1-a-log-variance-read-as-a-log-standard-deviation",
      chapter: "4, Encode a digit",
    },
    atMean: {
      name: "Test digits decoded from",
      start: false,
      options: [
        [false, "a draw of z"],
        [true, "the mean of z"],
      ],
      watch: "At the mean the test curves drop by about a nat at once, although the model has learned nothing more.",
      page: "10_weigh_the_label.html#flattered-at-the-mean",
      chapter: "10, Weigh the label",
    },
    latents: {
      name: "Latents",
      start: 2,
      options: numbers(1, 2, 3),
      watch: "More latents give a lower loss and a higher KL. With one, all digits change in a single way.",
      page: "12_add_latents.html#what-improves-with-more-latents-and-what-gets-worse",
      chapter: "12, Add latents, lose control",
      restarts: true,
    },
    learningRate: {
      name: "Learning rate",
      start: 0.003,
      options: [0.0003, 0.001, 0.003, 0.01, 0.03].map((value) => [value, String(value)]),
      watch: `With 0.0003 the model learns slowly. With 0.03 it gets stuck: the KL stays at tens of nats, and the loss far
        above that of other rates.`,
      page: "11_train_two_latents_better.html#which-single-change-lowers-the-loss",
      chapter: "11, Train two latents better",
    },
    batchSize: {
      name: "Batch size",
      start: 100,
      options: numbers(10, 50, 100, 250, 500),
      watch: `A small batch makes a quick but noisy step, so there are more of them in a second. A large one wastes time
        here: it has the better gradient, and too few steps.`,
      page: "11_train_two_latents_better.html#which-single-change-lowers-the-loss",
      chapter: "11, Train two latents better",
    },
    digits: {
      name: "Training digits",
      start: 2000,
      options: numbers(500, 1000, 2000, 5000),
      watch: `With 500 the training curve goes on falling while the test curve turns up: the model overfits. With
        5,000 the two stay together for longer.`,
      page: "11_train_two_latents_better.html#how-did-its-training-end",
      chapter: "11, Train two latents better",
    },
    seed: {
      name: "Seed",
      start: 1,
      options: numbers(1, 2, 3, 4, 5),
      watch: `Another seed turns the plane and ends at a slightly different loss. A smaller difference than that is
        luck.`,
      page: "03_train_and_read_the_log.html#how-much-is-luck",
      chapter: "3, Train and read the log",
      restarts: true,
    },
  };

  const NAMES = /** @type {SettingName[]} */ (Object.keys(SETTINGS));

  /** @typedef {Pick<Settings, SettingName>} Chosen - what the reader can choose */

  const DEFAULTS = /** @type {Chosen} */ (Object.fromEntries(NAMES.map((name) => [name, SETTINGS[name].start])));

  /** @param {string} text */
  const lowerFirst = (text) => text[0].toLowerCase() + text.slice(1);

  /**
   * Say what a setting is set to.
   * @param {SettingName} name
   * @param {Settings[SettingName]} value
   */
  const describeOne = (name, value) =>
    `${lowerFirst(SETTINGS[name].name)}: ${SETTINGS[name].options.find(([option]) => option === value)?.[1]}`;

  /**
   * Say in what settings differ from the page's own.
   * @param {Chosen} settings
   */
  function describe(settings) {
    const changed = NAMES.filter((name) => settings[name] !== DEFAULTS[name]);
    return changed.map((name) => describeOne(name, settings[name])).join("; ") || "the settings of the page";
  }

  return { DEFAULTS, SETTINGS, NAMES, describeOne, describe };
})();
