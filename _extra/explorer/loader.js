/*
 * Start the explorer when its place comes into view. Until then the page costs this script alone; the weights
 * (1.7 MB) and the rest are loaded on sight, as classic scripts and from beside this file, so that it all works in a
 * page that is opened from disk, where a browser allows neither `import` nor `fetch`.
 */
(function () {
  "use strict";

  const folder = document.currentScript.src.replace(/[^/]*$/, "");

  function add(tag, attributes) {
    return new Promise((resolve, reject) => {
      const element = Object.assign(document.createElement(tag), attributes);
      element.onload = resolve;
      element.onerror = () => reject(new Error(`cannot load ${element.src || element.href}`));
      document.head.append(element);
    });
  }

  async function start(place) {
    // Not async: they run in this order, as each needs those before it.
    const scripts = ["model.js", "weights.js", "digits.js", "explorer.js"];
    try {
      await Promise.all([
        add("link", { rel: "stylesheet", href: folder + "explorer.css" }),
        ...scripts.map((name) => add("script", { src: folder + name, async: false })),
      ]);
      globalThis.cvaeExplorer.start(place);
    } catch (error) {
      // What stands in the explorer's place stays there.
      console.warn(error.message);
    }
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      start(target);
    }
  });
  document.querySelectorAll(".cvae-explorer").forEach((place) => observer.observe(place));
})();
