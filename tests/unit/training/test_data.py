"""What a training learns from: MNIST, feedback, and the weights that it starts from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.looped_script import save_feedback
from mnist_lightning.datasets.feedback import FeedbackError, FeedbackSet
from mnist_lightning.datasets.samples import SampleError
from mnist_lightning.models import digitnet
from mnist_lightning.models.archive import ArchiveError
from mnist_lightning.models.digitnet import DigitNet, checkpoint_of
from mnist_lightning.tracking import runs
from mnist_lightning.training import data, recipe_yaml
from mnist_lightning.training.arguments import find_recipe
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.data import TrainingData
from mnist_lightning.training.recipe_yaml import RecipeError
from tests.mlflow_stores import log_training
from tests.small_archive import build_small
from tests.support import WEIGHTS_FILE


@pytest.fixture(scope="module")
def network() -> DigitNet:
    return digitnet.load(WEIGHTS_FILE.read_bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feedback of thirty pictures."""
    made = tmp_path_factory.mktemp("feedback")
    save_feedback(made, 30, seed=0)
    return made


@pytest.fixture
def recipe(mnist_folder: Path, network: DigitNet) -> Recipe:
    values = recipe_yaml.parse(find_recipe("retrain.yaml").read_text())
    shape = {"widths": list(network.widths), "pooled": network.pooled}
    return Recipe.from_values({**values, **shape, "data_dir": str(mnist_folder), "limit": 100})


def changed(recipe: Recipe, **values: object) -> Recipe:
    return Recipe(**{**vars(recipe), **values})


def test_without_feedback_there_is_mnist_alone(recipe: Recipe) -> None:
    loaded = TrainingData.load(recipe)
    assert loaded.feedback_batch is None
    assert loaded.initial is None
    assert loaded.splits is loaded.mnist
    assert len(loaded.mnist.training[1]) == 100


def test_feedback_is_added_at_its_share_and_what_is_held_out_is_not(recipe: Recipe, folder: Path) -> None:
    found = FeedbackSet.load(folder)
    count = len(found.training)
    share = 3 * count / (3 * count + 100)
    loaded = TrainingData.load(changed(recipe, feedback=folder, feedback_share=share))
    images, labels = loaded.splits.training
    assert len(labels) == len(images) == 100 + 3 * count
    assert torch.equal(images[3 * count :], loaded.mnist.training[0])
    assert labels[:count].tolist() == [picture.label for picture in found.training]
    shown = {image.numpy().tobytes() for image in images}
    for picture in (*found.validation, *found.held_out):
        assert (picture.image.image * 255).round().astype(np.uint8)[None].tobytes() not in shown
    assert len(loaded.ood_splits.training[1]) == 100 + count
    assert torch.equal(loaded.splits.test[0], loaded.mnist.test[0])


def test_validation_is_on_the_same_share_of_feedback(recipe: Recipe, folder: Path) -> None:
    loaded = TrainingData.load(changed(recipe, feedback=folder, feedback_share=0.01))
    images, labels = loaded.splits.validation
    validation = FeedbackSet.load(folder).validation
    repeats = round(0.01 / 0.99 * 5000 / len(validation))
    assert len(images) == len(labels) == 5000 + repeats * len(validation)
    assert labels[: len(validation)].tolist() == [picture.label for picture in validation]
    assert torch.equal(images[-5000:], loaded.mnist.validation[0])
    assert len(loaded.ood_splits.validation[1]) == 5000 + len(validation)


def test_feedback_without_pictures_for_validation_is_enough(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    picture = FeedbackSet.load(folder).training[0].path
    (tmp_path / picture.name).write_bytes(picture.read_bytes())
    loaded = TrainingData.load(changed(recipe, feedback=tmp_path))
    assert torch.equal(loaded.splits.validation[0], loaded.mnist.validation[0])
    assert len(loaded.splits.training[1]) == 100 + loaded.feedback_repeats


@pytest.mark.parametrize(("share", "repeats"), [(0.0, 1), (0.01, 1), (0.999, 100)])
def test_a_picture_is_shown_at_least_once_and_not_too_often(
    share: float, repeats: int, recipe: Recipe, folder: Path
) -> None:
    loaded = TrainingData.load(changed(recipe, feedback=folder, feedback_share=share))
    assert loaded.feedback_repeats == repeats
    assert len(loaded.splits.training[1]) == 100 + repeats * len(FeedbackSet.load(folder).training)


def test_feedback_of_another_version_is_an_error(recipe: Recipe, folder: Path) -> None:
    version = FeedbackSet.load(folder).version
    assert TrainingData.load(changed(recipe, feedback=folder, feedback_version=version)).feedback is not None
    with pytest.raises(FeedbackError, match=f"is version {version} now, and the recipe is of version abc"):
        TrainingData.load(changed(recipe, feedback=folder, feedback_version="abc"))


def test_a_folder_without_pictures_to_train_on_is_an_error(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SampleError):
        TrainingData.load(changed(recipe, feedback=tmp_path / "missing"))
    held_out = FeedbackSet.load(folder).held_out[0].path
    (tmp_path / held_out.name).write_bytes(held_out.read_bytes())
    with pytest.raises(FeedbackError, match="has no picture to train on; see: "):
        TrainingData.load(changed(recipe, feedback=tmp_path))


def test_weights_come_from_an_archive_or_a_checkpoint(recipe: Recipe, network: DigitNet, tmp_path: Path) -> None:
    torch.save(checkpoint_of(network, "network."), tmp_path / "training.ckpt")
    (tmp_path / "mnist.pt").write_bytes(WEIGHTS_FILE.read_bytes())
    for source in (build_small(tmp_path / "archive"), tmp_path / "training.ckpt", tmp_path / "mnist.pt"):
        initial = TrainingData.load(changed(recipe, start_from=str(source))).initial
        assert initial is not None
        for name, value in network.state_dict().items():
            torch.testing.assert_close(initial.state_dict()[name], value, rtol=1e-3, atol=1e-3)


def test_weights_come_from_a_run(mlflow_store: Path, recipe: Recipe, network: DigitNet) -> None:
    torch.save(checkpoint_of(network, "network."), "best.ckpt")
    with runs.run("comparison") as parent:
        run_id = log_training(parent, "SGD", files={runs.CHECKPOINT: Path("best.ckpt")})
    initial = TrainingData.load(changed(recipe, start_from=run_id)).initial
    assert initial is not None
    for name, value in network.state_dict().items():
        assert torch.equal(initial.state_dict()[name], value)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"no archive", "a.mar", "a.mar"),
        (b"no checkpoint", "a.ckpt", "does not hold a digit network"),
        (None, "missing.ckpt", "start_from is '.*missing.ckpt'; it must be a run's id in MLflow, an archive or a"),
    ],
)
def test_weights_that_cannot_be_read(
    content: bytes | None, name: str, message: str, recipe: Recipe, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((RecipeError, ArchiveError), match=message):
        TrainingData.load(changed(recipe, start_from=str(tmp_path / name)))


def test_weights_of_other_widths_name_the_flags(recipe: Recipe, network: DigitNet, tmp_path: Path) -> None:
    torch.save(checkpoint_of(network, "network."), tmp_path / "training.ckpt")
    with pytest.raises(RecipeError, match=r"is a network of other widths; add --widths '\[.*\]' --pooled "):
        TrainingData.load(changed(recipe, widths=[4, 4], start_from=str(tmp_path / "training.ckpt")))


def test_the_champion_is_a_run_or_the_archive_that_is_served(mlflow_store: Path) -> None:
    assert Path(data.resolve_champion()).name == "mnist.mar"
