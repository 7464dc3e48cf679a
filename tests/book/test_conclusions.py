"""What the book concludes from a difference is what the interval of the difference allows.

A printed difference stands as `-1.22 [-1.75, -0.68] smaller`, as `cvae_lib.metrics.Difference` writes it, and prose
quotes it as "1.22 nats lower [0.68, 1.75]": the sizes, after a word for the direction. The style guide has the rule.
"""

import re
from typing import NamedTuple

import pytest
from book_sources import BLOCK, LINK, NOTEBOOKS, blank, code_cells, printed, without_front_matter

NUMBER = r"\d[\d,]*(?:\.\d+)?"
SIGNED = rf"[+-]{NUMBER}"
# A bracket of two signed numbers, and what has to stand around it.
PRINTED_BRACKET = re.compile(rf"\[({SIGNED}), +({SIGNED})\]")
PRINTED = re.compile(rf"({SIGNED})\s+{PRINTED_BRACKET.pattern}\s+(larger|smaller|no difference seen)\b")
# In prose a minus may be a dash of its own, and a line may end behind the comma. The words of a link are no interval.
QUOTED = re.compile(rf"\[([−+-]?{NUMBER}),\s+([−+-]?{NUMBER})\](?!\()")
DIRECTION = re.compile(
    r"\b(?:(?P<smaller>lower|smaller|less|fewer|below)|(?P<larger>higher|larger|more|above)"
    r"|(?P<none>no\s+difference\s+(?:(?:is|was)\s+)?seen))\b",
    re.IGNORECASE,
)
NOT_PROSE = re.compile(r"`[^`]*`|\$\$.*?\$\$|\$[^$]+\$", re.DOTALL)
SENTENCE_END = re.compile(r"[.!?]\s|\n\s*(?:\n|[-*|] |\d+\. )")
EXPLAINED = re.compile(r"95\s%\s(?:confidence\s)?interval")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Interval(NamedTuple):
    """A printed difference with the ends of its interval, as text, and its verdict."""

    mean: str
    low: str
    high: str
    verdict: str


def value(text):
    return float(text.replace(",", "").replace("−", "-"))


def allow(low, high):
    """The verdicts that the two ends allow. An end that is rounded to 0 keeps its sign, and may have been 0."""
    if value(low) > 0 or (value(low) == 0 and low[0] == "+"):
        return {"larger"} | ({"no difference seen"} if value(low) == 0 else set())
    if value(high) < 0 or (value(high) == 0 and high[0] == "-"):
        return {"smaller"} | ({"no difference seen"} if value(high) == 0 else set())
    return {"no difference seen"}


def read_intervals(text):
    """The intervals of a printed text, and what is wrong with them."""
    intervals, wrong = [], []
    for line in text.splitlines():
        found = [Interval(*one) for one in PRINTED.findall(line)]
        if len(found) != len(PRINTED_BRACKET.findall(line)):
            wrong.append(f"{line}: expected a difference before each interval, and a verdict after it")
        for one in found:
            if not value(one.low) <= value(one.mean) <= value(one.high):
                wrong.append(f"{line}: the difference is not inside its interval")
            if one.verdict not in allow(one.low, one.high):
                wrong.append(f"{line}: found {one.verdict!r}; the interval allows {' or '.join(allow(*one[1:3]))}")
        intervals += found
    return intervals, wrong


def rounds_to(written, number):
    """Whether a number of the prose is this printed one, at the decimals of the prose."""
    decimals = len(written.partition(".")[2])
    return abs(value(written) - number) <= 0.5000001 * 10**-decimals


def ends_as_quoted(interval, verdict):
    """The two ends as prose writes them under this verdict: sizes, or with their signs around 0."""
    ends = [value(interval.low), value(interval.high)]
    return ends if verdict == "no difference seen" else sorted(map(abs, ends))


