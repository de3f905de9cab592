"""Train the network that reads lines of digits.

python -m mnist_lightning.train_line_reader                    # writes line_reader.onnx
python -m mnist_lightning.train_line_reader --lines 8000 --epochs 3    # a quick try

A trained network ships with the package, as mnist_lightning/preprocessing/line_reader.onnx; copy another one there to
use it. Archives made afterwards carry it. The lines are composed of MNIST's training digits.
"""

import argparse
import sys
from pathlib import Path

from mnist_lightning.common.imports import quick_imports

with quick_imports():
    from mnist_lightning.common.arguments import positive_int, seed
    from mnist_lightning.datasets.splits import MnistSplits
    from mnist_lightning.packaging import line_reader
    from mnist_lightning.packaging.shipped import train_to_file
    from mnist_lightning.training.line_reading import LineReaderConfig

DEFAULTS = LineReaderConfig()


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    config = LineReaderConfig(lines=options.lines, epochs=options.epochs)

    def train() -> str:
        exact = line_reader.train(MnistSplits.load(options.data), options.seed, config, options.output)
        return f"{options.output}: {100 * exact:.2f} % of the held-out lines are read without a mistake"

    return train_to_file(options.output, train, f"composing {config.lines + config.held_out:,} lines")


def _parser() -> argparse.ArgumentParser:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.train_line_reader", description=summary)
    parser.add_argument("--lines", type=positive_int, default=DEFAULTS.lines, help="lines of digits (%(default)s)")
    parser.add_argument("--epochs", type=positive_int, default=DEFAULTS.epochs, help="passes over them (%(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="seed of lines and network (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("line_reader.onnx"), help="file to write (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
