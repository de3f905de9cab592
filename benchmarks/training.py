"""The default recipe beside the standard example of the field and a plain Lightning version of that.

    .venv/bin/python -m benchmarks.training                       # all of them, one after the other; half an hour
    .venv/bin/python -m benchmarks.training --only "this recipe, Adam" --plot docs/training.png

The standard example has two convolutions, Adadelta, 14 epochs of batches of 64, and torchvision's transforms picture
by picture. Seconds are of training alone: the test set is read after each epoch with the clock stopped.
Prints a table and, last, one line of JSON.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import lightning as L
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.standard_example import GOALS, Clock, Progress, plain_lightning, standard, trainer
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.training.config import Recipe, read
from mnist_lightning.training.fit import averaging, classifier_of, data_of, hush
from mnist_lightning.training.module import precision

TIMES = ("seconds_an_epoch", *(f"seconds_to_{100 * goal:g}" for goal in GOALS), "seconds")


def ours(recipe: Recipe, epochs: int, *, name: str) -> Progress:
    """One optimizer of the recipe as `train` trains it, without MLflow; the recipe's own number of epochs."""
    L.seed_everything(recipe.seed, verbose=False)
    data = data_of(recipe)
    data.setup()
    data.validation = data.test  # what is read after each epoch
    clock = Clock()
    callbacks = [clock, averaging(recipe, data)]
    module = classifier_of(DigitNet(recipe.widths), recipe, name)
    trainer(recipe.epochs, callbacks, precision=precision()).fit(module, datamodule=data)
    return clock.progress


def contestants(recipe: Recipe) -> dict[str, Callable[[Recipe, int], Progress]]:
    """What is compared, by name."""
    mine = {f"this recipe, {name}": functools.partial(ours, name=name) for name in recipe.optimizers}
    return {"pytorch/examples": standard, "the same in Lightning": plain_lightning, **mine}


def drawn(found: dict[str, Progress]) -> Figure:
    """Test error over seconds of training."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, progress in found.items():
        errors = [max(100 - 100 * accuracy, 0.01) for accuracy in progress.accuracy]
        axes.plot(progress.seconds, errors, marker="o", markersize=3, label=name)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training, 2 cores", ylabel="test error, %")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return figure


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=14, help="of the standard example (%(default)s)")
    parser.add_argument("--config", default="config/train.yaml", help="the recipe (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the names in the table")
    parser.add_argument("--plot", type=Path, default=Path("docs/training.png"), help="(%(default)s)")
    options = parser.parse_args()
    hush()
    recipe, _ = read(["--config", options.config])
    everything = contestants(recipe)
    if unknown := set(options.only or ()) - set(everything):
        parser.error(f"{', '.join(unknown)} is none of: {', '.join(everything)}")
    found: dict[str, Progress] = {}
    for name in options.only or everything:
        print(name, file=sys.stderr)
        found[name] = everything[name](recipe, options.epochs)
    table = Table(
        "", "seconds an epoch", "epochs", *(f"to {100 * goal:g} %, s" for goal in GOALS), "seconds", "final, %"
    )
    for name, progress in found.items():
        shown = progress.figures()
        cells = [f"{shown[key]:.1f}" if shown[key] is not None else "never" for key in TIMES]
        table.add_row(name, cells[0], str(shown["epochs"]), *cells[1:], f"{shown['final_accuracy']:.2f}")
    Console(width=110).print(table)
    drawn(found).savefig(options.plot, dpi=120)
    print(json.dumps({name: progress.figures() for name, progress in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
