"""Sphinx extension: each page says which scripts it may run, in a content security policy.

A page runs the scripts of the book's own folder, and of those that stand in the page itself only the ones that the
build put there: the policy holds the hash of each. Whatever else comes into a page, such as markup in a link or in a
drawing that a reader opens, cannot run. Nothing is loaded from another host, read from disk or from a server.

The trainer is why WebAssembly and workers made by the page are allowed. Styles may stand in a page: MathJax writes
them there. `'unsafe-hashes'` lets the hashes hold for the two buttons of the theme that carry their script themselves.
"""

import re
from base64 import b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path

INLINE = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
HANDLER = re.compile(r'<[a-z][^<>]*?\son[a-z]+="([^"]*)"')
START = re.compile(r"<head>\s*(?:<meta charset=[^>]*>)?")  # before the first script, to which the policy must apply
META = '\n    <meta http-equiv="Content-Security-Policy" content="{}" />'
WRITTEN = re.compile(META.format('[^"]*'))
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'unsafe-hashes' {}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'self'; "
    "form-action 'self'"
)


def hash_all(scripts):
    """The hashes of scripts, as a policy has them: sorted, in one text."""
    digests = {sha256(script.encode()).digest() for script in scripts}
    return " ".join(sorted(f"'sha256-{b64encode(digest).decode()}'" for digest in digests))


def write_policies(app, exception):
    """Write the policy of each page into its head, in the place of one that an earlier build wrote.

    A script in an attribute is allowed on every page if one has it, because the search reads the other pages.
    """
    if exception is not None or app.builder.format != "html":
        return
    pages = {path: WRITTEN.sub("", path.read_text(encoding="utf-8")) for path in Path(app.outdir).rglob("*.html")}
    handlers = {unescape(one) for html in pages.values() for one in HANDLER.findall(html)}
    for path, html in pages.items():
        meta = META.format(POLICY.format(hash_all(handlers.union(filter(None, INLINE.findall(html))))))
        html = START.sub(rf"\g<0>{meta}", html, count=1)
        path.write_text(html, encoding="utf-8", newline="\n")


def setup(app):
    app.connect("build-finished", write_policies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
