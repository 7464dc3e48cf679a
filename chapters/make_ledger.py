"""Write the ledger, `ledger.md`: python3 chapters/make_ledger.py

Each published figure beside ours. No figure of ours is typed here: each comes from a manifest, from a table in
`results`, from the benchmark, or from what an executed chapter prints. A test compares the page with this program.
"""

import json
import math
import re
from pathlib import Path
from statistics import mean

from cvae_lib.metrics import Difference, compare
from cvae_lib.pretrained import PRETRAINED, load_history, load_manifest

CHAPTERS = Path(__file__).parent
BENCHMARK = CHAPTERS.parent / "tests" / "benchmarks" / "results.json"
MET, LEVEL, ONE_RUN, AGREES, OTHER = "met", "level", "one run", "agrees", "other protocol"
NOT_MET, DIFFERS = (f'<span class="not-met">{verdict}</span>' for verdict in ("not met", "differs"))
BEST = "mnist-2d-deep"  # the model of two latents that the goals are about
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
OWN_IMAGES = link("16_your_own_images")
OTHER_CONDITIONS = link("17_other_conditions")
COSTS = link("what_it_costs")


def print_of(chapter, start, after=""):
    """The numbers in the place of # in a line that starts so: the first that an executed chapter prints after `after`."""
    notebook = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    printed = "\n".join("".join(out.get("text", "")) for cell in notebook["cells"] for out in cell.get("outputs", []))
    words = [re.escape(word).replace(r"\#", r"([+-]?\d+(?:\.\d+)?)") for word in start.split()]
    line = re.compile(rf"^ *{' +'.join(words)}(?!\S)", re.MULTILINE)
    found = line.search(printed, max(0, printed.find(after)))
    if not found:
        raise SystemExit(f"error: {chapter}.ipynb prints no line like {start!r}. Execute it, or mend the pattern.")
    return [float(number) for number in found.groups()]


def column(table, name, key, scale=1):
    """The values of one column for one recipe of a stored table, a seed each."""
    rows = json.loads((CHAPTERS / "results" / f"{table}.json").read_text(encoding="utf-8"))["rows"]
    return [scale * row[key] for row in rows if row["name"] == name]


def describe(values, runs):
    """The mean with the half of its 95 % interval, such as "130.87 ± 0.20 (3 seeds)"; a single value has no interval."""
    if len(values) == 1:
        return f"{values[0]:.2f} ({runs})"
    difference = compare(values, 0)
    return f"{difference.mean:.2f} ± {(difference.high - difference.low) / 2:.2f} ({runs})"


def judge(values, published, more=False):
    """The verdict of the mean and its 95 % interval on a published figure. Lower is better, or higher with `more`."""
    if len(values) == 1:
        return ONE_RUN
    worse = compare(published, values) if more else compare(values, published)
    return MET if worse.high <= 0 else NOT_MET if worse.low > 0 else LEVEL


def row(figure, published, source, values, command, differs="", digits=2, more=False, runs=None):
    """A row for a figure with a value a seed, or a value a digit of one run; `differs` names another protocol."""
    runs = runs or f"{len(values)} seed{'s' * (len(values) > 1)}"
    verdict = OTHER if differs else judge(values, published, more)
    return [figure, f"{published:.{digits}f}", source, describe(values, runs), verdict, differs, command]


def row_of_fact(figure, published, source, ours, command, digits=2):
    """A row for a figure in which nothing is random: it agrees at the decimals of both, or it differs."""
    verdict = AGREES if f"{ours:.{digits}f}" == f"{published:.{digits}f}" else DIFFERS
    return [figure, f"{published:.{digits}f}", source, f"{ours:.{digits}f}", verdict, "", command]


