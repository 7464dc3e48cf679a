// @ts-check
/*
 * Five classic bugs. The reader trains with one of them, diagnoses it from the pictures and the curves, and opens the
 * answer. Each answer says what the linked section of the book measured; a test looks its numbers up there.
 */
"use strict";

/**
 * @typedef {object} Bug
 * @property {Partial<Settings>} change - what the bug changes in the settings of the page
 * @property {string} answer - what it is and how it shows, as HTML
 * @property {string} measured - what the book measured, as HTML
 * @property {string} page - of the book, without its folder, with the section
 * @property {string} chapter - the number and the name of the page
 */

const cvaeBugs = (() => {
  /** @type {Bug[]} */
  const BUGS = [
    {
      change: { pixels: "mean" },
      answer: `The reconstruction loss is the <strong>mean over the pixels</strong> where it should be the sum, so the
        KL counts 784 times too much. The encoder gives up: the KL is 0, the codes lie on one spot, and each
        label gets one average picture, whatever z is. The ten digits at z = 0 look harmless, so the grid gives
        the bug away.`,
      measured: `In ten epochs on 4,000 digits the healthy model came to 151.5 nats and this one to 172.3. The mean image
        of each digit alone has 170.1.`,
      page: "02_build_the_model.html#what-the-wrong-average-does",
      chapter: "2, Build the model",
    },
    {
      change: { beta: 0 },
      answer: `The <strong>KL loss is left out</strong>. Nothing keeps the codes near the prior, so they scatter beyond
        the edge of the plane, and around z = 0, where we ask for digits, the decoder has learned little. The
        reconstruction loss alone looks healthy, but the KL curve stands at tens of nats.`,
      measured: `For one 3, a weight of 1 gives the ellipse sigmas of 0.09 and 0.11. With a weight of 0.1 they are 0.03
        and 0.04 already, and the KL loss rises from 4.37 to 6.57 nats.`,
      page: "02_build_the_model.html#two-losses-pull-on-one-ellipse",
      chapter: "2, Build the model",
    },
    {
      change: { told: false },
      answer: `The model is <strong>not told the label</strong>. All ten labels draw the same blur, the grid shows
        other digits than the one that was asked for, and on the plane each class keeps to a place of its own.`,
      measured: "The loss of such a plain VAE, trained in the same way on all of MNIST, is 19 nats higher.",
      page: "10_weigh_the_label.html#a-vae-is-a-cvae-that-is-always-told-the-same",
      chapter: "10, Weigh the label",
    },
    {
      change: { logSigma: true },
      answer: `The sample takes the second head for a <strong>log standard deviation</strong>, and the KL loss takes it
        for a log variance. All pictures are right. Only the curves are strange: the KL is about a third lower than that
        of a healthy run, and the sum is too good to be true.`,
      measured: `For one digit of the trained model this mistake makes the reconstruction loss 1.52 nats lower, while the
        true loss is 3.4 nats higher.`,
      page: "04_encode_a_digit.html#mistake-1-a-log-variance-read-as-a-log-standard-deviation",
      chapter: "4, Encode a digit",
    },
    {
      change: { oneEpsilon: true },
      answer: `All images of a batch share <strong>one ε</strong>. Most pictures look right, but the KL swings, and for
        some hundred steps the test curve stays a few nats above that of a healthy run. Each ε is a proper draw, yet a
        step averages over the images and not over ε, so its gradient is noisier.`,
      measured: "In ten epochs on 4,000 digits, with batches of 250, the shared ε raised the loss by 6.2 nats.",
      page: "11_train_two_latents_better.html#a-bug-that-nothing-reports-one-for-the-whole-batch",
      chapter: "11, Train two latents better",
    },
  ];

  /**
   * The letter that a bug is called by, which does not give it away.
   * @param {number} i - its place in the list
   */
  const letterOf = (i) => "ABCDE"[i];

  return { BUGS, letterOf };
})();
