"""Sphinx extension: put beside each page's source a script that holds the same text.

A page that is read from disk may neither read another file nor have the browser save it, but it may run a script.
`_static/download.js` uses these scripts.
"""

import json
from pathlib import Path


def write_script(path):
    """Write the text of a file as a script, in ASCII, which no page can read in a wrong encoding."""
    text = path.read_bytes().decode("utf-8")
    Path(f"{path}.js").write_text(f"window.bookSource = {json.dumps(text)};\n", encoding="ascii")


def write_all(app, exception):
    if exception is None and app.builder.format == "html":
        for page in app.env.found_docs:
            for path in Path(app.outdir, "_sources").glob(f"{page}.*"):
                if path.suffix != ".js":
                    write_script(path)


def setup(app):
    app.connect("build-finished", write_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
