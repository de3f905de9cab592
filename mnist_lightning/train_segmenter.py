"""Train the network that separates a digit's ink from squared paper, lines, boxes and shadows.

python -m mnist_lightning.train_segmenter                        # writes segmenter.onnx
python -m mnist_lightning.train_segmenter --photographs 2000 --epochs 3    # a quick try

A trained network ships with the package, as mnist_lightning/preprocessing/segmenter.onnx; copy another one there to use
it. Archives made afterwards carry it. The photographs are simulated from MNIST's training digits, and take 150 kB of
memory each.
"""

import argparse
import sys
from pathlib import Path

from mnist_lightning.common.imports import quick_imports

with quick_imports():
    from mnist_lightning.common.arguments import positive_int, seed
    from mnist_lightning.datasets.splits import MnistSplits
    from mnist_lightning.packaging import segmenter
    from mnist_lightning.packaging.shipped import train_to_file
    from mnist_lightning.training.segmentation import SegmentationConfig

DEFAULTS = SegmentationConfig()


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    config = SegmentationConfig(photographs=options.photographs, epochs=options.epochs)

    def train() -> str:
        iou = segmenter.train(MnistSplits.load(options.data), options.seed, config, options.output)
        return f"{options.output}: intersection over union {iou:.3f} on held-out photographs"

    return train_to_file(options.output, train, f"drawing {config.photographs + config.held_out:,} photographs")


def _parser() -> argparse.ArgumentParser:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m mnist_lightning.train_segmenter", description=summary)
    photographs = "simulated photographs, of 150 kB each in memory (%(default)s)"
    parser.add_argument("--photographs", type=positive_int, default=DEFAULTS.photographs, help=photographs)
    parser.add_argument("--epochs", type=positive_int, default=DEFAULTS.epochs, help="passes over them (%(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="seed of photographs and network (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/MNIST/raw"), help="MNIST's folder (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("segmenter.onnx"), help="file to write (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
