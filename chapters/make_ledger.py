"""Write the ledger, `ledger.md`: python3 chapters/make_ledger.py

Each published figure beside ours. No figure of ours is typed here: each comes from a manifest, from a table in
`results`, from the benchmark, or from what an executed chapter prints. A test compares the page with this program.
"""

import json
import math
import re
from pathlib import Path

from cvae_lib.pretrained import PRETRAINED, load_history, load_manifest

CHAPTERS = Path(__file__).parent
BENCHMARK = CHAPTERS.parent / "tests" / "benchmarks" / "results.json"
MET, OTHER = "met", "other protocol"
NOT_MET = '<span class="not-met">not met</span>'
YEAR_2017 = "2017"
ELSEWHERE = "elsewhere"
BY_SEED, BY_LATENTS = "`sweep two_latents_by_seed`", "`sweep latent_count`"


def link(page):
    """A link to a page of the book, with its title as the words."""
    text = (CHAPTERS / f"{page}.md").read_text(encoding="utf-8")
    suffix = ".ipynb" if (CHAPTERS / f"{page}.ipynb").exists() else ".md"
    return f"[{re.search(r'^# (.*)$', text, re.MULTILINE)[1]}]({page}{suffix})"


DATA = link("01_meet_the_digits")
MODEL = link("02_build_the_model")
TRAINING = link("03_train_and_read_the_log")
ENCODE = link("04_encode_a_digit")
LATENT = link("05_map_the_latent_space")
GENERATE = link("06_generate_digits")
MORPH = link("07_morph_and_restyle")
LABEL = link("10_weigh_the_label")
RECIPES = link("11_train_two_latents_better")
CLASSIFY = link("13_classify_digits")
COMPLETE = link("14_complete_digits")
GREY = link("15_choose_the_likelihood")
COSTS = link("what_it_costs")


def print_of(chapter, start, after=""):
    """The numbers in the first printed line of an executed chapter that starts so, behind the text `after`."""
    notebook = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    printed = "\n".join("".join(out.get("text", "")) for cell in notebook["cells"] for out in cell.get("outputs", []))
    for line in printed[printed.find(after) :].splitlines():
        if line.strip().startswith(start):
            return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", line.strip()[len(start) :])]
    raise SystemExit(
        f"error: {chapter}.ipynb prints no line that starts with {start!r}. Execute it, or mend the start."
    )


def column(table, name, key, scale=1):
    """The values of one column for one recipe of a stored table, a seed each."""
    rows = json.loads((CHAPTERS / "results" / f"{table}.json").read_text(encoding="utf-8"))["rows"]
    return [scale * row[key] for row in rows if row["name"] == name]


def describe(values, digits):
    """A figure with its range over the seeds, such as "130.77 to 130.93 (3 seeds)"; of a tuple, no seed is said."""
    ends = dict.fromkeys(f"{value:.{digits}f}" for value in (min(values), max(values)))
    if isinstance(values, tuple):
        return " to ".join(ends)
    return f"{' to '.join(ends)} ({len(values)} seed{'s' * (len(values) > 1)})"


def compare(figure, published, source, values, command, differs="", digits=2, more=False):
    """A row for a figure of which less is better, or more: met where one of our seeds reaches it, at its decimals."""
    best = round(max(values) if more else min(values), digits)
    verdict = MET if (best >= published if more else best <= published) else NOT_MET
    return [figure, f"{published:.{digits}f}", source, describe(values, digits), verdict, differs, command]


