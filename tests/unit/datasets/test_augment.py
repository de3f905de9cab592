"""Augmented pictures are still pictures of the same digits."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.augment import Augmentation, move, pen
from mnist_lightning.datasets.corruptions import DAMAGE
from mnist_lightning.datasets.raster import segment
from mnist_lightning.datasets.variants import habits, refit

augment = Augmentation()
Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def batch(mnist_folder: Path) -> Batch:
    images, labels = mnist.load(mnist_folder, train=True)
    return images[:256].float() / 255, labels[:256]


def test_a_batch_keeps_its_form(batch: Batch) -> None:
    changed = augment(*batch)
    assert changed.shape == (256, 1, 28, 28)
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert torch.isfinite(changed).all()


def test_the_seed_decides_all(batch: Batch) -> None:
    def once(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return augment(*batch)

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))


def test_at_zero_nothing_is_changed(batch: Batch) -> None:
    assert torch.equal(Augmentation(habits=0, pens=0, moves=0, damage=0)(*batch), batch[0])


@pytest.mark.parametrize(("step", "value"), [("damage", 1.5), ("pens", 0.6), ("habits", -0.1), ("moves", float("nan"))])
def test_a_strength_outside_its_range_is_refused(step: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"augmentation.{step} is {value}"):
        Augmentation(**{step: value})


def test_small_batches_pass(batch: Batch) -> None:
    assert augment(batch[0][:1], batch[1][:1]).shape == (1, 1, 28, 28)


@pytest.mark.parametrize("kind", DAMAGE, ids=lambda kind: kind.__name__.strip("_"))
def test_each_damage_changes_pictures_and_keeps_the_range(
    kind: Callable[[torch.Tensor], torch.Tensor], batch: Batch
) -> None:
    changed = kind(batch[0][:32])
    assert changed.shape == (32, 1, 28, 28)
    assert (changed - batch[0][:32]).abs().mean() > 0.003
    assert float(changed.min()) >= -1e-6
    assert float(changed.max()) <= 1 + 1e-6


def test_habits_touch_only_the_digits_that_have_them(batch: Batch) -> None:
    images, labels = batch
    touched = (habits(images, labels) != images).flatten(1).any(1)
    assert set(labels[touched].tolist()) == {0, 1, 4, 7}
    assert 0.05 < float(touched.float().mean()) < 0.2


def test_pens_get_wider_and_finer(batch: Batch) -> None:
    change = (pen(batch[0]) - batch[0]).mean((1, 2, 3))
    assert float(change[:76].mean()) > 0.01
    assert float(change[76:152].mean()) < -0.01
    assert torch.equal(change[152:], torch.zeros(104))


def test_moving_keeps_most_of_the_ink(batch: Batch) -> None:
    ratio = move(batch[0]).sum() / batch[0].sum()
    assert 0.85 < float(ratio) < 1.15


def test_refit_leaves_what_fits(batch: Batch) -> None:
    assert (refit(batch[0]) - batch[0]).abs().mean() < 0.03


def test_a_segment_is_as_wide_as_asked() -> None:
    stroke = segment(torch.tensor([[4.0, 14.0]]), torch.tensor([[24.0, 14.0]]), torch.tensor([3.0]))
    assert float(stroke[0, 0, :, 14].sum()) == pytest.approx(3, abs=0.01)
    assert float(stroke[0, 0, 14, :].sum()) == pytest.approx(23, abs=1)
