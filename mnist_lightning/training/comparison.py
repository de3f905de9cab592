"""All trainings of a request, as one comparison in MLflow."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace

from mnist_lightning.datasets.ood import HELD_OUT, OODDataset
from mnist_lightning.tracking import comparisons, runs
from mnist_lightning.training import distributed, resume
from mnist_lightning.training.arguments import TrainingRequest
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.data import TrainingData
from mnist_lightning.training.fit import fit, train_and_log
from mnist_lightning.training.recipe_yaml import differences, with_values
from mnist_lightning.training.resume import Workspace

DEFAULT_NAME = "optimizers"  # of a comparison's run in MLflow


def train_comparison(request: TrainingRequest, promote: Callable[[str], None]) -> None:
    """Train every optimizer of the request with every seed.

    Args:
        request: what to train, or to resume.
        promote: called with the comparison's id while its run is open, when all trainings are finished. It is not
            called for a comparison that machines share, which is complete when the last of them has finished.

    Raises:
        TrackingError, DistributedError, ResumeError: the training cannot start or continue.
        MnistUnavailableError, SampleError, FeedbackError, ArchiveError, RecipeError: as `TrainingData.load`.
    """
    recipe = request.recipe
    distributed.check(recipe.batch_size, resuming=request.workspace is not None)
    if distributed.rank() == 0:
        runs.connect()
    data = TrainingData.load(recipe)
    if distributed.rank() == 0:
        run_main(_with_version(request, data), data, promote)
    else:
        run_worker(recipe, data)


def _with_version(request: TrainingRequest, data: TrainingData) -> TrainingRequest:
    """The request with the version of the feedback in its recipe, so that it is repeated with the same pictures."""
    if data.feedback is None:
        return request
    version = data.feedback.version
    return replace(
        request,
        recipe=replace(request.recipe, feedback_version=version),
        recipe_yaml=with_values(request.recipe_yaml, feedback_version=version),
    )


def run_main(request: TrainingRequest, data: TrainingData, promote: Callable[[str], None]) -> None:
    """The part of process 0: train, log, promote."""
    with _open_workspace(request) as workspace:
        _train_all(request, data, workspace)
        if request.recipe.comparison is None:
            promote(workspace.comparison_id)


def run_worker(recipe: Recipe, data: TrainingData) -> None:
    """The part of every other process: the same trainings, without logging."""
    for optimizer, seed in recipe.trainings().values():
        fit(optimizer, seed, recipe, data.splits, resume.FOLDER, initial=data.initial)


@contextlib.contextmanager
def _open_workspace(request: TrainingRequest) -> Iterator[Workspace]:
    """The workspace and the comparison's run in MLflow: those to resume, or new ones.

    The run of a comparison that machines share is not opened: it ends when its champion is promoted.
    """
    name, workspace = request.recipe.comparison, request.workspace
    with contextlib.ExitStack() as stack:
        if workspace is not None:
            stack.enter_context(workspace.lock())
            if name is None:
                stack.enter_context(runs.run(run_id=workspace.comparison_id))
        elif name is not None:
            comparison_id = _join(name, request.recipe_yaml)
            workspace = stack.enter_context(Workspace.create(comparison_id, request.recipe_yaml))
        else:
            comparison_id = stack.enter_context(runs.run(DEFAULT_NAME))
            runs.log(texts={runs.RECIPE: request.recipe_yaml})
            workspace = stack.enter_context(Workspace.create(comparison_id, request.recipe_yaml))
        yield workspace


def _join(name: str, recipe_yaml: str) -> str:
    """The run of the comparison that machines share by this name. Raises TrackingError if its recipe differs."""
    comparison_id = comparisons.join(name, with_values(recipe_yaml, only=None))
    if different := differences(recipe_yaml, runs.load_text(comparison_id, runs.RECIPE)):
        raise runs.TrackingError(
            f"comparison {name!r} has another recipe: {'; '.join(different)}. "
            f"Choose another name, or use its recipe: --from-run {comparison_id} --comparison {name}"
        )
    return comparison_id


def _train_all(request: TrainingRequest, data: TrainingData, workspace: Workspace) -> None:
    """Train every optimizer with every seed, each as a child of the comparison; skip those that are finished."""
    known = comparisons.runs_of_workspace(workspace.comparison_id, workspace.folder.name)
    finished = {title for title, (_, is_finished) in known.items() if is_finished}
    remaining = {title: what for title, what in request.recipe.trainings().items() if title not in finished}
    if not remaining:
        return
    n_per_kind = request.recipe.outliers
    ood_data = OODDataset.build(data.ood_splits, n_per_kind, n_held_out=HELD_OUT * n_per_kind)
    tags = {runs.WORKSPACE: workspace.folder.name}
    for title, (optimizer, seed) in remaining.items():
        interrupted, _ = known.get(title, (None, False))
        with runs.run(title, run_id=interrupted, parent=workspace.comparison_id, tags=tags) as run_id:
            runs.log(texts={runs.RECIPE: with_values(request.recipe_yaml, only=optimizer, seed=seed, seeds=1)})
            folder = workspace.folder / run_id
            train_and_log(optimizer, seed, request.recipe, data, ood_data, run_id, folder)
        shutil.rmtree(folder)
