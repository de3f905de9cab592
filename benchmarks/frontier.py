"""Accuracy against training time and multiply-adds, for networks of several shapes and numbers of epochs.

    .venv/bin/python -m benchmarks.frontier                          # the default networks, SGD, one seed
    .venv/bin/python -m benchmarks.frontier --seeds 3 --pictures FOLDER ...

Trains as `mnist_lightning.train` does, with the recipe config/train.yaml. Reports the validation set as it is and with
the corruptions of `evaluation.corruptions`, and folders of labelled pictures; the test set is not read. Prints a
Markdown table and, last, one line of JSON; writes docs/frontier.png.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import torch
from matplotlib.figure import Figure
from torch import nn

from benchmarks.ablation import LabeledFiles, accuracy
from benchmarks.common import conditions, make_parser
from benchmarks.learning_curve import load_recipe
from benchmarks.robustness import as_bmp, concatenate, load_folder, present_all
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.corruptions import CORRUPTIONS
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.fit import fit, silence_warnings

OPTIMIZER = "SGD"
CORRUPTED_DIGITS = 700  # of the validation set, in each corruption


@dataclass(frozen=True)
class Shape:
    """A network, and how long it is trained."""

    widths: tuple[int, ...]
    epochs: int

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.widths))}; {self.epochs} epochs"


SHAPES = (
    *(Shape((24, 48, 64, 64, 96), epochs) for epochs in (1, 3, 6, 10)),
    *(Shape((24, 48, 64, 96), epochs) for epochs in (3, 7)),
    *(Shape((16, 32, 32, 32, 48), epochs) for epochs in (3, 10)),
    *(Shape((32, 64, 96, 96, 128), epochs) for epochs in (2, 4)),
)


def main() -> int:
    """Train every network, and print."""
    parser = make_parser(__doc__, "data", "docs", "config")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="folders of labelled pictures")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each network (%(default)s)")
    options = parser.parse_args()
    silence_warnings()
    recipe = load_recipe(options.config)
    splits = MnistSplits.load(options.data)
    images, labels = (part.numpy() for part in splits.validation)
    few, their_labels = images[:CORRUPTED_DIGITS, 0], labels[:CORRUPTED_DIGITS]
    sets = {
        "validation": present_all(images[:, 0], labels, as_bmp(lambda image, rng: image)),
        "corrupted": concatenate(present_all(few, their_labels, as_bmp(change)) for change in CORRUPTIONS.values()),
    }
    sets |= {folder.name: load_folder(folder) for folder in options.pictures}
    print(conditions() + "\n")
    print("| network | weights | million multiply-adds | seconds | " + " | ".join(f"{name}, %" for name in sets) + " |")
    print("|---|" + "---:|" * (3 + len(sets)))
    rows = []
    for shape in SHAPES:
        row = measure(shape, recipe, splits, sets, options.seeds)
        cells = [str(row[name]) for name in ("weights", "multiply_adds", "seconds", *sets)]
        print(f"| {shape} | " + " | ".join(cells) + " |", flush=True)
        rows.append({"network": str(shape), **row})
    plots.save(plot(rows), options.docs / "frontier.png", dpi=100)
    print(json.dumps(rows))
    return 0


def measure(
    shape: Shape, recipe: Recipe, splits: MnistSplits, sets: Mapping[str, LabeledFiles], seeds: int
) -> dict[str, float]:
    """Size, seconds of training and accuracy in percent of a network; means over the seeds."""
    own = replace(recipe, widths=list(shape.widths), epochs=shape.epochs)
    seconds, accuracies = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            result = fit(OPTIMIZER, seed, own, splits, Path(folder))
        seconds.append(result.seconds)
        accuracies.append([accuracy(result.network, files) for files in sets.values()])
    return {
        "weights": sum(weights.numel() for weights in result.network.parameters()),
        "multiply_adds": round(multiply_adds(result.network) / 1e6, 1),
        "seconds": round(mean(seconds), 1),
        **{name: round(mean(values), 2) for name, values in zip(sets, zip(*accuracies, strict=True), strict=True)},
    }


@torch.no_grad()
def multiply_adds(network: DigitNet) -> int:
    """Multiplications of one prediction in convolutions and linear layers."""
    counts: list[int] = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        counts.append(output[0].numel() * layer.weight[0].numel())  # type: ignore[index]

    hooks = [
        layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    network.eval()(torch.zeros(1, 1, 28, 28))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def plot(rows: Sequence[Mapping[str, object]]) -> Figure:
    """Errors over seconds of training, a line for each network, whose points are its numbers of epochs."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("validation", "corrupted"), strict=True):
        for network in dict.fromkeys(str(row["network"]).partition(";")[0] for row in rows):
            own = [row for row in rows if str(row["network"]).startswith(f"{network};")]
            errors = [100 - float(str(row[name])) for row in own]
            seconds = [float(str(row["seconds"])) for row in own]
            axes.plot(seconds, errors, marker="o", label=network)
            for row, x, y in zip(own, seconds, errors, strict=True):
                epochs = str(row["network"]).partition("; ")[2].partition(" ")[0]
                axes.annotate(epochs, (x, y), textcoords="offset points", xytext=(5, 5), fontsize=8)
        axes.set(xlabel="seconds of training", ylabel=f"error on {name} digits, %", xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8, title="channels; points are labelled with epochs", title_fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit(main())
