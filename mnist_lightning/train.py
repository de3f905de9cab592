"""Compare the optimizers, choose the best on validation, archive it.

python -m mnist_lightning.train                             # config/train.yaml
python -m mnist_lightning.train --epochs 2 --only SGD
python -m mnist_lightning.train --optimizers.Adam.init_args.lr 0.002
python -m mnist_lightning.train --seeds 5                   # mean, standard error, and whether the lead is noise
python -m mnist_lightning.train --like RUN_ID               # the recipe and seed of a run in MLflow once more
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from itertools import product

from rich.console import Console
from rich.table import Table

from mnist_lightning import figures, mnist, package, provenance, rejection, tracking
from mnist_lightning.module import VALIDATION_ACCURACY
from mnist_lightning.ranking import Mean, verdict
from mnist_lightning.recipe import Recipe, narrowed, read
from mnist_lightning.training import data_of, hush, train_one

CURVES = ["train_loss", "validation_loss", VALIDATION_ACCURACY, "learning_rate", "gradient_norm"]
Standings = Mapping[str, Sequence[tracking.Candidate]]


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    code = run(*recipe_of(arguments))
    if code == 0:
        print(next_steps("my_digit.png"))
    return code


def run(recipe: Recipe, text: str) -> int:
    """The verb without its flags: compare, and turn what can go wrong into a line on stderr and an exit code."""
    hush()
    try:
        compare(recipe, text)
    except KeyboardInterrupt:
        print("\nstopped: the run is marked KILLED in MLflow, nothing was archived", file=sys.stderr)
        return 130
    except (mnist.MnistUnavailableError, tracking.TrackingError, package.PackagingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def recipe_of(arguments: list[str] | None = None) -> tuple[Recipe, str]:
    """The recipe of a command line and its text; where --like finds none in MLflow, the program ends with code 1."""
    try:
        return read(arguments, _recorded)
    except tracking.TrackingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _recorded(run_id: str) -> str:
    """The recipe that a run was made with; what is different by now is said on stderr."""
    tracking.connect()
    text = tracking.text(run_id, tracking.RECIPE)
    then = tracking.tags(run_id)
    for name, now in provenance.tags().items():
        if then.get(name) != now:
            print(f"note: {name} is {now}; it was {then.get(name)} for run {run_id}", file=sys.stderr)
    return text


def compare(recipe: Recipe, text: str) -> None:
    """Train every optimizer of the recipe with every seed in one comparison, then archive and print the best."""
    tracking.connect()
    data = data_of(recipe)
    data.prepare_data()
    data.setup()
    names = [recipe.only] if recipe.only else list(recipe.optimizers)
    with tracking.run(recipe.comparison) as comparison_id:
        tracking.record(texts={tracking.RECIPE: text})
        lessons = rejection.lessons(data, recipe.outliers)
        for data.seed, name in product(range(recipe.seed, recipe.seed + recipe.seeds), names):
            with tracking.run(name if recipe.seeds == 1 else f"{name} seed {data.seed}") as run_id:
                tracking.record(texts={tracking.RECIPE: narrowed(text, name, data.seed)})
                train_one(name, recipe, data, lessons, run_id)
        standings = _standings(tracking.candidates(comparison_id))
        tracking.record(figures={"comparison.png": figures.comparison_curves(_curves(standings))})
        winner = next(iter(standings.values()))[0]
        version = tracking.crown(winner)
    archive = package.archive(winner.run_id, recipe.model_store)
    _report(standings)
    print(f"champion: {winner.optimizer}, version {version} of the registered model mnist, archived to {archive}")


def _standings(found: Sequence[tracking.Candidate]) -> Standings:
    """Each optimizer's runs, best first; the optimizer of the highest mean validation accuracy first."""
    runs: dict[str, list[tracking.Candidate]] = {}
    for one in found:
        runs.setdefault(one.optimizer, []).append(one)

    def merit(name: str) -> tuple[float, float]:
        accuracies, losses = zip(*((one.validation_accuracy, one.validation_loss) for one in runs[name]), strict=True)
        return statistics.fmean(accuracies), -statistics.fmean(losses)

    return {name: runs[name] for name in sorted(runs, key=merit, reverse=True)}


def _curves(standings: Standings) -> dict[str, dict[str, list[float]]]:
    """Each optimizer's curves, of its best run."""
    return {
        name: {curve: tracking.history(runs[0].run_id, curve) for curve in CURVES} for name, runs in standings.items()
    }


def _report(standings: Standings) -> None:
    table = Table("", "optimizer", "validation", "test", "seconds", "best run", title="best on validation first")
    for place, (name, runs) in enumerate(standings.items(), start=1):
        means = [Mean.of([getattr(run, f"{part}_accuracy") for run in runs]) for part in ("validation", "final_test")]
        seconds = statistics.fmean(run.seconds for run in runs)
        table.add_row(str(place), name, *map(str, means), f"{seconds:.0f}", runs[0].run_id)
    console = Console()
    console.width = max(console.width, 100)  # run ids whole, in a pipe too
    console.print(table)
    print(verdict({name: [run.validation_accuracy for run in runs] for name, runs in standings.items()}))


def next_steps(picture: str) -> str:
    """The commands that come after a training."""
    return f"""next:
  .venv/bin/mlflow ui --backend-store-uri {tracking.address()}
  .venv/bin/python -m mnist_lightning.serve
  .venv/bin/python -m mnist_lightning.client {picture}"""


if __name__ == "__main__":
    sys.exit(main())
