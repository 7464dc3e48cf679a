"""Sphinx extension: the plain Markdown of the chapters becomes numbered equations, figures, and links inside the book.

The texts are written so that they read the same in JupyterLab, on GitHub and in the book. Three things in them mean
more on the built page than to a plain viewer:

- `<a id="eq-elbo"></a>` is an anchor: what follows it can be linked to, from this page or another. An equation that
  follows one, with `\\tag{2.2}`, gets its number from Sphinx.
- A paragraph `<a id="fig-map"></a>**Figure 5.1.** …` after a code cell is the caption of the cell's picture.
- A link to the address of a source, as in `[Kingma and Welling, 2014](https://arxiv.org/abs/1312.6114)`, leads to its
  entry in the bibliography.

Sphinx numbers equations and figures by itself; tests/book compares its numbers with those that the texts write.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

ANCHOR = re.compile(r'<a id="([\w-]+)">')
TAG = re.compile(r"\s*\\tag\{[\d.]+\}")
FIGURE = re.compile(r"Figure [\d.]+\.")
ENTRY = re.compile(r'^- <a id="([\w-]+)"></a>.*?\[([^]]+)\]\((\S+)\)', re.MULTILINE | re.DOTALL)
BIBLIOGRAPHY = "chapters/bibliography"


def anchor_in(paragraph):
    """The name of the anchor that a paragraph begins with, or None; the tags of the anchor are taken out."""
    opening = paragraph[0] if paragraph.children else None
    found = ANCHOR.fullmatch(opening.astext()) if isinstance(opening, nodes.raw) else None
    if found is None:
        return None
    del paragraph[:2]
    return found[1]


class ReadAnchors(SphinxTransform):
    """Turn anchors into targets, equations with a tag into numbered ones, captions into captions."""

    default_priority = 300  # before MyST resolves the links

    def apply(self):
        for paragraph in list(self.document.findall(nodes.paragraph)):
            if label := anchor_in(paragraph):
                self.note(label, self.attach(label, paragraph))

    def note(self, label, target):
        """Let Markdown links of this page and of others find the anchor: MyST looks for it among its headings."""
        slugs = self.env.metadata[self.env.docname].setdefault("myst_slugs", {})
        slugs[label] = self.document.myst_slugs[label] = (0, target, "")

    def attach(self, label, paragraph):
        """Give the anchor to what it stands for; returns the id of this node."""
        after = paragraph.next_node(descend=False, siblings=True)
        text = [node for node in paragraph if node.astext().strip()]
        if not text and isinstance(after, nodes.math_block):
            paragraph.parent.remove(paragraph)
            return self.number_equation(label, after)
        if text and isinstance(text[0], nodes.strong) and FIGURE.fullmatch(text[0].astext()):
            self.make_figure(label, paragraph)
        elif text:
            paragraph["ids"].append(label)
        else:
            paragraph.replace_self(nodes.target(ids=[label]))
        return label

    def number_equation(self, label, block):
        text, n = TAG.subn("", block.astext())
        if n != 1:
            raise ExtensionError(f"{self.env.docname}: {label}: found {n} tags; expected one, such as \\tag{{2.1}}")
        equation = nodes.math_block(text, text, nowrap=False, label=label, docname=self.env.docname)
        equation["ids"] = [f"equation-{label}"]
        equation.source, equation.line = block.source, block.line
        domain = self.env.get_domain("math")
        domain.note_equation(self.env.docname, label, location=equation)
        equation["number"] = domain.get_equation_number_for(label)
        block.replace_self(equation)
        return equation["ids"][0]

    def make_figure(self, label, paragraph):
        """Join the picture of the code cell before the caption, and the caption without its number, to a figure."""
        cell = paragraph.parent[paragraph.parent.index(paragraph) - 1]
        outputs = [node for node in cell.findall(nodes.container) if node.get("nb_element") == "mime_bundle"]
        if not outputs:
            raise ExtensionError(f"{self.env.docname}: {label}: found no output before the caption; expected a picture")
        rest = paragraph.children[paragraph.index(next(iter(paragraph.findall(nodes.strong)))) + 1 :]
        if isinstance(rest[0], nodes.Text):
            rest[0] = nodes.Text(rest[0].lstrip())
        figure = nodes.figure(ids=[label], names=[label], align="default")
        outputs[-1].replace_self(figure)
        figure += [outputs[-1], nodes.caption("", "", *rest)]
        self.document.note_explicit_target(figure, figure)  # numfig numbers what has a name
        paragraph.parent.remove(paragraph)


class LinkSources(SphinxPostTransform):
    """Lead links to a source of the bibliography to its entry, with the title of the source as their hint."""

    default_priority = 400

    def run(self, **kwargs):
        if self.env.docname == BIBLIOGRAPHY:
            return
        for link in self.document.findall(nodes.reference):
            if entry := self.app.book_sources.get(link.get("refuri")):
                key, title = entry
                page = self.app.builder.get_relative_uri(self.env.docname, BIBLIOGRAPHY)
                link.update_all_atts({"refuri": f"{page}#{key}", "internal": True, "reftitle": title}, replace=True)


def read_sources(app):
    """Read the bibliography: from the address of each source to its anchor and its title."""
    text = Path(app.srcdir, f"{BIBLIOGRAPHY}.md").read_text(encoding="utf-8")
    app.book_sources = {url: (key, " ".join(title.split())) for key, title, url in ENTRY.findall(text)}


def setup(app):
    app.connect("builder-inited", read_sources)
    app.add_transform(ReadAnchors)
    app.add_post_transform(LinkSources)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
