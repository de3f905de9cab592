"""A small training in this process: reproducible, and equal when it is interrupted and resumed."""

import tempfile
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch

from mnist_lightning.common.paths import resource
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.models.ood import OODHead
from mnist_lightning.training import distributed, recipe_yaml
from mnist_lightning.training.config import Recipe
from mnist_lightning.training.fit import FitResult, fit, silence_warnings
from mnist_lightning.training.resume import ResumeCheckpoint
from tests.disks import file_size_limit


@pytest.fixture(autouse=True)
def quiet() -> None:
    silence_warnings()


@pytest.fixture(scope="module")
def splits() -> MnistSplits:
    """A few random images; their labels are their brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(320) % 10
    images = torch.randint(0, 26, (320, 1, 28, 28), dtype=torch.uint8, generator=generator)
    images = images + (labels * 25).to(torch.uint8)[:, None, None, None]
    return MnistSplits(*[(images, labels)] * 3)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    values = recipe_yaml.parse(resource("config/train.yaml").read_text())
    return Recipe.from_values({**values, "widths": [4, 4], "epochs": 3, "batch_size": 64, "only": "SGD"})


def test_the_same_seed_gives_the_same_weights(splits: MnistSplits, recipe: Recipe, tmp_path: Path) -> None:
    results = [fit("SGD", seed, recipe, splits, tmp_path / str(n)) for n, seed in enumerate((1, 1, 2))]
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])
    assert [result.checkpoint.name for result in results] == ["best.ckpt"] * 3
    assert results[0].seconds > 0
    assert not results[0].network.training


def equal(one: FitResult, other: FitResult) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def interrupt_after(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training that starts next is interrupted at the start of the epoch after that one."""

    class Interrupt(distributed.PerRankSeed):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == epoch + 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(distributed, "PerRankSeed", Interrupt)


def test_an_interrupted_and_resumed_training_ends_with_the_same_weights(
    splits: MnistSplits, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit("SGD", 1, recipe, splits, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_after(0, patch)
        with pytest.raises(KeyboardInterrupt):
            fit("SGD", 1, recipe, splits, tmp_path / "resumed")
    checkpoint = torch.load(tmp_path / "resumed/last.ckpt", weights_only=True)
    assert {"Continuity", "RunningMean"} <= set(checkpoint["callbacks"])  # as in checkpoints of former releases
    torch.manual_seed(99)  # the state of another process
    resumed = fit("SGD", 1, recipe, splits, tmp_path / "resumed")
    assert equal(whole, resumed)
    one, other = (torch.load(result.checkpoint, weights_only=True) for result in (whole, resumed))
    for part in ("state_dict", "current_model_state"):  # the moving average, and the weights themselves
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])


def test_the_training_time_of_earlier_processes_counts(tmp_path: Path) -> None:
    callback = ResumeCheckpoint(tmp_path)
    callback.load_state_dict({**callback.state_dict(), "seconds": 1000.0})
    assert callback.seconds > 1000


def test_checkpoints_do_not_pass_through_the_temporary_folder(
    splits: MnistSplits, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be another file system, from which a file is copied over the former checkpoint, not moved."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    result = fit("SGD", 1, recipe, splits, tmp_path / "folder")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert result.checkpoint == tmp_path / "folder" / "best.ckpt"


def test_a_full_disk_ends_the_training_and_leaves_the_last_checkpoints(
    splits: MnistSplits, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(0, patch)
        with pytest.raises(KeyboardInterrupt):
            fit("SGD", 1, recipe, splits, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {"best.ckpt", "last.ckpt"}
    with file_size_limit(10_000), pytest.raises(OSError, match=rf"File too large: '{tmp_path}/(best|last)\.ckpt'$"):
        fit("SGD", 1, recipe, splits, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    fit("SGD", 1, recipe, splits, tmp_path)


def test_a_training_starts_from_given_weights_and_keeps_a_share_of_them(
    splits: MnistSplits, recipe: Recipe, tmp_path: Path
) -> None:
    first = fit("SGD", 1, recipe, splits, tmp_path / "first").network
    first.ood_head = OODHead(first.head.in_features, 4)  # as a champion's; it is not taken over
    networks = {}
    for share in (0.0, 0.25, 0.999999):
        own = replace(recipe, initial_share=share)
        networks[share] = fit("SGD", 2, own, splits, tmp_path / str(share), initial=first).network.state_dict()
    before = first.state_dict()
    assert not torch.equal(networks[0.0]["head.weight"], before["head.weight"])
    for name, trained in networks[0.0].items():
        if trained.is_floating_point():
            torch.testing.assert_close(networks[0.25][name], 0.75 * trained + 0.25 * before[name])
            torch.testing.assert_close(networks[0.999999][name], before[name], rtol=1e-4, atol=1e-4)
    assert not any(name.startswith("ood_head.") for name in networks[0.0])
