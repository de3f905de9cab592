"""From a training request to a digit that is read: train, promote the best run, package it, serve it."""

import shlex
import sys
from functools import partial
from pathlib import Path

from mnist_lightning.client import ClientError, ask
from mnist_lightning.client.formatting import format_answer
from mnist_lightning.common.files import check_writable
from mnist_lightning.datasets.feedback import FeedbackError
from mnist_lightning.datasets.mnist import MnistUnavailableError
from mnist_lightning.datasets.parallel import GenerationError
from mnist_lightning.datasets.samples import SampleError, write_example
from mnist_lightning.models.archive import ArchiveError
from mnist_lightning.packaging import promotion
from mnist_lightning.packaging.archiver import PackagingError
from mnist_lightning.packaging.store import CHALLENGER
from mnist_lightning.serving.torchserve import ServerError, default_or_free_port, running
from mnist_lightning.tracking import runs
from mnist_lightning.tracking.runs import TrackingError
from mnist_lightning.training import distributed
from mnist_lightning.training.arguments import TrainingRequest
from mnist_lightning.training.comparison import train_comparison
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.distributed import DistributedError
from mnist_lightning.training.fit import silence_warnings
from mnist_lightning.training.recipe_yaml import RecipeError
from mnist_lightning.training.resume import ResumeError

ERRORS = (
    *(MnistUnavailableError, SampleError, FeedbackError, ArchiveError, GenerationError),
    *(TrackingError, PackagingError, DistributedError, RecipeError, ResumeError, OSError),
)


def train_and_promote(request: TrainingRequest) -> int:
    """Train, promote and package; the exit code: 0, 1 after an error, 130 after Ctrl-C, with a line on stderr."""
    silence_warnings()
    recipe = request.recipe
    promote = partial(promotion.promote, store=recipe.model_store, as_challenger=recipe.makes_challenger)
    try:
        if distributed.rank() == 0:
            check_writable(recipe.model_store)  # before hours of training
        with runs.errors():
            train_comparison(request, promote)
            if distributed.rank() == 0 and recipe.comparison is not None:
                _promote_if_complete(recipe, recipe.comparison)
    except KeyboardInterrupt:
        message = "stopped: the run is marked KILLED in MLflow, nothing was archived; --resume continues it"
        print(f"\n{message}", file=sys.stderr)
        return 130
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _promote_if_complete(recipe: Recipe, name: str) -> None:
    """Promote the best of a comparison that machines share; a machine with a part of it only reports what is left."""
    if recipe.only:
        print(promotion.missing(name) or f"comparison {name!r} is complete")
    else:
        promotion.promote_shared(name, recipe.model_store)


def serve_and_ask(recipe: Recipe) -> int:
    """Serve the archive while the server classifies one of MNIST's test digits; return the exit code."""
    try:
        picture = write_example(recipe.data_dir, Path("data"))
        with running(recipe.model_store, default_or_free_port()) as server:
            print(f"serving at {server.url}, asking about {picture}", file=sys.stderr)
            print(format_answer(str(picture), ask(picture.read_bytes(), server.url)))
    except (ServerError, ClientError, MnistUnavailableError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(next_steps(str(picture), recipe))
    return 0


def next_steps(picture: str, recipe: Recipe) -> str:
    """The commands to run after a training."""
    if recipe.comparison and recipe.only:
        return f"""next, when the comparison is complete:
  .venv/bin/python -m mnist_lightning.package --comparison {shlex.quote(recipe.comparison)}"""
    if recipe.makes_challenger:
        return f"""next:
  .venv/bin/python -m mnist_lightning.serve --challenger {recipe.model_store / CHALLENGER.archive} --shadow 0.1
  .venv/bin/python -m mnist_lightning.promote"""
    return f"""next:
  .venv/bin/mlflow ui --backend-store-uri {runs.tracking_uri()}
  .venv/bin/python -m mnist_lightning.serve
  .venv/bin/python -m mnist_lightning.client {picture}"""
