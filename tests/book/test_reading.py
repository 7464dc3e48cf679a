"""The text of a chapter in a real JupyterLab: it reads as in the book, and its links lead on. No cell is run.

test_texts.py looks at the sources of all chapters; here a browser looks at what JupyterLab makes of one.
"""

import re

import pytest
from processes import wait_for

CHAPTER = "02_build_the_model"
# Roles, fences, labels and tags, as they would stand there unread, and the sign of a plug-in that cannot read them.
RAW = re.compile(r"\{[\w:-]+\}`|:::|^\([\w-]+\)=|\\tag|<a id|ⓘ", re.MULTILINE)
SCROLL = """() => {
  const outer = document.querySelector(".jp-WindowedPanel-outer");
  const before = outer.scrollTop;
  outer.scrollTop += 500;
  return outer.scrollTop > before;
}"""

pytestmark = pytest.mark.slow


@pytest.fixture
def chapter(tab, lab):
    tab.goto(f"{lab}/lab/workspaces/reading/tree/{CHAPTER}.ipynb")
    tab.wait_for_selector(".jp-MarkdownOutput h1", timeout=60_000)
    return tab


def read_through(chapter):
    """Scroll from the top to the end; return the texts of all Markdown cells, each once, and how solutions stand."""
    texts, solutions = {}, set()
    while True:
        chapter.wait_for_timeout(300)  # JupyterLab draws a cell when it comes into sight, and then its formulas
        texts |= dict.fromkeys(chapter.locator(".jp-MarkdownOutput").all_inner_texts())
        solutions |= set(chapter.locator(".jp-MarkdownOutput details").evaluate_all("all => all.map(one => one.open)"))
        if not chapter.evaluate(SCROLL):
            return "\n".join(texts), solutions


def test_the_text_reads_as_in_the_book(chapter):
    text, solutions = read_through(chapter)
    found = RAW.search(text)
    assert not found, f"a reader sees this: {text[found.start() - 40 : found.end() + 40]!r}"
    for words in (
        "The reconstruction loss",
        "(2.1)",
        "(2.7)",
        "Figure 2.1.",
        "Kingma and Welling, 2014",
        "equation (2.3)",
    ):
        assert words in text, f"{words}: not in the notebook as JupyterLab shows it"
    assert solutions == {False}, "a solution stands open"


def test_a_link_to_a_chapter_opens_it(chapter):
    chapter.locator(".jp-MarkdownOutput a", has_text="Meet the digits").first.click()
    opened = chapter.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel", has_text="01_meet_the_digits.ipynb")
    wait_for(opened.count, 30, "the chapter in a tab")