def check_prose(text, intervals):
    """What is wrong with the intervals that a text quotes, given those that its chapter prints."""
    text, wrong = NOT_PROSE.sub("…", text), []
    for found in QUOTED.finditer(text):
        before = SENTENCE_END.split(text[: found.start()])[-1]
        quoted = " ".join(f"{before}{found[0]}".split())
        directions = list(DIRECTION.finditer(before))
        if not directions:
            wrong.append(f"{quoted}: no word says the direction, such as lower or higher")
            continue
        word, verdict = directions[-1][0], directions[-1].lastgroup.replace("none", "no difference seen")
        signed = any(end[0] in "+−-" for end in found.groups())
        if verdict != "no difference seen" and (signed or value(found[1]) > value(found[2])):
            wrong.append(f"{quoted}: {word!r} gives the sign; expected two sizes, the smaller one first")
            continue
        same = [one for one in intervals if all(map(rounds_to, found.groups(), ends_as_quoted(one, verdict)))]
        means = [abs(value(one.mean)) for one in same if one.verdict == verdict]
        numbers = re.findall(NUMBER, QUOTED.sub(" ", before))
        if not same:
            wrong.append(f"{quoted}: no output prints this interval")
        elif not means:
            wrong.append(f"{quoted}: found {word!r}; the output says {same[0].verdict!r}")
        elif verdict != "no difference seen" and not any(rounds_to(one, mean) for one in numbers for mean in means):
            wrong.append(f"{quoted}: the difference {means[0]} does not stand before its interval")
    return wrong


def prose_of(path):
    return BLOCK.sub(blank, without_front_matter(path.with_suffix(".md")))


def printed_by(path):
    return "\n".join(map(printed, code_cells(path)))


@every_notebook
def test_printed_verdicts_follow_from_their_intervals(path):
    _, wrong = read_intervals(printed_by(path))
    assert not wrong, "\n".join(wrong)


@every_notebook
def test_prose_says_what_the_printed_intervals_allow(path):
    wrong = check_prose(prose_of(path), read_intervals(printed_by(path))[0])
    assert not wrong, "\n".join(wrong)


@every_notebook
def test_a_chapter_with_intervals_says_what_they_are(path):
    """Or links to chapter 3, which does."""
    if read_intervals(printed_by(path))[0]:
        text = prose_of(path)
        pages = {address.partition("#")[0] for _, address in LINK.findall(text)}
        assert EXPLAINED.search(text) or "03_train_and_read_the_log.ipynb" in pages, (
            "say that a bracket is a 95 % interval, or link to chapter 3"
        )


def test_the_book_has_intervals():
    """Otherwise the tests above would pass on anything."""
    assert any(read_intervals(printed_by(path))[0] for path in NOTEBOOKS)


LOWER = Interval("-1.22", "-1.75", "-0.68", "smaller")
HIGHER = Interval("+2.02", "+1.90", "+2.14", "larger")
NONE = Interval("+0.03", "-0.05", "+0.12", "no difference seen")


@pytest.mark.parametrize(
    "line",
    [
        "3 layers   -1.22 [-1.75, -0.68] smaller",
        "+2.02 [+1.90, +2.14] larger   +0.03 [-0.05, +0.12]  no difference seen",
        "+0.03 [+0.00, +0.06] larger",
        "+0.03 [+0.00, +0.06] no difference seen",
        "-0.03 [-0.06, -0.00] smaller",
        "+1,020.00 [+1,010.50, +1,030.00] larger",
        # Lists and arrays are no intervals.
        "pixels [0, 196], codes [ 0.5 -1.2], log p [   0.   -60.3], three [-1, -2, -3], z [0.1, 0.2]",
    ],
)
def test_a_true_line_is_accepted(line):
    assert read_intervals(line)[1] == []


