"""The command line: `train`, `classifier`, `sweep` and `snapshots` make what ships, `export` feeds the explorer.

`launch` starts several processes of `train` on this machine, and `shard` writes the files that `train` reads while it
trains.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace

from cvae_lib import BookError
from cvae_lib.data import load_mnist
from cvae_lib.data.shards import check_count, load_data
from cvae_lib.files import end_at_once
from cvae_lib.pretrained import load_manifest
from cvae_lib.training.recipes import MOST_EPOCHS, RECIPES

MOST_PROCESSES = max(64, os.cpu_count() or 1)
MOST = 100_000
SWEEPS = ("five_epochs", "thirty_epochs", "one_run", "two_latents_by_seed", "latent_count", "annealed")


def main(arguments: Sequence[str] | None = None, ends_at_once: bool = False) -> int:
    """Run the command line and return its exit code: 0 done, 1 an error it explains, 130 interrupted.

    With ends_at_once Ctrl-C ends the process and does not return; see `files.end_at_once`. Raises SystemExit with code
    2 for an option that cannot be, before the data are read and TensorFlow is loaded.
    """
    interrupted = ""
    try:
        options = make_parser().parse_args(arguments)
        interrupted = options.interrupted
        if ends_at_once:
            end_at_once(interrupted)
        if options.command != "launch":
            check_out(options.out)
        print(options.run(options), flush=True)
    except (BookError, OSError, MemoryError) as error:
        line = " ".join(str(error).split()) or f"found {error!r}; expected enough memory. Choose smaller data."
        print(f"error: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nInterrupted. {interrupted}", file=sys.stderr)
        return 130
    return 0


class OutError(BookError):
    """A folder that cannot be written to: the message says what was found, and what to do."""


def make_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m cvae_lib", description="Make the book's trained models again.")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("train", help="train a recipe and write weights, history and manifest entry")
    command.add_argument("name", choices=RECIPES, metavar="name", help="the recipe: %(choices)s")
    add_data(command, ", a folder of shards")
    command.add_argument(
        "--epochs", type=at_least(1, MOST_EPOCHS), help="how many epochs, at most (default: the recipe's)"
    )
    add_seed(command, "weights, order and epsilon")
    add_out(command, "trained")
    command.set_defaults(run=run_train, interrupted="The same command goes on from its last finished epoch.")

    command = commands.add_parser("launch", help="train a recipe by several processes of this machine together")
    command.add_argument(
        "--workers", type=at_least(1, MOST_PROCESSES), default=2, help="how many processes (default: 2)"
    )
    command.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="-- train name ...", help="the command train, with its options"
    )
    command.set_defaults(run=run_launch, interrupted="The same command goes on from the last finished epoch.")

    command = commands.add_parser("shard", help="write data into files that `train --data` reads while it trains")
    add_data(command)
    command.add_argument(
        "--shards", type=at_least(1, MOST), default=16, help="how many files of training images (default: %(default)s)"
    )
    add_out(command, "shards")
    command.set_defaults(run=run_shard, interrupted="Nothing was written; the same command begins again.")

    command = commands.add_parser("classifier", help="train the network that reads what the models draw")
    add_data(command)
    command.add_argument("--epochs", type=at_least(1, MOST_EPOCHS), default=6, help="how many epochs (default: 6)")
    add_seed(command, "weights and order")
    add_out(command, "trained/digit_classifier")
    command.set_defaults(run=run_classifier, interrupted="Nothing was written; the same command begins again.")

    command = commands.add_parser("sweep", help="train and measure all the recipes of a table of the book")
    command.add_argument("name", choices=SWEEPS, metavar="name", help="the table: %(choices)s")
    add_data(command)
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=at_least(1, MOST_PROCESSES), default=1, help="processes that share the cores (default: 1)"
    )
    where.add_argument(
        "--cluster",
        type=address,
        metavar="ADDRESS",
        help="a Dask scheduler, such as tcp://host:8786, and its workers",
    )
    add_out(command, "chapters/results")
    command.set_defaults(run=run_sweep, interrupted="The same command goes on from its last finished row.")

    command = commands.add_parser("snapshots", help="train mnist-2d and draw what its decoder makes of the same codes")
    add_data(command)
    add_out(command, "chapters/results")
    command.set_defaults(run=run_snapshots, interrupted="Nothing was written; the same command begins again.")

    command = commands.add_parser("scaling", help="measure an update of the weights with 1 to 4 processes")
    command.add_argument("--rounds", type=at_least(1, MOST), default=6, help="how often each is measured (default: 6)")
    add_out(command, "chapters/results")
    command.set_defaults(run=run_scaling, interrupted="Nothing was written; the same command begins again.")

    command = commands.add_parser("export", help="write a shipped model for the explorer in the published page")
    command.add_argument("name", choices=load_manifest(), metavar="name", help="the model: %(choices)s")
    command.add_argument(
        "--data", type=path, help="MNIST: full, an .npz file or a folder of IDX files (default: CVAE_DATA)"
    )
    add_out(command, "_extra/explorer")
    command.set_defaults(run=run_export, interrupted="Nothing was written; the same command begins again.")
    return parser


def add_data(command: argparse.ArgumentParser, more: str = "") -> None:
    """Give a command the option that chooses the data; `more` names other kinds that it takes."""
    command.add_argument(
        "--data", type=path, help=f"full, sample, an .npz file{more} or a folder of IDX files (default: CVAE_DATA)"
    )


def add_seed(command: argparse.ArgumentParser, what: str) -> None:
    """Give a command the option of a seed, and say of what."""
    command.add_argument("--seed", type=at_least(0, 2**32 - 1), default=1, help=f"seed of {what} (default: 1)")


def add_out(command: argparse.ArgumentParser, folder: str) -> None:
    """Give a command the option of a folder to write to, with its default."""
    command.add_argument("--out", type=path, default=folder, help=f"the folder to write to (default: {folder})")


def at_least(lowest: int, highest: int) -> Callable[[str], int]:
    """Make a function that reads an option's integer from lowest to highest."""

    def read(text: str) -> int:
        if re.fullmatch("[0-9]{1,20}", text) and lowest <= int(text) <= highest:
            return int(text)
        found = text if len(text) < 50 else f"{text[:50]}…"
        raise argparse.ArgumentTypeError(
            f"found {found!r}; expected an integer of at least {lowest} and at most {highest}"
        )

    return read


