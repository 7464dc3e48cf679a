// @ts-check
/*
 * Start what runs the model inside the page. A place for it is a `<div class="cvae-explorer">`: its attribute
 * data-panels names the panels that it gets, and what the page put into it is a still, which a reader without
 * JavaScript sees.
 *
 * Until a place comes into view the page costs this script alone. Then the place gets its panels, and a panel asks for
 * its data, the large files, when it needs them. All files are classic scripts from the folder of this one, so that the
 * panels also work in a page that is opened from disk, where a browser allows neither `import` nor `fetch`.
 */
"use strict";

(() => {
  const STYLE = "explorer.css"; // of all panels
  // What the panels are made of, in the order in which it runs.
  const SHARED = ["model.js", "strokes.js", "elements.js", "plane.js", "pad.js", "explorer.js"];
  const CHAPTER = "point picture"; // the panels of a place that names none
  // The panel that trains, in full and as the first page has it. What trains is loaded with the digits.
  const TRAINER = {
    styles: ["../trainer/trainer.css"],
    scripts: ["settings.js", "bugs.js", "curves.js", "codes.js", "form.js", "train_panel.js"].map(
      (name) => `../trainer/${name}`,
    ),
    data: [
      ...["plain_step.js", "wasm_step.js", "run.js", "trainer.js", "weights.js"],
      ...["step_binary.js", "train_digits.js", "test_digits.js"],
    ].map((name) => `../trainer/${name}`),
    more: { digits: ["../trainer/more_digits.js"] },
  };
  /**
   * By the name of a panel: its scripts and styles, the data that it asks for, written by `python -m cvae_lib export`,
   * and by name what it asks for when a reader wants more.
   * @type {Record<string, {scripts: string[], data: string[], styles?: string[], more?: Record<string, string[]>}>}
   */
  const PANELS = {
    draw: { scripts: ["draw_panel.js"], data: ["decoder.js"] },
    point: {
      scripts: ["label_controls.js", "point_panel.js"],
      data: ["decoder.js", "digits.js"],
      more: { fashion: ["fashion-2d.js"], letters: ["convolutional.js", "letters-2d.js"] },
    },
    picture: { scripts: ["picture_panel.js"], data: ["decoder.js", "encoder.js", "digits.js"] },
    step: { scripts: ["../toys/posteriors.js", "../toys/toy.js", "../toys/step.js"], data: ["decoder.js"] },
    average: { scripts: ["../toys/posteriors.js", "../toys/toy.js", "../toys/average.js"], data: ["decoder.js"] },
    tug: { scripts: ["../toys/posteriors.js", "../toys/toy.js", "../toys/tug.js"], data: ["decoder.js"] },
    train: TRAINER,
    "train-first": TRAINER,
  };

  const { src } = /** @type {HTMLScriptElement} */ (document.currentScript);
  const folder = src.replace(/[^/]*$/, "");

  /**
   * By the name of a file: settled once it is loaded and, if it is a script, has run.
   * @type {Map<string, Promise<unknown>>}
   */
  const loaded = new Map();

  /**
   * Load a file of this folder, once for all places; what did not load is loaded again when it is asked for again.
   * @param {string} name
   * @param {(address: string) => HTMLLinkElement | HTMLScriptElement} make - makes the element that loads an address
   */
  function load(name, make) {
    const known = loaded.get(name);
    if (known) return known;
    const promise = new Promise((resolve, reject) => {
      const element = make(folder + name);
      element.onload = resolve;
      element.onerror = () => {
        loaded.delete(name);
        reject(new Error(`cannot load ${folder}${name}`));
      };
      document.head.append(element);
    });
    loaded.set(name, promise);
    return promise;
  }

  /** @param {string} name */
  const loadStyle = (name) =>
    load(name, (address) => Object.assign(document.createElement("link"), { rel: "stylesheet", href: address }));

  // Scripts load side by side but run in their order, because each uses those before it.
  /** @param {string[]} names */
  const loadScripts = (names) =>
    Promise.all(
      names.map((name) =>
        load(name, (address) => Object.assign(document.createElement("script"), { src: address, async: false })),
      ),
    );

  /** @param {HTMLElement} place */
  async function start(place) {
    const names = (place.dataset.panels ?? CHAPTER).split(" ");
    const scripts = names.flatMap((name) => PANELS[name].scripts);
    const styles = names.flatMap((name) => PANELS[name].styles ?? []);
    try {
      await Promise.all([...[STYLE, ...styles].map(loadStyle), loadScripts([...SHARED, ...scripts])]);
      await cvaeExplorer.start(
        place,
        names.map((name) => ({
          name,
          loadData: () => loadScripts(PANELS[name].data),
          loadMore: (what) => loadScripts(PANELS[name].more?.[what] ?? []),
        })),
      );
    } catch (error) {
      // What the page put into the place stays there.
      console.warn(`The panels ${names.join(" and ")} did not start: ${error}`);
    }
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      start(/** @type {HTMLElement} */ (target));
    }
  });
  document.querySelectorAll(".cvae-explorer").forEach((place) => observer.observe(place));
})();
