// @ts-check
/*
 * Start the explorer when its place comes into view. Until then the page costs this script alone. The weights (1.7 MB)
 * and the rest are loaded on sight, as classic scripts from the folder of this file, so that the explorer also works
 * in a page that is opened from disk, where a browser allows neither `import` nor `fetch`.
 */
"use strict";

(() => {
  const STYLE = "explorer.css";
  const SCRIPTS = [
    // The arithmetic.
    "model.js",
    "strokes.js",
    // What the panels are made of.
    "elements.js",
    "plane.js",
    "pad.js",
    // The panels.
    "point_panel.js",
    "picture_panel.js",
    // The data, written by `python -m cvae_lib export`.
    "weights.js",
    "digits.js",
    // Mounts the panels.
    "explorer.js",
  ];

  const { src } = /** @type {HTMLScriptElement} */ (document.currentScript);
  const folder = src.replace(/[^/]*$/, "");

  /**
   * Add a <link> or <script> to the page.
   * @param {HTMLLinkElement | HTMLScriptElement} element
   * @param {string} name - of its file
   * @returns {Promise<unknown>} settled once the file is loaded and, if it is a script, has run
   */
  function load(element, name) {
    return new Promise((resolve, reject) => {
      element.onload = resolve;
      element.onerror = () => reject(new Error(`cannot load ${folder}${name}`));
      document.head.append(element);
    });
  }

  /** @param {string} name */
  function loadStyle(name) {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = folder + name;
    return load(link, name);
  }

  /** @param {string} name */
  function loadScript(name) {
    const script = document.createElement("script");
    script.src = folder + name;
    // The scripts load side by side but run in their order, because each uses those before it.
    script.async = false;
    return load(script, name);
  }

  /** @param {HTMLElement} place */
  async function start(place) {
    try {
      await Promise.all([loadStyle(STYLE), ...SCRIPTS.map(loadScript)]);
      cvaeExplorer.start(place);
    } catch (error) {
      // What the chapter put into the place stays there.
      console.warn(`The explorer did not start: ${error}`);
    }
  }

  /** @type {HTMLElement | null} */
  const place = document.querySelector(".cvae-explorer");
  if (!place) return;
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    observer.disconnect();
    start(place);
  });
  observer.observe(place);
})();
