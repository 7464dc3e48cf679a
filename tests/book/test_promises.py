"""The page "What you can rely on": each promise names a test that is there."""

import re

import pytest
from book_sources import CHAPTERS

PAGE = (CHAPTERS / "what_you_can_rely_on.md").read_text(encoding="utf-8")
POINTS = re.findall(r"^- .+\n(?:  .+\n)*", PAGE, re.MULTILINE)
assert len(POINTS) > 30


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.splitlines()[0].removeprefix("- "))
def test_each_promise_names_a_test_that_is_there(point):
    found = re.fullmatch(r"- [A-Z][^.]*\.\s+\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)\n", point)
    assert found, "expected: - A sentence. [`test_name`](../tests/folder/test_file.py)"
    source = (CHAPTERS.parent / found[2]).read_text(encoding="utf-8")
    assert re.search(rf"^def {found[1]}\(", source, re.MULTILINE), f"{found[2]} has no {found[1]}"