def path(text: str) -> str:
    """Read an option that names a file or a folder. An empty one is a variable of the shell that is not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a path")
    return text


def address(text: str) -> str:
    """Read an option that names a host and a port."""
    found = re.fullmatch(r"(\w+://)?([\w.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})", text)
    if not found or not 0 < int(found[3]) < 2**16:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected an address such as tcp://host:8786")
    return text


def check_out(out: str) -> None:
    """Check that files can be written to this folder, or to the one in which it is made. Raises OutError.

    All work would be lost if that came out at its end. Nothing is left behind.
    """
    folder = os.path.abspath(out)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # it has no name that a kill could leave
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        where = "" if folder == os.path.abspath(out) else f", at {folder}"
        raise OutError(
            f"--out {out}: found no way to write there ({error.strerror or error}{where}); expected a folder, or a "
            "place for one. Choose another --out."
        ) from error


# TensorFlow takes seconds to load: each command imports what needs it only once its options are known to be right.


def run_train(options: argparse.Namespace) -> str:
    """Train as the options say; return the summary line to print."""
    recipe = RECIPES[options.name]
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    data = load_data(options.data)
    from cvae_lib.training.loop import train

    history = train(recipe, data, options.out, options.name, options.seed)
    return (
        f"{options.name}: {len(history['epoch'])} epochs, validation loss {history['val_loss'][-1]:.2f} nats an image "
        f"(reconstruction {history['val_reconstruction_loss'][-1]:.2f}, KL {history['val_kl_loss'][-1]:.2f}); "
        f"written to {options.out}"
    )


def run_launch(options: argparse.Namespace) -> str:
    """Launch as the options say; return the summary line to print. Raises SystemExit for another command than train."""
    arguments = options.arguments[options.arguments[:1] == ["--"] :]
    parser = make_parser()
    if (train := parser.parse_args(arguments)).command != "train":
        found = f"launch: found the command {train.command!r}"
        parser.error(f"{found}; expected train, the one that several processes share")
    check_out(train.out)
    load_data(train.data)
    from cvae_lib.tools.launch import launch

    launch(options.workers, arguments)
    return f"launch: {options.workers} processes trained together"


def run_shard(options: argparse.Namespace) -> str:
    """Write data into shards as the options say; return the summary line to print."""
    data = load_mnist(options.data)
    check_count(options.shards, data)
    from cvae_lib.training.records import write_dataset

    found = write_dataset(data, options.out, options.shards)
    return (
        f"shards: {found.n_train:,} training images in {len(found.train)} files and {found.n_test:,} test images in "
        f"{len(found.test)}; written to {options.out}"
    )


def run_classifier(options: argparse.Namespace) -> str:
    """Train the digit classifier as the options say; return the summary line to print."""
    data = load_mnist(options.data)
    from cvae_lib.tools.digit_classifier import train_classifier

    accuracy = train_classifier(data, options.out, options.epochs, options.seed)
    return f"digit classifier: reads {accuracy:.2%} of the test digits; written to {options.out}"


def run_sweep(options: argparse.Namespace) -> str:
    """Make a table as the options say; return the summary line to print."""
    load_mnist(options.data)  # only to see whether it can be: the rows read the data themselves
    from cvae_lib.tools import sweeps

    path = sweeps.run_sweep(options.name, options.out, options.data, options.workers, options.cluster)
    return f"written to {path}"


def run_snapshots(options: argparse.Namespace) -> str:
    """Record what a model draws while it learns; return the summary line to print."""
    data = load_mnist(options.data)
    from cvae_lib.tools.snapshots import record_snapshots

    history = record_snapshots(RECIPES["mnist-2d"], data, options.out)
    return f"snapshots: validation loss {history['val_loss'][-1]:.2f} nats an image; written to {options.out}"


def run_scaling(options: argparse.Namespace) -> str:
    """Measure updates by several processes as the options say; return the summary line to print."""
    from cvae_lib.tools.scaling import measure_scaling

    return f"written to {measure_scaling(options.out, options.rounds)}"


def run_export(options: argparse.Namespace) -> str:
    """Export as the options say; return the summary line to print."""
    from cvae_lib.tools.export_explorer import export

    sizes = export(options.name, options.out, options.data)
    return ", ".join(f"{name}: {size:,} bytes" for name, size in sizes.items()) + f"; written to {options.out}"
