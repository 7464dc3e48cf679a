"""The book as files: its pages, the cells of its chapters, the prose of its texts, and bare pages for its scripts."""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "chapters"
NOTEBOOKS = sorted(CHAPTERS.glob("*.ipynb"))
TEXTS = sorted(path for path in CHAPTERS.glob("*.md") if path.read_text(encoding="utf-8").startswith("---\njupytext:"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
LISTED = [TOC["root"], *(entry["file"] for part in TOC["parts"] for entry in part["chapters"])]
# All without their suffix: what the table of contents lists, what of this is a chapter, and what the site has besides.
SOURCES = [name.removesuffix(".ipynb") for name in LISTED]
EXECUTED = [name.removesuffix(".ipynb") for name in LISTED if name.endswith(".ipynb")]
PAGES = [*SOURCES, "search", "404"]
# What a copy of the repository leaves out.
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".*_cache", "_build", "node_modules", "trained")
EXPLORER = ("_extra/explorer", "cvae_lib/web/explorer")  # scripts that only the page has, and those that Jupyter shares

FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
BLOCK = re.compile(r"^ *(`{3,})([^\n]*)\n(.*?)^ *\1$", re.DOTALL | re.MULTILINE)
# An anchor names what follows it; the caption of a picture is a paragraph after its cell; an equation has a tag.
ANCHOR = re.compile(r'<a id="([\w-]+)"></a>')
CAPTION = re.compile(rf"^{ANCHOR.pattern}\*\*Figure ([\d.]+)\.\*\* (.+?)\n*\Z", re.DOTALL)
EQUATION = re.compile(
    rf"^{ANCHOR.pattern}\n\n\$\$\n((?:(?!\$\$).)*?)\\tag\{{([\d.]+)\}}\n\$\$$", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"(?<!!)\[([^][]+)\]\(([^()\s]+)\)")
# What stands in a text and not on its page: captions (which stand at their pictures there), images, addresses of links,
# the numbers of lists, formulas (MathJax draws them), comments, and the few tags of HTML that the texts may use.
NOT_SHOWN = re.compile(
    rf"^{ANCHOR.pattern}\*\*Figure .*?(?=\n\n|\n\0|\Z)|!\[[^]]*\]\([^)]*\)|(?<=\])\([^)]*\)|^ *\d+\. "
    r"|\$\$.*?\$\$|\$[^$]+\$|<!--.*?-->|</?(?:a|br|details|div|span|summary)\b[^>]*>",
    re.DOTALL | re.MULTILINE,
)
GAP = "\0"


@cache
def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]


def printed(cell):
    """What a cell shows as text, apart from the name of a figure or a widget."""
    texts = [out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
    return "\n".join(text for text, out in zip(texts, cell.outputs) if set(out.get("data", {})) <= {"text/plain"})


def pictures(cell):
    """The MIME types of the pictures that a cell shows."""
    return [kind for output in cell.outputs for kind in output.get("data", {}) if kind.startswith("image/")]


def alt_text(cell):
    """What a reader who does not see the picture of a cell is told."""
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


def squeeze(text):
    """The letters and digits of a text: what is left of it whatever its markup, quotes, dashes and line breaks."""
    return re.sub(r"[\W_]+", "", text)


def blank(found):
    """Put a gap of as many lines in the place of a match."""
    return GAP + "\n" * found[0].count("\n")


def without_front_matter(path):
    return FRONT_MATTER.sub(blank, path.read_text(encoding="utf-8"))


def prose(path):
    """The pieces of a text that its page must show in this order, each with the number of its line.

    MyST is not asked, on purpose: a line that it takes for a comment must be on the page too. Code that is only shown
    counts as prose, and cells do not.
    """

    def show_block(found):
        return blank(found) if found[2].startswith("{code-cell}") else "\n" + re.sub(r"[^\w\n]", " ", found[3])

    text = BLOCK.sub(show_block, without_front_matter(path))
    text = re.sub(r"`([^`]+)`", lambda found: re.sub(r"[^\w\n]", " ", found[1]), text)
    lines = enumerate(NOT_SHOWN.sub(blank, text).split("\n"), start=1)
    return [(number, piece) for number, line in lines for piece in line.split(GAP) if squeeze(piece)]


def write_site(folder, scripts, pages):
    """Make a site of bare pages, {name: HTML}, and of these folders of scripts, which lie as in the built book."""
    for source in scripts:
        shutil.copytree(ROOT / source, folder / source.split("/")[-1], dirs_exist_ok=True)
    (folder / "chapters").mkdir()
    for name, page in pages.items():
        (folder / f"chapters/{name}.html").write_text(page, encoding="utf-8")
    return folder


def add_to_report(path, /, **found):
    """Add what a test measured to a file of such figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**known, **found}, indent=2) + "\n", encoding="utf-8")
