"""What a training learns from: MNIST's digits, corrected pictures, and the weights that it starts from."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.common.errors import first_line
from mnist_lightning.datasets.feedback import FeedbackError, FeedbackPicture, FeedbackSet, to_batch
from mnist_lightning.datasets.splits import Batch, MnistSplits
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import DigitNet, from_checkpoint
from mnist_lightning.serving.model_store import choose_store
from mnist_lightning.tracking import registry, runs
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.recipe_yaml import RecipeError

CHAMPION = "champion"
MAX_REPEATS = 100  # of a corrected picture in an epoch: a few pictures are learned by heart else


@dataclass(frozen=True)
class TrainingData:
    """The images of a comparison, and the network that its trainings start from, if any."""

    mnist: MnistSplits
    feedback: FeedbackSet | None = None
    feedback_share: float = 0.0
    initial: DigitNet | None = None

    @classmethod
    def load(cls, recipe: Recipe) -> "TrainingData":
        """Read all that a recipe names.

        Raises:
            MnistUnavailableError, SampleError, TrackingError, ArchiveError: as the functions that read it.
            FeedbackError: there is no corrected picture to train on, or another set than the recipe was made with.
            RecipeError: the recipe's network is not the one to start from.
        """
        mnist = MnistSplits.load(recipe.data_dir, recipe.limit)
        feedback = None if recipe.feedback is None else _load_feedback(recipe.feedback, recipe.feedback_version)
        initial = None if recipe.start_from is None else _load_initial(recipe.start_from, recipe)
        return cls(mnist, feedback, recipe.feedback_share, initial)

    @cached_property
    def feedback_batch(self) -> Batch | None:
        """The corrected pictures to train on, each once."""
        return None if self.feedback is None else to_batch(self.feedback.training)

    @property
    def feedback_repeats(self) -> int:
        """How often a corrected picture is shown in an epoch; a digit of MNIST is shown once."""
        return 0 if self.feedback is None else self._repeats(self.feedback.training, self.mnist.training)

    @cached_property
    def splits(self) -> MnistSplits:
        """The images that the classifier is trained on, and those of MNIST for validation and test.

        With feedback, it has the same share of the training and of the validation images: the choice among trainings
        is one of what they learned from it, too.
        """
        if self.feedback is None:
            return self.mnist
        validation = self.feedback.validation
        return self.mnist.extended(
            _repeat(self.feedback.training, self.feedback_repeats),
            _repeat(validation, self._repeats(validation, self.mnist.validation)),
        )

    @cached_property
    def ood_splits(self) -> MnistSplits:
        """As `splits`, for the out-of-distribution head: a corrected picture is one digit of many."""
        if self.feedback is None:
            return self.mnist
        return self.mnist.extended(to_batch(self.feedback.training), to_batch(self.feedback.validation))

    def _repeats(self, pictures: Sequence[FeedbackPicture], others: Batch) -> int:
        wanted = self.feedback_share / (1 - self.feedback_share) * len(others[1])
        return min(max(round(wanted / max(len(pictures), 1)), 1), MAX_REPEATS)


def _repeat(pictures: Sequence[FeedbackPicture], times: int) -> Batch:
    images, labels = to_batch(pictures)
    return images.repeat(times, 1, 1, 1), labels.repeat(times)


def resolve_champion() -> str:
    """The id of the champion's run, or the archive that is served if MLflow has no champion."""
    try:
        runs.connect(create=False)
        champion = registry.find(registry.CHAMPION)
    except runs.TrackingError:
        champion = None
    return str(choose_store(None) / ARCHIVE) if champion is None else str(champion.run_id)


def _load_feedback(folder: Path, version: str | None) -> FeedbackSet:
    feedback = FeedbackSet.load(folder)
    if not feedback.training:
        raise FeedbackError(f"{folder} has no picture to train on; see: python -m mnist_lightning.feedback list")
    if version not in (None, feedback.version):
        raise FeedbackError(
            f"{folder} is version {feedback.version} now, and the recipe is of version {version}; train on an export "
            "of it, or on the current one with --feedback_version null"
        )
    return feedback


def _load_initial(source: str, recipe: Recipe) -> DigitNet:
    """The network of a file or of a run in MLflow. Raises as `TrainingData.load`."""
    if Path(source).is_file():
        network = _read_network(Path(source))
    elif re.fullmatch("[0-9a-f]{32}", source):
        runs.connect(create=False)
        with tempfile.TemporaryDirectory() as folder:
            network = _read_network(runs.download_checkpoint(source, Path(folder)))
    else:
        raise RecipeError(f"start_from is {source!r}; it must be a run's id in MLflow, an archive or a checkpoint")
    if (network.widths, network.pooled) != (tuple(recipe.widths), recipe.pooled):
        raise RecipeError(
            f"{source} is a network of other widths; add --widths '{list(network.widths)}' "
            f"--pooled {str(network.pooled).lower()}"
        )
    return network


def _read_network(path: Path) -> DigitNet:
    """The network of an archive, of a training's checkpoint, or of a file of weights."""
    if path.suffix == ".mar":
        return load_network(path)
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        is_training = any(name.startswith("network.") for name in checkpoint.get("state_dict", ()))
        return from_checkpoint(checkpoint, "network." if is_training else "")
    except Exception as error:  # a damaged file raises errors of many types
        raise RecipeError(f"{path} does not hold a digit network: {first_line(error)}") from error
