"""Search learning rate, warmup and one more hyperparameter of each optimizer, with the same budget for all three.

    .venv/bin/python -m benchmarks.tune                    # 8 trials of 2 epochs each, judged on the validation set
    .venv/bin/python -m benchmarks.tune --trials 20 --epochs 4 --only SGD

Optuna's TPE sampler proposes the values; every trial is a run of MLflow's experiment "tuning". Prints all trials as a
table and, last, the best values of each optimizer as one line of JSON.
"""

import json
import logging
import sys
import warnings
from dataclasses import dataclass, replace

import lightning as L
import optuna
import torch
from optuna_integration.mlflow import MLflowCallback  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from benchmarks.common import conditions, make_parser
from benchmarks.learning_curve import TrainingClock, load_recipe, make_trainer
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.evaluation.names import VALIDATION_ACCURACY, VALIDATION_LOSS
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.tracking import runs
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.fit import make_data_module, make_ema, silence_warnings
from mnist_lightning.training.module import DigitClassifier, precision
from mnist_lightning.training.schedule import Schedule

Bounds = tuple[float, float]
WARMUP: Bounds = (0.05, 0.4)
EXPERIMENT = "tuning"


@dataclass(frozen=True)
class SearchSpace:
    """Bounds of an optimizer's learning rate, on a logarithmic scale, and of one more hyperparameter."""

    lr: Bounds
    name: str
    bounds: Bounds


SEARCH_SPACES = {
    "Adam": SearchSpace((1e-3, 3e-2), "beta1", (0.8, 0.97)),
    "SGD": SearchSpace((2e-2, 1.0), "momentum", (0.8, 0.97)),
    "RMSprop": SearchSpace((1e-3, 2e-2), "alpha", (0.8, 0.99)),
}


def main() -> int:
    """Search, and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--trials", type=int, default=8, help="trials of each optimizer (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each trial (%(default)s)")
    parser.add_argument("--only", choices=list(SEARCH_SPACES), help="search for this optimizer only")
    options = parser.parse_args()
    print(conditions() + "\n")
    silence_warnings()
    logging.getLogger("optuna").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    recipe = replace(load_recipe("config/train.yaml"), epochs=options.epochs)
    splits = MnistSplits.load(recipe.data_dir)
    runs.connect()
    names = [options.only] if options.only else list(SEARCH_SPACES)
    studies = {name: search(name, recipe, splits, options.trials) for name in names}
    Console(width=100).print(_table(studies))
    print(json.dumps({name: study.best_params for name, study in studies.items()}))
    return 0


def search(optimizer: str, recipe: Recipe, splits: MnistSplits, n_trials: int) -> optuna.Study:
    """Run the trials of one optimizer."""
    record = MLflowCallback(runs.tracking_uri(), VALIDATION_LOSS, mlflow_kwargs={"tags": {"optimizer": optimizer}})
    study = optuna.create_study(study_name=EXPERIMENT, sampler=optuna.samplers.TPESampler(seed=recipe.seed))
    study.optimize(
        lambda trial: objective(trial, optimizer, recipe, splits),
        n_trials=n_trials,
        callbacks=[record],
    )
    return study


def objective(trial: optuna.Trial, optimizer: str, recipe: Recipe, splits: MnistSplits) -> float:
    """The validation loss of the averaged weights at the end of a short training."""
    space = SEARCH_SPACES[optimizer]
    lr = trial.suggest_float("lr", *space.lr, log=True)
    value = trial.suggest_float(space.name, *space.bounds)
    warmup = trial.suggest_float("warmup", *WARMUP)
    L.seed_everything(recipe.seed, verbose=False)
    fixed = recipe.optimizers[optimizer].keywords  # type: ignore[attr-defined]  # jsonargparse makes a partial
    arguments = {**fixed, "lr": lr, **optimizer_arguments(space.name, value)}
    classifier = DigitClassifier(
        DigitNet(recipe.widths, pooled=recipe.pooled),
        lambda weights: getattr(torch.optim, optimizer)(weights, **arguments),
        Schedule(warmup),
    )
    data = make_data_module(recipe, splits, recipe.seed)
    trainer = make_trainer(recipe.epochs, [TrainingClock(), make_ema(recipe, data)], precision=precision())
    trainer.fit(classifier, datamodule=data)
    trial.set_user_attr(VALIDATION_ACCURACY, trainer.callback_metrics[VALIDATION_ACCURACY].item())
    return float(trainer.callback_metrics[VALIDATION_LOSS])


def optimizer_arguments(name: str, value: float) -> dict[str, object]:
    """A hyperparameter as an argument of its optimizer."""
    return {"betas": (value, 0.999)} if name == "beta1" else {name: value}


def _table(studies: dict[str, optuna.Study]) -> Table:
    table = Table("optimizer", "lr", "hyperparameter", "warmup", "validation loss", "validation, %")
    for optimizer, study in studies.items():
        name = SEARCH_SPACES[optimizer].name
        for trial in sorted(study.trials, key=lambda trial: trial.value or 0):
            lr, value, warmup = trial.params.values()
            accuracy = 100 * trial.user_attrs[VALIDATION_ACCURACY]
            cells = [f"{lr:.2g}", f"{name} {value:.3f}", f"{warmup:.2f}", f"{trial.value:.4f}", f"{accuracy:.2f}"]
            table.add_row(optimizer, *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
