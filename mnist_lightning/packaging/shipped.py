"""What the verbs that train a network of the package have in common."""

import sys
from collections.abc import Callable
from pathlib import Path

from mnist_lightning.common.files import check_output
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.datasets.parallel import GenerationError
from mnist_lightning.packaging.export import ExportError
from mnist_lightning.tracking.runs import TrackingError
from mnist_lightning.training.fit import silence_warnings


def train_to_file(output: Path, train: Callable[[], str], announcement: str) -> int:
    """Train a network; the exit code: 0, 1 after an error, 130 after Ctrl-C, with a line on stderr.

    Args:
        output: the file that `train` writes.
        train: returns what to print.
        announcement: of the data that it generates first.
    """
    silence_warnings()
    try:
        check_output(output)
        print(announcement, file=sys.stderr, flush=True)
        result = train()
    except (TrackingError, MnistUnavailableError, GenerationError, ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped: the run is marked KILLED in MLflow, nothing was written", file=sys.stderr)
        return 130
    print(result)
    return 0
