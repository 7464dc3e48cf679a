// The theme's links to a page's source open it in a tab wherever the browser can show it: save it instead. Browsers
// obey the attribute `download` over http, but not for files on disk. There the text comes out of a script beside the
// source, which _ext/source_scripts.py writes, and which sets `bookSource`.
document.addEventListener("DOMContentLoaded", () => {
  for (const link of document.querySelectorAll("a.btn-download-source-button, a.btn-download-notebook-button")) {
    link.removeAttribute("target");
    link.download = link.pathname.split("/").pop();
    if (location.protocol === "file:") link.addEventListener("click", saveFromScript, { once: true });
  }
});

function saveFromScript(event) {
  event.preventDefault();
  const link = event.currentTarget;
  const script = document.createElement("script");
  script.src = `${link.href}.js`;
  script.addEventListener("load", () => {
    link.href = URL.createObjectURL(new Blob([window.bookSource]));
    link.click();
  });
  document.head.append(script);
}
