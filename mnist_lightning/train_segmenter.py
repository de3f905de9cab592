"""Train the network that separates a digit's ink from squared paper, lines, boxes and shadows.

python -m mnist_lightning.train_segmenter                        # writes segmenter.onnx
python -m mnist_lightning.train_segmenter --photographs 2000 --epochs 3    # a quick try

A trained network ships with the package, as mnist_lightning/preprocessing/segmenter.onnx; copy another one there to use
it. Archives made afterwards carry it. The photographs are simulated from MNIST's training digits, and take 150 kB of
memory each.
"""

import argparse
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from mnist_lightning.common.arguments import positive_int, seed
from mnist_lightning.common.files import check_output
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.packaging import segmenter
from mnist_lightning.packaging.export import ExportError
from mnist_lightning.tracking.runs import TrackingError
from mnist_lightning.training.fit import silence_warnings
from mnist_lightning.training.segmentation import SegmentationConfig

DEFAULTS = SegmentationConfig()


def main(arguments: list[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    options = _parser().parse_args(arguments)
    config = SegmentationConfig(photographs=options.photographs, epochs=options.epochs)
    silence_warnings()
    try:
        check_output(options.output)
        print(f"drawing {config.photographs + config.held_out:,} photographs", file=sys.stderr, flush=True)
        iou = segmenter.train(MnistSplits.load(options.data), options.seed, config, options.output)
    except BrokenProcessPool:
        print("error: a process that draws photographs was killed; free memory, and start again", file=sys.stderr)
        return 1
    except (TrackingError, MnistUnavailableError, ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped: the run is marked KILLED in MLflow, nothing was written", file=sys.stderr)
        return 130
    print(f"{options.output}: intersection over union {iou:.3f} on held-out photographs")
    return 0


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
