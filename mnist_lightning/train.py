"""Compare the optimizers, choose the best on validation, archive it.

python -m mnist_lightning.train                             # config/train.yaml
python -m mnist_lightning.train --epochs 2 --only SGD
python -m mnist_lightning.train --optimizers.Adam.init_args.lr 0.002
python -m mnist_lightning.train --seeds 5                   # mean, standard error, and whether the lead is noise
python -m mnist_lightning.train --like RUN_ID               # the recipe and seed of a run in MLflow once more
python -m mnist_lightning.train --comparison NAME --only SGD  # one machine's part of a comparison that several share
python -m mnist_lightning.train --resume                    # go on with what was interrupted
"""

import contextlib
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from mnist_lightning import package
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.datamodule import MnistDataModule
from mnist_lightning.tracking import comparisons, provenance, runs, selection
from mnist_lightning.training import distributed, ood, resume
from mnist_lightning.training.config import Recipe, changed, differences, read, resumed
from mnist_lightning.training.fit import data_of, fit, hush, train_one

COMPARISON = "optimizers"  # the name in MLflow of a comparison that has none


@dataclass(frozen=True)
class Job:
    """What a command line asks for: a recipe with its text, and what was interrupted of it, if anything."""

    recipe: Recipe
    text: str
    work: resume.Work | None = None


def main(arguments: list[str] | None = None) -> int:
    """The verb; its exit code."""
    job = job_of(arguments)
    code = run(job)
    if code == 0 and distributed.rank() == 0:
        print(next_steps("my_digit.png", job.recipe))
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
    except (mnist.MnistUnavailableError, runs.TrackingError, package.PackagingError, distributed.ClusterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def job_of(arguments: list[str] | None = None) -> Job:
    """The job of a command line; where --like or --resume find none in MLflow, the program ends with code 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        comparison_id = resumed(arguments)
        return Job(*read(arguments, _recorded)) if comparison_id is None else _interrupted(comparison_id)
    except runs.TrackingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _recorded(run_id: str) -> str:
    """The recipe that a run was made with; what is different by now is said on stderr."""
    runs.connect()
    text = changed(runs.text(run_id, runs.RECIPE), comparison=None)  # a new one, unless a flag names one
    _tell_changes(run_id)
    return text


def _interrupted(comparison_id: str) -> Job:
    """The newest that this MLflow server knows of what was interrupted here, of the comparison if one is named."""
    runs.connect()
    for work in resume.interrupted():
        if comparison_id in ("", work.comparison_id) and runs.knows(work.comparison_id):
            _tell_changes(work.comparison_id)
            print(f"going on with comparison {work.comparison_id}", file=sys.stderr)
            return Job(*read([f"--config={work.folder / resume.RECIPE}"]), work)
    which = f" of comparison {comparison_id}" if comparison_id else ""
    folder = resume.FOLDER.resolve()
    raise runs.TrackingError(
        f"nothing to resume: {folder} holds no interrupted training{which} that MLflow at {runs.address()} knows"
    )


def _tell_changes(run_id: str) -> None:
    then = runs.tags(run_id)
    for name, now in provenance.tags().items():
        if then.get(name) != now:
            print(f"note: {name} is {now}; it was {then.get(name)} for run {run_id}", file=sys.stderr)


def compare(job: Job) -> None:
    """Train all that the recipe asks for in one comparison; where that makes it whole, archive and print the best."""
    distributed.check(job.recipe.batch_size, job.work is not None)
    if distributed.rank() == 0:
        runs.connect()
    data = data_of(job.recipe)
    data.prepare_data()
    data.setup()
    if distributed.rank() == 0:
        _lead(job, data)
    else:
        _assist(job.recipe, data)


def _lead(job: Job, data: MnistDataModule) -> None:
    with _opened(job) as work:
        _train_all(job, data, work)
        if job.recipe.comparison is None:
            package.choose(work.comparison_id, job.recipe.model_store)
    if job.recipe.comparison and job.recipe.only:
        print(selection.missing(job.recipe.comparison) or f"comparison {job.recipe.comparison!r} is complete")
    elif job.recipe.comparison:
        package.choose_shared(job.recipe.comparison, job.recipe.model_store)


def _assist(recipe: Recipe, data: MnistDataModule) -> None:
    """The part of a process other than the first: the same trainings, and nothing recorded."""
    for name, data.seed in recipe.trainings().values():
        fit(name, recipe, data, resume.FOLDER)


@contextlib.contextmanager
def _opened(job: Job) -> Iterator[resume.Work]:
    """The comparison's run in MLflow, and the folder from which it can be resumed; a new one of each, or the old.

    A run that machines share is nobody's: it is not open meanwhile, and ends when its champion is chosen.
    """
    shared, text = job.recipe.comparison, job.text
    with contextlib.ExitStack() as stack:
        if job.work is not None:
            work = job.work
            try:
                stack.enter_context(work.held())
            except BlockingIOError as error:
                raise runs.TrackingError(f"{work.folder}: another process goes on with it already") from error
            if not shared:
                stack.enter_context(runs.run(again=work.comparison_id))
        elif shared:
            work = stack.enter_context(resume.begun(_joined(shared, text), text))
        else:
            comparison_id = stack.enter_context(runs.run(COMPARISON))
            runs.record(texts={runs.RECIPE: text})
            work = stack.enter_context(resume.begun(comparison_id, text))
        yield work


def _joined(name: str, text: str) -> str:
    """The comparison that machines share by this name. Raises TrackingError where it is one of another recipe."""
    comparison_id = comparisons.shared(name, changed(text, only=None))
    if different := differences(text, runs.text(comparison_id, runs.RECIPE)):
        same = f"--like {comparison_id} --comparison {name}"
        told = f"comparison {name!r} has another recipe: {'; '.join(different)}"
        raise runs.TrackingError(f"{told}. Choose another name, or take that recipe: {same}")
    return comparison_id


def _train_all(job: Job, data: MnistDataModule, work: resume.Work) -> None:
    """Every optimizer with every seed, each a child of the comparison, save what was finished before."""
    before = comparisons.trainings(work.comparison_id, work.folder.name)
    new = (None, False)
    left = {title: what for title, what in job.recipe.trainings().items() if not before.get(title, new)[1]}
    if not left:
        return
    lessons = ood.lessons(data, job.recipe.outliers)
    tags = {runs.WORK: work.folder.name}
    for title, (name, data.seed) in left.items():
        known, _ = before.get(title, new)
        with runs.run(title, again=known, parent=work.comparison_id, tags=tags) as run_id:
            text = changed(job.text, only=name, seed=data.seed, seeds=1)
            runs.record(texts={runs.RECIPE: text})
            folder = work.folder / run_id
            train_one(name, job.recipe, data, lessons, run_id, folder)
        shutil.rmtree(folder)


def next_steps(picture: str, recipe: Recipe) -> str:
    """The commands that come after a training."""
    if recipe.comparison and recipe.only:
        return f"""next, when the comparison is complete:
  .venv/bin/python -m mnist_lightning.package --comparison {shlex.quote(recipe.comparison)}"""
    return f"""next:
  .venv/bin/mlflow ui --backend-store-uri {runs.address()}
  .venv/bin/python -m mnist_lightning.serve
  .venv/bin/python -m mnist_lightning.client {picture}"""


if __name__ == "__main__":
    sys.exit(main())
