"""Learning rate, warmup and each optimizer's own constant, searched with the same budget for each of the three.

    .venv/bin/python -m benchmarks.tune                    # 8 trials each, of 2 epochs; the validation split decides
    .venv/bin/python -m benchmarks.tune --trials 20 --epochs 4 --only SGD

Optuna's TPE sampler proposes; every trial is a run of the MLflow experiment "tuning". Prints all trials as a table,
the best of each optimizer as flags of `train`, and, last, one line of JSON.
"""

import argparse
import json
import logging
import sys
import warnings

import lightning as L
import optuna
import torch
from optuna_integration.mlflow import MLflowCallback
from rich.console import Console
from rich.table import Table

from benchmarks.standard_example import Clock, trainer
from mnist_lightning.datasets.datamodule import MnistDataModule
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.tracking import runs
from mnist_lightning.training.config import Recipe, read
from mnist_lightning.training.fit import averaging, data_of, hush
from mnist_lightning.training.module import VALIDATION_ACCURACY, VALIDATION_LOSS, DigitClassifier, Schedule, precision

Bounds = tuple[float, float]
# The learning rate's bounds (searched on a logarithmic scale), and the constant that each has besides.
SPACES: dict[str, tuple[Bounds, str, Bounds]] = {
    "Adam": ((5e-4, 2e-2), "beta1", (0.8, 0.97)),
    "SGD": ((1e-2, 0.5), "momentum", (0.8, 0.97)),
    "RMSprop": ((1e-4, 5e-3), "alpha", (0.8, 0.99)),
}
WARMUP = (0.05, 0.4)


def constants(name: str, found: dict[str, float]) -> dict[str, object]:
    """A trial's values as the optimizer's arguments; what is not searched stays as the recipe has it."""
    own = SPACES[name][1]
    return {"betas": (found[own], 0.999)} if own == "beta1" else {own: found[own]}


def objective(trial: optuna.Trial, name: str, recipe: Recipe, data: MnistDataModule, epochs: int) -> float:
    """The validation loss of the averaged weights at the end of a short training."""
    rates, own, bounds = SPACES[name]
    found = {"lr": trial.suggest_float("lr", *rates, log=True), own: trial.suggest_float(own, *bounds)}
    warmup = trial.suggest_float("warmup", *WARMUP)
    L.seed_everything(recipe.seed, verbose=False)
    usual = recipe.optimizers[name].keywords  # type: ignore[attr-defined]  # what jsonargparse makes is a partial
    chosen = {**usual, "lr": found["lr"], **constants(name, found)}
    module = DigitClassifier(
        DigitNet(recipe.widths), lambda weights: getattr(torch.optim, name)(weights, **chosen), Schedule(warmup)
    )
    ran = trainer(epochs, [Clock(), averaging(recipe, data)], precision=precision())
    ran.fit(module, datamodule=data)
    trial.set_user_attr("validation_accuracy", ran.callback_metrics[VALIDATION_ACCURACY].item())
    return float(ran.callback_metrics[VALIDATION_LOSS])


def main() -> int:
    """Search, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=8, help="for each optimizer (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="of each trial (%(default)s)")
    parser.add_argument("--only", choices=list(SPACES), help="search just this one")
    options = parser.parse_args()
    hush()
    logging.getLogger("optuna").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    recipe, _ = read(["--epochs", str(options.epochs)])
    data = data_of(recipe)
    data.prepare_data()
    data.setup()
    runs.connect()
    table = Table("optimizer", "lr", "its own constant", "warmup", "validation loss", "validation, %")
    best = {}
    for name in [options.only] if options.only else SPACES:
        record = MLflowCallback(runs.address(), VALIDATION_LOSS, mlflow_kwargs={"tags": {"optimizer": name}})
        study = optuna.create_study(study_name="tuning", sampler=optuna.samplers.TPESampler(seed=recipe.seed))
        study.optimize(
            lambda trial, name=name: objective(trial, name, recipe, data, options.epochs),  # type: ignore[misc]
            n_trials=options.trials,
            callbacks=[record],
        )
        for trial in sorted(study.trials, key=lambda trial: trial.value or 0):
            lr, own, warmup = trial.params.values()
            accuracy = 100 * trial.user_attrs["validation_accuracy"]
            constant = f"{SPACES[name][1]} {own:.3f}"
            table.add_row(name, f"{lr:.2g}", constant, f"{warmup:.2f}", f"{trial.value:.4f}", f"{accuracy:.2f}")
        best[name] = study.best_params
    Console(width=100).print(table)
    print(json.dumps(best))
    return 0


if __name__ == "__main__":
    sys.exit(main())
