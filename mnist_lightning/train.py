"""Compare the optimizers, choose the best on validation, archive it.

python -m mnist_lightning.train                             # config/train.yaml
python -m mnist_lightning.train --epochs 2 --only SGD
python -m mnist_lightning.train --optimizers.Adam.init_args.lr 0.002
python -m mnist_lightning.train --seeds 5                   # mean, standard error, and whether the lead is noise
python -m mnist_lightning.train --like RUN_ID               # the recipe and seed of a run in MLflow once more
python -m mnist_lightning.train --resume                    # go on with what was interrupted
"""

import contextlib
import shutil
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from rich.console import Console
from rich.table import Table

from mnist_lightning import figures, mnist, package, provenance, tracking, unfinished
from mnist_lightning.datamodule import MnistDataModule
from mnist_lightning.module import VALIDATION_ACCURACY
from mnist_lightning.ranking import Mean, verdict
from mnist_lightning.recipe import Recipe, narrowed, read, resumed
from mnist_lightning.training import data_of, hush, train_one

CURVES = ["train_loss", "validation_loss", VALIDATION_ACCURACY, "learning_rate", "gradient_norm"]
Standings = Mapping[str, Sequence[tracking.Candidate]]


@dataclass(frozen=True)
class Job:
    """What a command line asks for: a recipe with its text, and what was interrupted of it, if anything."""

    recipe: Recipe
    text: str
    work: unfinished.Work | None = None


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    code = run(job_of(arguments))
    if code == 0:
        print(next_steps("my_digit.png"))
    return code


def run(job: Job) -> int:
    """The verb without its flags: compare, and turn what can go wrong into a line on stderr and an exit code."""
    hush()
    try:
        compare(job)
    except KeyboardInterrupt:
        said = "stopped: the run is marked KILLED in MLflow, nothing was archived; --resume goes on with it"
        print(f"\n{said}", file=sys.stderr)
        return 130
    except (mnist.MnistUnavailableError, tracking.TrackingError, package.PackagingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def job_of(arguments: list[str] | None = None) -> Job:
    """The job of a command line; where --like or --resume find none in MLflow, the program ends with code 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        comparison_id = resumed(arguments)
        return Job(*read(arguments, _recorded)) if comparison_id is None else _interrupted(comparison_id)
    except tracking.TrackingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _recorded(run_id: str) -> str:
    """The recipe that a run was made with; what is different by now is said on stderr."""
    tracking.connect()
    text = tracking.text(run_id, tracking.RECIPE)
    _tell_changes(run_id)
    return text


def _interrupted(comparison_id: str) -> Job:
    """The newest that this MLflow server knows of what was interrupted here, of the comparison if one is named."""
    tracking.connect()
    for work in unfinished.interrupted():
        if comparison_id in ("", work.comparison_id) and tracking.knows(work.comparison_id):
            _tell_changes(work.comparison_id)
            print(f"going on with comparison {work.comparison_id}", file=sys.stderr)
            return Job(*read([f"--config={work.folder / unfinished.RECIPE}"]), work)
    which = f" of comparison {comparison_id}" if comparison_id else ""
    folder = unfinished.FOLDER.resolve()
    raise tracking.TrackingError(
        f"nothing to resume: {folder} holds no interrupted training{which} that MLflow at {tracking.address()} knows"
    )


def _tell_changes(run_id: str) -> None:
    then = tracking.tags(run_id)
    for name, now in provenance.tags().items():
        if then.get(name) != now:
            print(f"note: {name} is {now}; it was {then.get(name)} for run {run_id}", file=sys.stderr)


def compare(job: Job) -> None:
    """Train every optimizer of the recipe with every seed in one comparison, then archive and print the best."""
    tracking.connect()
    data = data_of(job.recipe)
    data.prepare_data()
    data.setup()
    with _opened(job) as work:
        _train_all(job, data, work)
        standings = _standings(tracking.candidates(work.comparison_id))
        tracking.record(figures={"comparison.png": figures.comparison_curves(_curves(standings))})
        winner = next(iter(standings.values()))[0]
        version = tracking.crown(winner)
        archive = package.archive(winner.run_id, job.recipe.model_store)
    _report(standings)
    print(f"champion: {winner.optimizer}, version {version} of the registered model mnist, archived to {archive}")


@contextlib.contextmanager
def _opened(job: Job) -> Iterator[unfinished.Work]:
    """The comparison's run in MLflow, and the folder from which it can be resumed; a new one of each, or the old."""
    with contextlib.ExitStack() as stack:
        if job.work is None:
            comparison_id = stack.enter_context(tracking.run(job.recipe.comparison))
            tracking.record(texts={tracking.RECIPE: job.text})
            work = stack.enter_context(unfinished.begun(comparison_id, job.text))
        else:
            work = job.work
            try:
                stack.enter_context(work.held())
            except BlockingIOError as error:
                raise tracking.TrackingError(f"{work.folder}: another process goes on with it already") from error
            stack.enter_context(tracking.run(None, again=work.comparison_id))
        yield work


def _train_all(job: Job, data: MnistDataModule, work: unfinished.Work) -> None:
    """Every optimizer with every seed, each a child of the open run, save what was finished before."""
    recipe = job.recipe
    names = [recipe.only] if recipe.only else list(recipe.optimizers)
    before = tracking.trainings(work.comparison_id, work.folder.name)
    for data.seed, name in product(range(recipe.seed, recipe.seed + recipe.seeds), names):
        title = name if recipe.seeds == 1 else f"{name} seed {data.seed}"
        known, finished = before.get(title, (None, False))
        if finished:
            continue
        with tracking.run(title, again=known, tags={tracking.WORK: work.folder.name}) as run_id:
            tracking.record(texts={tracking.RECIPE: narrowed(job.text, name, data.seed)})
            folder = work.folder / run_id
            train_one(name, recipe, data, run_id, folder)
        shutil.rmtree(folder)


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