@pytest.mark.parametrize(
    "line, words",
    [
        ("-1.22 [-1.75, -0.68]", "expected a difference before each interval, and a verdict"),
        ("[-1.75, -0.68] smaller", "expected a difference before each interval"),
        ("1.22 [-1.75, -0.68] smaller", "expected a difference before each interval"),
        ("-1.22 [-1.75, -0.68] better", "and a verdict after it"),
        ("+2.02 [+1.90, +2.14] larger  +0.03 [-0.05, +0.12]", "each interval"),
        ("-1.22 [-1.75, -0.68] larger", "found 'larger'; the interval allows smaller"),
        ("+2.02 [+1.90, +2.14] smaller", "allows larger"),
        ("+0.03 [-0.05, +0.12] larger", "allows no difference seen"),
        ("-1.22 [-1.75, -0.68] no difference seen", "allows smaller"),
        ("+0.03 [-0.00, +0.06] larger", "allows no difference seen"),
        ("-2.22 [-1.75, -0.68] smaller", "not inside"),
        ("+1.22 [-1.75, -0.68] smaller", "not inside"),
        ("-1.22 [-0.68, -1.75] smaller", "not inside"),
    ],
)
def test_a_false_line_is_found(line, words):
    assert words in "\n".join(read_intervals(line)[1])


@pytest.mark.parametrize(
    "text",
    [
        "The deeper model is 1.22 nats lower [0.68, 1.75].",
        "Its loss is lower by 1.22 nats [0.68, 1.75], and its gap 2.02 nats larger [1.90,\n2.14]. We stop here.",
        "Fewer units: 1.2 nats less [0.7, 1.8].",
        "There is no difference seen [-0.05, 0.12].",
        "No difference is seen [−0.05, 0.12], although 3 layers are more.",
        "Its −log p(x | y) is 1.22 nats lower than that of `mnist-2d` at $t = 1$ [0.68, 1.75].",
        "| depth | 1.22 nats lower [0.68, 1.75] |",
        # Neither code nor formulas nor links nor lists of more numbers.
        "A size in $[0, 1]$, `[2, 3]`, $$[4, 5]$$, [6, 7](page.md), [8, 9, 10] and [a, b].",
    ],
)
def test_a_true_text_is_accepted(text):
    assert check_prose(text, [LOWER, HIGHER, NONE]) == []


@pytest.mark.parametrize(
    "text, words",
    [
        ("The deeper model is 1.22 nats higher [0.68, 1.75].", "found 'higher'; the output says 'smaller'"),
        ("It is 2.02 nats lower [1.90, 2.14].", "found 'lower'; the output says 'larger'"),
        ("It is 1.22 nats better [0.68, 1.75].", "no word says the direction"),
        ("It is lower. By 1.22 nats [0.68, 1.75].", "no word says the direction"),
        ("- It is lower\n- by 1.22 nats [0.68, 1.75]", "no word says the direction"),
        ("| lower | 1.2 |\n| by | 1.22 [0.68, 1.75] |", "no word says the direction"),
        ("It is 1.22 nats lower [0.68, 1.85].", "no output prints this interval"),
        ("It is 1.22 nats lower [0.58, 1.75].", "no output prints this interval"),
        ("It is 1.22 nats lower [-1.75, -0.68].", "expected two sizes"),
        ("It is 1.22 nats lower [1.75, 0.68].", "expected two sizes, the smaller one first"),
        ("It is 1.32 nats lower [0.68, 1.75].", "1.22 does not stand before its interval"),
        ("It is lower [0.68, 1.75].", "1.22 does not stand before its interval"),
        ("It is 0.03 nats larger [-0.05, 0.12].", "expected two sizes"),
        ("It is 0.03 nats larger [0.05, 0.12].", "found 'larger'; the output says 'no difference seen'"),
        ("There is no difference seen [0.05, 0.12].", "no output prints this interval"),
        ("There is no difference seen [-1.75, -0.68].", "the output says 'smaller'"),
    ],
)
def test_a_false_text_is_found(text, words):
    assert words in "\n".join(check_prose(text, [LOWER, HIGHER, NONE]))