def list_figures():
    """Losses, likelihoods, fidelity and accuracy, published beside ours."""
    folders = (PRETRAINED, PRETRAINED / "seed-2", PRETRAINED / "seed-3")
    logs = [load_history("mnist-2d", folder) for folder in folders]
    train = "`train mnist-2d`, seeds 1 to 3"
    reconstruction, kl = ([log[f"val_{part}"][-1] for log in logs] for part in ("reconstruction_loss", "kl_loss"))
    vae_training = f"{load_history('mnist-2d-vae')['loss'][-1]:.2f} (1 seed)"
    both_decide = "a part of the loss, not to be low by itself"
    keras_io = "theirs: all 70,000 digits, in training; ours: dense, 60,000 digits, mean of the last epoch"
    deep = "theirs two layers, batches of 250; ours three, of 100"
    other_classifier = "theirs with another classifier"
    right, n = map(int, print_of("13_classify_digits", "right: # of #"))
    each_digit = [100] * right + [0] * (n - right)
    return [
        row("the loss after 50 epochs", 130.77, YEAR_2017, [log["val_loss"][-1] for log in logs], train),
        row("the lowest loss", 130.76, YEAR_2017, [min(log["val_loss"]) for log in logs], train),
        row("its reconstruction part", 126.15, YEAR_2017, reconstruction, train, both_decide),
        row("its KL", 4.61, YEAR_2017, kl, train, both_decide),
        row("−log p(x given y)", 128.90, ELSEWHERE, column("two_latents_by_seed", "mnist-2d", "exact"), BY_SEED),
        row("inference gap", 2.5, ELSEWHERE, column("two_latents_by_seed", "mnist-2d", "gap"), BY_SEED, digits=1),
        row("−log p(x)", 129.89, ELSEWHERE, print_of("10_weigh_the_label", "all # # # # # #")[1:2], LABEL),
        row("plain VAE: −ELBO", 151.21, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-vae", "elbo"), BY_SEED),
        row("plain VAE: −log p(x)", 145.85, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-vae", "exact"), BY_SEED),
        ["plain VAE: loss", "147 to 150, by version", "[Chollet (2020)](https://keras.io/examples/generative/vae/)", vae_training, OTHER, keras_io, "`train mnist-2d-vae`"],
        row("deeper: −ELBO", 127.3, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-deep", "elbo"), BY_SEED, deep, 1),
        row("deeper: −log p(x given y)", 125.36, ELSEWHERE, column("two_latents_by_seed", "mnist-2d-deep", "exact"), BY_SEED, deep),
        row("20 latents: −ELBO", 97.18, ELSEWHERE, column("latent_count", "mnist-20d", "elbo"), BY_LATENTS),
        *(
            row(f"{name}: label fidelity, %", percent, ELSEWHERE, fidelity, BY_LATENTS, other_classifier, 1, more=True)
            for name, percent, fidelity in (
                ("2 latents", 99.3, column("latent_count", "mnist-2d", "fidelity", 100)),
                ("deeper", 99.5, column("latent_count", "mnist-2d-deep", "fidelity", 100)),
                ("20 latents", 91.1, column("latent_count", "mnist-20d", "fidelity", 100)),
            )
        ),
        row("digits read right, %", 93.6, ELSEWHERE, each_digit, CLASSIFY, digits=1, more=True, runs="1 seed"),
        row("deeper: digits read right, %", 94.2, ELSEWHERE, print_of("13_classify_digits", "mnist-2d-deep #%"), CLASSIFY, f"{deep}, on 2,000 random test digits", 1, more=True),
        row_of_fact("the mean image", 205.8, ELSEWHERE, *print_of("03_train_and_read_the_log", "one mean image #"), TRAINING, 1),
        row_of_fact("class means", 171.6, ELSEWHERE, *print_of("03_train_and_read_the_log", "a mean for each class #"), TRAINING, 1),
        row_of_fact("the pixels' entropy", 45.53, ELSEWHERE, *print_of("15_choose_the_likelihood", "10000 test digits, each its own picture: #"), GREY),
    ]  # fmt: skip


def list_completions():
    """The hidden part of a digit: Pyro's table beside ours, without a verdict."""
    published = {"Pyro, a network": (100.4, 61.9, 25.4), "Pyro, a CVAE": (71.8, 51.0, 24.2)}
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in published.items()]
    for model, power in (("mnist-2d", "t = 1"), ("mnist-2d", "t = 0.1"), ("mnist-2d-deep", "t = 0.1")):
        printed = print_of("14_complete_digits", f"{model}, {power}" + " # ± #" * 3)
        means, errors = printed[0::2], printed[1::2]
        rows.append([f"`{model}`, {power}", *(f"{m:.2f} ± {1.96 * error:.2f}" for m, error in zip(means, errors))])
    return rows


def list_own_images():
    """The models of other images and conditions than MNIST's: our figures alone, because none are published."""
    figures = {"fashion-2d": "10,000 test images", "fashion, two layers": "the same", "letters-2d": "100 test letters"}
    rows = []
    for name, measured_on in figures.items():
        losses = [column("own_images", name, key) for key in ("elbo", "exact")]
        fidelity, accuracy = (column("own_images", name, key, 100) for key in ("fidelity", "accuracy"))
        seeds = f"{len(fidelity)} seed{'s' * (len(fidelity) > 1)}"
        read = f"{mean(fidelity):.1f}; {mean(accuracy):.1f} of real images"
        command = f'`chapters/train_own.py "{name}"`'
        rows.append([name, measured_on, *(describe(values, seeds) for values in losses), read, command])
    name = "mnist-2d-slant"
    loss = describe(column("other_conditions", name, "elbo"), "1 seed")
    rows.append([name, "MNIST's test digits", loss, "not measured", "not measured", f"`chapters/train_own.py {name}`"])
    return rows


def list_goals():
    """What this book set out to reach, beyond what others published."""
    exact, bound = (column("two_latents_by_seed", BEST, key) for key in ("exact", "elbo"))
    speed = json.loads(BENCHMARK.read_text(encoding="utf-8"))
    epoch, cold, use = (speed[name] for name in ("epoch", "cold_start", "use"))
    ours = epoch["ours"]["median"]
    # Where plain `fit` does not reach the loss of 2017, its 50 epochs are the least that it needs.
    plain = cold["plain"].get("reached", cold["plain"]["end"])
    end = {name: row.get("reached", math.inf) / plain for name, row in cold.items()}
    benchmark = "`tests/benchmarks/run.py`"
    accuracy = load_manifest(PRETRAINED / "digit_classifier")["digit_classifier"]["measured"]["test_accuracy"]
    goals = [
        ("two latents: −ELBO", 128.0, mean(bound), 1, BY_SEED),
        ("two latents: −ELBO, further", 126.0, mean(bound), 1, BY_SEED),
        ("two latents: −log p(x given y)", 125.4, mean(exact), 1, BY_SEED),
        ("two latents: −log p(x given y), further", 123.0, mean(exact), 1, BY_SEED),
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
    """The cells of the 2017 notebook in their order: what each did, where that is now, what changed, and the effect."""
    flattered = print_of("10_weigh_the_label", "CVAE # # #", after="sampled  at the mean")[2]
    unclean = Difference(*print_of("03_train_and_read_the_log", "three seeds less clean, test digits: # [#, #]"))
    [shared] = print_of("11_train_two_latents_better", "price of one epsilon: #")
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
            f"0; one ε for a whole batch: {shared:.1f} higher in one run of each, {RECIPES}",
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
            f"{unclean.mean:+.2f}, {unclean.verdict}",
        ],
        ["its log, 50 epochs", TRAINING, "beside ours, three seeds", "0"],
        ["show the first digit, print its label", ENCODE, "the same digit", "0"],
        ["print its code, two means", ENCODE, "with its spread and its losses", "0"],
        ["scatter of all codes, `jet`", LATENT, "ten colours and a legend; draws beside means", "0"],
        ["`construct_numvec`", GENERATE, "`one_hot`, `decode`", "0"],
        ["a 3 at z = 0", GENERATE, "the same", "0"],
        ["grid of 3s, 64 calls of `predict`", GENERATE, "one batch", f"0; {grid:,.0f} times the time"],
        ["grid of 2s, by the same code again", GENERATE, "one function, and sliders", "0"],
        ["the number line (its project)", MORPH, "up to the 9, with its distance from real labels", "0"],
    ]


PAGE = """# Ledger

This page puts each published figure beside ours. `python3 chapters/make_ledger.py` writes it from
the manifests of the models, the stored tables, the benchmark and the outputs of the chapters, and a
test compares it with these sources. Commands are short for `python -m cvae_lib …`.

## Published figures

Figures are in nats an image, and lower is better, unless the first column says %. Ours are those
of the 10,000 test digits. These digits took no part in any choice: the weights are those of the
last epoch. *2017* is the notebook
([Normandin, 2017](https://github.com/nnormandin/Conditional_VAE)), and *elsewhere* is a measurement
of the same kind of model in another framework, made before this book and not published by anyone
else. Each published figure is one run. It is not known how far another run would be from it, so we
take the figure as exact.

Our figure is the mean over the seeds, with the half of its 95 % interval, which
{training} explains.
The interval gives the verdict:

- *met*: the whole interval is at the published figure or better;
- *level*: the published figure lies inside the interval, so no difference is seen;
- *not met*: the whole interval is worse;
- *one run*: one seed has no interval, so we conclude nothing. The only exception is the share of
  digits that are read right: its interval is that over the test digits, and does not say how much
  seeds differ;
- *agrees* or *differs*: nothing is random in these figures, and they are compared at the decimals
  that were published;
- *other protocol*: the two are not ranked, because of the difference that the last column names.

{figures}
### Completing a digit

This table holds the loss of the hidden part, label unknown, for 1, 2 and 3 visible quarters. Ours
are of one run each, and ± is the half of the 95 % interval over 1,000 test digits.
[Bingham et al. (2019)](https://jmlr.org/papers/v20/18-403.html) train a network for each of these
tasks, without labels, and keep the epoch with the lowest loss on the test digits. Our models were
trained for none of the tasks, but they were trained with labels, even where the label is unknown
here. {complete} lists what else differs, and explains
the power $t$. Because of these differences the rows have no verdict.

{completions}
### Other images and conditions

We know of no published figure of a conditional VAE with two latents on Fashion-MNIST that is
measured as ours are: told the class, with the Bernoulli of the grey values, on the test images. So
these rows stand alone, for others to compare with. *Read* is the share of drawn pictures that a
classifier reads as what was asked for. The rows are explained in
{own_images}, the last one in
{other_conditions}: this model is told the slant and the
stroke of each digit, too, so its loss answers another question than that of `mnist-2d`.

{own_rows}
## What this book set out to reach

Losses are means over the seeds, and such a goal is met when the mean is at the goal or below.
Ratios of times are those of one run on one machine ({costs});
another machine gives other ratios.

{goals}
## The 2017 notebook, cell by cell

This table says what each cell of the notebook did, where the book does it now, what changed, and
how the old way changes the result: by so many nats, unless the cell names another unit.

{cells}"""


def write_table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def make_page():
    """The whole page, as text."""
    return PAGE.format(
        training=TRAINING,
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
        own_images=OWN_IMAGES,
        other_conditions=OTHER_CONDITIONS,
        own_rows=write_table(["model", "measured on", "−ELBO", "−log p", "read, %", "from"], list_own_images()),
        goals=write_table(["what", "goal", "ours", "verdict", "command"], list_goals()),
        cells=write_table(["in 2017", "now", "changed", "effect of the old way"], list_cells()),
    )


if __name__ == "__main__":
    (CHAPTERS / "ledger.md").write_text(make_page(), encoding="utf-8")
