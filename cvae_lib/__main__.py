"""The command line: `train`, `judge` and `sweep` make what ships again, `export` writes a model for the explorer."""

import argparse
import sys

from cvae_lib import BookError
from cvae_lib.data import load_mnist


def main(arguments=None):
    """Run the command line and return its exit code: 0 done, 1 an error it explains, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m cvae_lib", description="Make the book's trained models again.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train", help="train a recipe and write weights, history and manifest entry")
    command.add_argument("name", help="the recipe, such as mnist-2d")
    command.add_argument("--data", help="full, sample, an .npz file or a folder of IDX files (default: CVAE_DATA)")
    command.add_argument("--epochs", type=int, help="how many epochs (default: the recipe's)")
    command.add_argument("--seed", type=int, default=1, help="seed of weights, order and epsilon (default: 1)")
    command.add_argument("--out", default="trained", help="the folder to write to (default: trained)")
    command = commands.add_parser("export", help="write a shipped model for the explorer in the published page")
    command.add_argument("name", help="the model, such as mnist-2d")
    command.add_argument("--data", help="MNIST: full, an .npz file or a folder of IDX files (default: CVAE_DATA)")
    command.add_argument("--out", default="_extra/explorer", help="the folder to write to (default: _extra/explorer)")
    command = commands.add_parser("judge", help="train the network that judges what the models draw")
    command.add_argument("--data", help="as for train")
    command.add_argument("--epochs", type=int, default=6, help="how many epochs (default: 6)")
    command.add_argument("--seed", type=int, default=1, help="seed of weights and order (default: 1)")
    command.add_argument("--out", default="trained/judge", help="the folder to write to (default: trained/judge)")
    command = commands.add_parser("sweep", help="train and measure all the recipes of a table of the book")
    command.add_argument("name", help="the table: recipes, longer, planes or latents")
    command.add_argument("--data", help="as for train")
    command.add_argument("--workers", type=int, default=1, help="processes that share the cores (default: 1)")
    command.add_argument("--out", default="chapters/results", help="the folder to write to (default: chapters/results)")
    options = parser.parse_args(arguments)
    runs = {"train": run_train, "export": run_export, "judge": run_judge, "sweep": run_sweep}
    try:
        print(runs[options.command](options))
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from its last finished epoch or row.", file=sys.stderr)
        return 130
    return 0


# TensorFlow takes seconds to load: only once the options are known to be right.


def run_train(options):
    """Train as the options say; return what to tell."""
    from cvae_lib.training import find_recipe, train

    find_recipe(options.name)
    history = train(options.name, load_mnist(options.data), options.out, options.epochs, options.seed)
    return (
        f"{options.name}: {len(history['epoch'])} epochs, validation loss {history['val_loss'][-1]:.2f} nats an image "
        f"(reconstruction {history['val_reconstruction_loss'][-1]:.2f}, KL {history['val_kl_loss'][-1]:.2f}); "
        f"written to {options.out}"
    )


def run_export(options):
    """Export as the options say; return what to tell."""
    from cvae_lib.export import export

    sizes = export(options.name, options.out, load_mnist(options.data))
    return ", ".join(f"{name}: {size:,} bytes" for name, size in sizes.items()) + f"; written to {options.out}"


def run_judge(options):
    """Train the judge as the options say; return what to tell."""
    from cvae_lib.judge import train_judge

    accuracy = train_judge(load_mnist(options.data), options.out, options.epochs, options.seed)
    return f"judge: reads {accuracy:.2%} of the test digits; written to {options.out}"


def run_sweep(options):
    """Make a table as the options say; return what to tell."""
    from cvae_lib import sweeps

    path = sweeps.run_sweep(options.name, options.out, options.data, options.workers)
    return f"written to {path}"


if __name__ == "__main__":
    sys.exit(main())
