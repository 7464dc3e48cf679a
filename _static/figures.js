// A figure that is shown much smaller than it is opens at its full size in a dialog that scrolls: by a tap on the figure
// or by its button. A tap, Escape or the dialog's button closes it.
document.addEventListener("DOMContentLoaded", () => {
  const dialog = document.createElement("dialog");
  dialog.className = "full-size";
  dialog.setAttribute("aria-label", "Figure at full size");
  dialog.innerHTML = '<button type="button" class="btn btn-sm">Close</button>';
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.querySelectorAll("img").forEach((image) => image.remove()));
  document.body.append(dialog);

  for (const figure of document.querySelectorAll(".bd-article figure, .bd-article .cell_output")) {
    const images = [...figure.querySelectorAll("img[width]")].filter((image) => !image.closest("a, .enlarge"));
    if (!images.length || figure.querySelector("figure")) continue;
    const place = document.createElement("div");
    const button = document.createElement("button");
    const open = () => {
      if (button.hidden) return;
      dialog.append(...images.map((image) => image.cloneNode()));
      dialog.showModal();
    };
    place.className = "enlarge";
    button.type = "button";
    button.textContent = "⤢";
    button.setAttribute("aria-label", "Open the figure at full size");
    button.addEventListener("click", open);
    images.forEach((image) => image.addEventListener("click", open));
    images[0].before(place);
    place.append(...images, button);
    new ResizeObserver(() => {
      button.hidden = place.clientWidth > 0.85 * images[0].getAttribute("width");
    }).observe(place);
  }
});