def list_figures():
    """Losses, likelihoods, fidelity and accuracy, published beside ours."""
    folders = (PRETRAINED, PRETRAINED / "seed-2", PRETRAINED / "seed-3")
    logs = [load_history("mnist-2d", folder) for folder in folders]
    train = "`train mnist-2d`, seeds 1 to 3"
    parts = [describe([log[f"val_{part}"][-1] for log in logs], 2) for part in ("reconstruction_loss", "kl_loss")]
    vae_training = f"{load_history('mnist-2d-vae')['loss'][-1]:.2f} (1 seed)"
    both_decide = "a part of the loss, not to be low by itself"
    keras_io = "theirs: all 70,000 digits, in training; ours: dense, 60,000 digits, mean of the last epoch"
    deep, mean = "theirs two layers, batches of 250; ours three, of 100", "03_train_and_read_the_log"
    right = [print_of("13_classify_digits", "right: ")[2]]
    deep_right = [print_of("13_classify_digits", "mnist-2d-deep")[0]]
    return [
        compare("the loss after 50 epochs", 130.77, YEAR_2017, [log["val_loss"][-1] for log in logs], train),
        compare("the lowest loss", 130.76, YEAR_2017, [min(log["val_loss"]) for log in logs], train),
        ["its reconstruction part", "126.15", YEAR_2017, parts[0], OTHER, both_decide, train],
        ["its KL", "4.61", YEAR_2017, parts[1], OTHER, both_decide, train],
        compare("−log p(x given y)", 128.90, ELSEWHERE, column("two_latents_by_seed", "mnist-2d", "exact"), BY_SEED),
        compare("inference gap", 2.5, ELSEWHERE, column("two_latents_by_seed", "mnist-2d", "gap"), BY_SEED, digits=1),
        compare("−log p(x)", 129.89, ELSEWHERE, [print_of("10_weigh_the_label", "all ")[1]], LABEL),
        compare("plain VAE: −ELBO", 151.21, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-vae", "elbo"), BY_SEED),
        compare("plain VAE: −log p(x)", 145.85, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-vae", "exact"), BY_SEED),
        ["plain VAE: loss", "147 to 150, by version", "[Chollet (2020)](https://keras.io/examples/generative/vae/)", vae_training, OTHER, keras_io, "`train mnist-2d-vae`"],
        compare("deeper: −ELBO", 127.3, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-deep", "elbo"), BY_SEED, deep, 1),
        compare("deeper: −log p(x given y)", 125.36, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-deep", "exact"), BY_SEED, deep),
        compare("20 latents: −ELBO", 97.18, ELSEWHERE, column("latent_count", "mnist-20d", "elbo"), BY_LATENTS),
        *(
            compare(f"{name}: label fidelity, %", percent, ELSEWHERE, fidelity, BY_LATENTS, "another classifier", 1, more=True)
            for name, percent, fidelity in (
                ("2 latents", 99.3, column("latent_count", "mnist-2d", "fidelity", 100)),
                ("deeper", 99.5, column("latent_count", "mnist-2d-deep", "fidelity", 100)),
                ("20 latents", 91.1, column("latent_count", "mnist-20d", "fidelity", 100)),
            )
        ),
        compare("digits read right, %", 93.6, ELSEWHERE, right, CLASSIFY, digits=1, more=True),
        compare(
            "deeper: digits read right, %",
            94.2,
            ELSEWHERE,
            deep_right,
            CLASSIFY,
            "ours: 2,000 random test digits",
            digits=1,
            more=True,
        ),
        compare("the mean image", 205.8, ELSEWHERE, tuple(print_of(mean, "one mean image"))[:1], TRAINING, "", 1),
        compare("class means", 171.6, ELSEWHERE, tuple(print_of(mean, "a mean for each class"))[:1], TRAINING, "", 1),
        compare(
            "the pixels' entropy", 45.53, ELSEWHERE, tuple(print_of("15_choose_the_likelihood", "10000 test digits"))[:1],
            GREY,
        ),
    ]  # fmt: skip


def list_completions():
    """The hidden part of a digit: Pyro's table beside ours, which stands in no competition with it."""
    starts = ("mnist-2d, t = 1 ", "mnist-2d, t = 0.1", "mnist-2d-deep, t = 0.1")
    ours = {start.strip(): print_of("14_complete_digits", start)[0::2] for start in starts}
    published = {"Pyro, a network": (100.4, 61.9, 25.4), "Pyro, a CVAE": (71.8, 51.0, 24.2)}
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in published.items()]
    return rows + [[f"`{name.split(',')[0]}`,{name.split(',')[1]}", *(f"{v:.2f}" for v in ours[name])] for name in ours]


def list_goals():
    """What this book set out to reach, beyond what others published."""
    exact, bound = (column("two_latents_by_seed", "mnist-2d-deep", key) for key in ("exact", "elbo"))
    speed = json.loads(BENCHMARK.read_text(encoding="utf-8"))
    epoch, cold, use = (speed[name] for name in ("epoch", "cold_start", "use"))
    ours = epoch["ours"]["median"]
    # Where plain `fit` does not reach the loss of 2017, its 50 epochs are the least that it needs.
    plain = cold["plain"].get("reached", cold["plain"]["end"])
    end = {name: row.get("reached", math.inf) / plain for name, row in cold.items()}
    benchmark = "`tests/benchmarks/run.py`"
    accuracy = load_manifest(PRETRAINED / "digit_classifier")["digit_classifier"]["measured"]["test_accuracy"]
    goals = [
        ("two latents: −ELBO", 128.0, min(bound), 1, BY_SEED),
        ("two latents: −ELBO, further", 126.0, min(bound), 1, BY_SEED),
        ("two latents: −log p(x given y)", 125.4, min(exact), 1, BY_SEED),
        ("two latents: −log p(x given y), further", 123.0, min(exact), 1, BY_SEED),
        ("the digit classifier's errors, %", 1.5, 100 * (1 - accuracy), 2, "`classifier`"),
        ("an epoch, of plain `fit`'s time", 0.50, ours / epoch["plain"]["median"], 2, benchmark),
        ("an epoch, of the time of PyTorch", 0.95, ours / epoch["torch"]["median"], 2, benchmark),
        ("an epoch, of the time of its matrix products alone", 1.54, ours / epoch["limit"]["median"], 2, benchmark),
        ("the loss of 2017, best recipe, of plain `fit`'s time", 0.25, end["mnist-2d-deep-quick"], 2, benchmark),
        ("the same with the network of 2017", 0.40, end["mnist-2d-quick"], 2, benchmark),
        ("a grid in one batch, of 64 calls", 0.025, use["grid"]["median"] / use["loop"]["median"], 4, benchmark),
        ("a slider's move, 95 of 100, ms", 20, 1000 * use["slider"]["p95"], 1, benchmark),
        ("`import cvae_lib`, s", 0.3, speed["start_up"]["import"]["median"], 3, benchmark),
        ("memory of training, GB", 1.2, epoch["ours"]["peak_mb"] * 1024**2 / 1e9, 2, benchmark),
    ]  # fmt: skip
    if "whole" in speed:
        whole = speed["whole"]
        goals.append(("all tests, sample edition, s", 240, whole["tests"]["seconds"], 0, benchmark))
        goals.append(("the build, s", 30, whole["build"]["seconds"], 0, benchmark))
    return [
        [
            name,
            f"≤ {goal:g}",
            f"{value:.{digits}f}" if math.isfinite(value) else "never",
            MET if value <= goal else NOT_MET,
            command,
        ]
        for name, goal, value, digits, command in goals
    ]


def list_cells():
    """The cells of the 2017 notebook in their order: what each did, where that is now, what changed, what it cost."""
    flattered = print_of("10_weigh_the_label", "CVAE ", after="sampled  at the mean")[2]
    clean = print_of("03_train_and_read_the_log", "difference on the test digits:")[0]
    shared = print_of("11_train_two_latents_better", "price of one epsilon:")[0]
    speed = json.loads(BENCHMARK.read_text(encoding="utf-8"))["use"]
    grid = speed["loop"]["median"] / speed["grid"]["median"]
    return [
        ["imports; warnings off; `%pylab`", "first cell of each chapter", "names are imported, warnings seen", "–"],
        ["load MNIST, scale, one-hot", DATA, "checked by digest; two editions", "0"],
        ["sizes and optimizer as loose names", TRAINING, "one `Recipe`", "0"],
        ["encoder; the head is called `l_sigma`", MODEL, "`z_log_var`: it is a log variance", "0"],
        [
            "a `Lambda` draws ε, built twice, for batches of 250 only",
            MODEL,
            "once, a layer, any batch",
            f"0; one ε for a whole batch would cost {shared:.1f}, {RECIPES}",
        ],
        ["decoder with a sigmoid at its end", MODEL, "logits; the sigmoid is for pictures", "not measured"],
        ["loss: cross-entropy and KL, both summed", MODEL, "the same, each term in the log", "0"],
        ["KL and reconstruction as metrics", MODEL, "means over the epoch, no second pass", "0"],
        [
            "`encoder` gives the mean alone",
            f"{ENCODE}, {LABEL}",
            "mean, log variance and a draw",
            f"a loss at the mean is {flattered:.2f} too low",
        ],
        ["a second decoder from shared layers", MODEL, "one decoder, used twice", "0"],
        [
            "`fit`; the test set validates and may stop it",
            TRAINING,
            "the same beside a held-out split",
            f"{clean:+.2f}, less than seeds differ by",
        ],
        ["its log, 50 epochs", TRAINING, "beside ours, three seeds", "0"],
        ["show the first digit, print its label", ENCODE, "the same digit", "0"],
        ["print its code, two means", ENCODE, "with its spread; what it costs", "0"],
        ["scatter of all codes, `jet`", LATENT, "ten colours and a legend; draws beside means", "0"],
        ["`construct_numvec`", GENERATE, "`one_hot`, `decode`", "0"],
        ["a 3 at z = 0", GENERATE, "the same", "0"],
        ["grid of 3s, 64 calls of `predict`", GENERATE, "one batch", f"0; {grid:,.0f} times the time"],
        ["grid of 2s, by the same code again", GENERATE, "one function, and sliders", "0"],
        ["the number line (its project)", MORPH, "up to the 9, with its distance from real labels", "0"],
    ]


PAGE = """# Ledger

Each published figure, and ours. This page is written by `python3 chapters/make_ledger.py` from the
manifests of the models, the stored tables, the benchmark and what the chapters print; a test
compares it with its sources. Commands are short for `python -m cvae_lib …`.

## Published figures

Nats an image, lower is better, unless the first column says %. All ours are of the 10,000 test
digits, which chose nothing: the weights are those of the last epoch. A figure is *met* when one of
our seeds reaches it at the decimals that were published. *2017* is the notebook
([Conditional_VAE, 2017](https://github.com/nnormandin/Conditional_VAE)), and *elsewhere* is a
measurement of the same kind of model in another framework, made before this book and not published
by anyone else. Two runs of `mnist-2d` differ by up to 0.2 nats through their seeds alone
({training}), so a row that misses by
less is no difference. The plain VAE's seeds differ by more
({label}).

{figures}
### Completing a digit

The cost of the hidden part, label unknown, for 1, 2 and 3 visible quarters.
[Bingham et al. (2019)](https://jmlr.org/papers/v20/18-403.html) train a network for each of these
tasks; ours was trained for none.
{complete} lists what else differs, and says what the power
$t$ is. So no verdict here, but {other}.

{completions}
## What this book set out to reach

Ratios of times are those of one run on one machine ({costs}); on
another they are others.

{goals}
## The 2017 notebook, cell by cell

What each cell of the notebook did, where that is now, what changed,
and what the old way cost, in nats where nothing else is said.

{cells}"""


def write_table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def make_page():
    """The whole page, as text."""
    return PAGE.format(
        other=OTHER,
        training=TRAINING,
        label=LABEL,
        complete=COMPLETE,
        costs=COSTS,
        figures=write_table(
            ["what", "published", "ours", "verdict", "from"],
            [
                # Five columns: seven do not fit the page.
                [what, f"{published}, {by}", ours, verdict, f"{command}; {differs}" if differs else command]
                for what, published, by, ours, verdict, differs, command in list_figures()
            ],
        ),
        completions=write_table(["", "1 visible", "2 visible", "3 visible"], list_completions()),
        goals=write_table(["what", "goal", "ours", "verdict", "command"], list_goals()),
        cells=write_table(["in 2017", "now", "changed", "the old way cost"], list_cells()),
    )


if __name__ == "__main__":
    (CHAPTERS / "ledger.md").write_text(make_page(), encoding="utf-8")
