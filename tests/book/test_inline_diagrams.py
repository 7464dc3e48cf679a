"""A diagram, which is a file beside the chapters, is a part of the built page: its words are text, its colours the
theme's.
"""

import re
from xml.etree import ElementTree

import pytest
from book_sources import CHAPTERS, ROOT

MODEL = CHAPTERS / "images/model.svg"
WORDS = "A box says yes."
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t d"><title id="t">A box</title>'
    '<desc id="d">{}</desc><text>yes</text></svg>'
)
CONFIG = """
import sys
sys.path.insert(0, {folder!r})
extensions = ["myst_nb", "inline_diagrams"]
"""


@pytest.fixture
def build(tmp_path):
    """Build a page of one diagram with the extension: a function from the alt text and the desc to the page's HTML."""
    application = pytest.importorskip("sphinx.application", reason="Sphinx is not installed")

    def build(alt, desc=WORDS):
        source, out = tmp_path / "source", tmp_path / "out"
        (source / "images").mkdir(parents=True)
        (source / "images/box.svg").write_text(SVG.format(desc), encoding="utf-8")
        (source / "index.md").write_text(f"# A page\n\n![{alt}](images/box.svg)\n", encoding="utf-8")
        (source / "conf.py").write_text(CONFIG.format(folder=str(ROOT / "_ext")), encoding="utf-8")
        app = application.Sphinx(source, source, out, tmp_path / "trees", "html", status=None, warning=None)
        app.build()
        return (out / "index.html").read_text(encoding="utf-8")

    return build


def test_the_file_is_a_part_of_the_page(build):
    page = build("A box\nsays yes.")
    assert SVG.format(WORDS) in page and "<img" not in page


@pytest.mark.parametrize("alt, desc", [("A box says no.", WORDS), ("", "")])
def test_the_alt_text_is_what_the_diagram_says_of_itself(build, alt, desc):
    """Otherwise readers of the notebook and of the page would be told two things, or nothing."""
    with pytest.raises(Exception, match=r"box\.svg: found"):
        build(alt, desc)


def test_the_model_has_words_and_both_themes():
    """Each colour is the theme's; where no theme is, as on GitHub, those for light and for dark differ."""
    text = MODEL.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    named = {node.get("id") for node in root.iter() if node.tag.endswith(("title", "desc"))}
    assert root.get("role") == "img" and set(root.get("aria-labelledby").split()) == named
    shown = " ".join("".join(node.itertext()) for node in root.iter() if node.tag.endswith("}text"))
    for word in ("image x", "label y", "encoder", "decoder", "log variance", "KL loss", "reconstruction", "logits"):
        assert word in shown, f"the diagram does not show {word!r}"
    light, dark = re.findall(r"\{\s*(--ground:[^}]*?--kl:[^;]*;)", text)
    found = [re.findall(r"(--\w+): var\(--pst-color-[\w-]+, (#\w{6})\);", one) for one in (light, dark)]
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]
    assert not {colour for _, colour in found[0]} & {colour for _, colour in found[1]}
    # Every rule belongs to the diagram, because its style is the page's, too.
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)[1]
    rules = re.findall(r"^\S[^{\n]*\{", style, re.MULTILINE)
    assert all(rule.startswith((".model-diagram", "@media")) for rule in rules)
