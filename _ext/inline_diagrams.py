"""Sphinx extension: put the text of a diagram, an SVG in a folder `images`, into the page in place of its <img>.

In the page itself a diagram has the colours of the theme, and its words can be selected and found. JupyterLab and
GitHub show the same file as a picture. The diagram says itself what a screen reader is told, in its `title` and `desc`;
the alt text in the Markdown has to be the words of the `desc`.
"""

from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

SVG = "{http://www.w3.org/2000/svg}"


def is_diagram(image):
    path = PurePosixPath(image["uri"])
    return path.suffix == ".svg" and path.parent.name == "images"


def letters(text):
    """A text without its spaces and line breaks: MyST joins the lines of an alt text without a space."""
    return "".join((text or "").split())


class InlineDiagrams(SphinxPostTransform):
    """Replace the image of a diagram by the <svg> element of its file."""

    default_priority = 400
    formats = ("html",)

    def run(self, **kwargs):
        for image in list(self.document.findall(nodes.image)):
            if is_diagram(image):
                svg = self.read(image["uri"], image.get("alt"))
                image.replace_self(nodes.raw("", svg, format="html"))

    def read(self, uri, alt):
        """Read the <svg> element of a file. Its title and desc have to be there, and alt has to be the desc."""
        text = Path(self.app.srcdir, uri).read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        title, words = (root.findtext(f"{SVG}{name}") for name in ("title", "desc"))
        if not letters(title) or not letters(words):
            raise ExtensionError(f"{uri}: found the title {title!r} and the desc {words!r}; expected words in both")
        if letters(alt) != letters(words):
            raise ExtensionError(
                f"{self.env.docname}: the alt text of {uri}: found {alt!r}; expected the words of its desc, {words!r}. "
                "Copy them."
            )
        return text[text.index("<svg") :]


def setup(app):
    app.add_post_transform(InlineDiagrams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
