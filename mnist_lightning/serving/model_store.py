"""Which archive is served: a trained one, or the one that ships with the project."""

import json
import sys
from pathlib import Path

from mnist_lightning.common.constants import ARCHIVE, DESCRIPTION
from mnist_lightning.common.paths import resource

DEFAULT = Path("model_store")
PRETRAINED = "pretrained"  # a shipped folder of the same form
STORE_HELP = f"folder of {ARCHIVE} (default: {DEFAULT}, or the pretrained model if there is none)"


def choose_store(store: Path | None) -> Path:
    """The folder whose archive is served: `store` if given, else `DEFAULT`, or the shipped one if that is empty."""
    shipped = resource(PRETRAINED)
    if store is not None or (DEFAULT / ARCHIVE).is_file() or not (shipped / ARCHIVE).is_file():
        return store or DEFAULT
    print(
        f"{DEFAULT} holds no model; {describe(shipped)} is served. Train one with: make run",
        file=sys.stderr,
        flush=True,
    )
    return shipped


def describe(folder: Path) -> str:
    """A phrase for the pretrained model, such as "the pretrained one (SGD, seed 0, 99.55 % on MNIST's test set)"."""
    try:
        model = json.loads((folder / DESCRIPTION).read_text())
        accuracy = f"{100 * model['final_test_accuracy']:.2f} % on MNIST's test set"
        return f"the pretrained one ({model['optimizer']}, seed {model['seed']}, {accuracy})"
    except (OSError, ValueError, KeyError, TypeError):
        return "the pretrained one"
