"""Compare the default recipe's training with pytorch/examples' MNIST and with the same example in Lightning.

    .venv/bin/python -m benchmarks.training                       # all of them; half an hour
    .venv/bin/python -m benchmarks.training --only "this recipe, Adam" --plot docs/training.png

The example has two convolutions, Adadelta, 14 epochs in batches of 64, and torchvision's transforms of single images.
Seconds count training alone, without measuring the test accuracy after each epoch. Prints a table and, last, one line
of JSON.
"""

import functools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import lightning as L
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks import pytorch_example
from benchmarks.common import conditions, make_parser
from benchmarks.learning_curve import TARGETS, LearningCurve, TrainingClock, load_recipe, make_trainer
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation import plots
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.fit import make_classifier, make_data_module, make_ema, silence_warnings
from mnist_lightning.training.module import precision

TIMES = ("seconds_per_epoch", *(f"seconds_to_{100 * target:g}" for target in TARGETS), "seconds")
Training = Callable[[Recipe, int], LearningCurve]  # takes the recipe, and the number of the example's epochs


def main() -> int:
    """Train, print a table, and draw the curves."""
    parser = make_parser(__doc__, "config")
    parser.add_argument("--epochs", type=int, default=14, help="epochs of the example (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run only these rows of the table")
    parser.add_argument("--plot", type=Path, default=Path("docs/training.png"), help="image file (%(default)s)")
    options = parser.parse_args()
    print(conditions() + "\n")
    silence_warnings()
    recipe = load_recipe(options.config)
    trainings = all_trainings(recipe)
    if unknown := set(options.only or ()) - set(trainings):
        parser.error(f"unknown names: {', '.join(unknown)}; choose from {', '.join(trainings)}")
    curves: dict[str, LearningCurve] = {}
    for name in options.only or trainings:
        print(name, file=sys.stderr)
        curves[name] = trainings[name](recipe, options.epochs)
    Console(width=110).print(_table(curves))
    plots.save(plot_curves(curves), options.plot)
    print(json.dumps({name: curve.summary() for name, curve in curves.items()}))
    return 0


def all_trainings(recipe: Recipe) -> dict[str, Training]:
    """The trainings to compare, by the names of their rows."""
    own = {f"this recipe, {name}": functools.partial(train_recipe, optimizer=name) for name in recipe.optimizers}
    return {
        "pytorch/examples": pytorch_example.train_with_loop,
        "the same in Lightning": pytorch_example.train_with_lightning,
        **own,
    }


def train_recipe(recipe: Recipe, _: int, *, optimizer: str) -> LearningCurve:
    """Train one of the recipe's optimizers as `train` does, without MLflow, for the recipe's own number of epochs."""
    L.seed_everything(recipe.seed, verbose=False)
    splits = MnistSplits.load(recipe.data_dir, recipe.limit)
    data = make_data_module(recipe, replace(splits, validation=splits.test), recipe.seed)
    clock = TrainingClock()
    trainer = make_trainer(recipe.epochs, [clock, make_ema(recipe, data)], precision=precision())
    trainer.fit(make_classifier(DigitNet(recipe.widths, pooled=recipe.pooled), recipe, optimizer), datamodule=data)
    return clock.curve


def plot_curves(curves: Mapping[str, LearningCurve]) -> Figure:
    """Test error over seconds of training."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        errors = [max(100 - 100 * accuracy, 0.01) for accuracy in curve.accuracy]
        axes.plot(curve.seconds, errors, marker="o", markersize=3, label=name)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training, 2 cores", ylabel="test error, %")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def _table(curves: Mapping[str, LearningCurve]) -> Table:
    targets = [f"to {100 * target:g} %, s" for target in TARGETS]
    table = Table("", "seconds per epoch", "epochs", *targets, "seconds", "final, %")
    for name, curve in curves.items():
        summary = curve.summary()
        times = [f"{summary[key]:.1f}" if summary[key] is not None else "never" for key in TIMES]
        table.add_row(name, times[0], str(summary["epochs"]), *times[1:], f"{summary['final_accuracy']:.2f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
