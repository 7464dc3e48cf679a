"""The command line: `train` makes a trained model again, `export` writes one for the explorer in the page."""

import argparse
import sys

from cvae_lib.data import DataError, load_mnist


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
    options = parser.parse_args(arguments)
    return run_export(options) if options.command == "export" else run_train(options)


def run_train(options):
    """Train as the options say."""
    # TensorFlow takes seconds to load: only once the options are known to be right.
    from cvae_lib.training import TrainingError, find_recipe, train

    try:
        find_recipe(options.name)
        history = train(options.name, load_mnist(options.data), options.out, options.epochs, options.seed)
    except (DataError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from the last finished epoch.", file=sys.stderr)
        return 130
    print(
        f"{options.name}: {len(history['epoch'])} epochs, validation loss {history['val_loss'][-1]:.2f} nats an image "
        f"(reconstruction {history['val_reconstruction_loss'][-1]:.2f}, KL {history['val_kl_loss'][-1]:.2f}); "
        f"written to {options.out}"
    )
    return 0


def run_export(options):
    """Export as the options say."""
    from cvae_lib.export import export
    from cvae_lib.pretrained import PretrainedError

    try:
        sizes = export(options.name, options.out, load_mnist(options.data))
    except (DataError, PretrainedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{name}: {size:,} bytes" for name, size in sizes.items()) + f"; written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
