"""Augmentation: independent random choices, shares, ranges of values."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mnist_lightning.datasets import augment as augment_module
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.augment import Augmentation, corrupt, deform, vary_stroke_width
from mnist_lightning.datasets.corruptions import CORRUPTIONS
from mnist_lightning.datasets.raster import draw_segments, random_subsets
from mnist_lightning.datasets.variants import REGIONAL_VARIANTS, add_regional_variants, fit_to_mnist_frame

augment = Augmentation()
Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def batch(mnist_folder: Path) -> Batch:
    images, labels = mnist.load(mnist_folder, train=True)
    return images[:256].float() / 255, labels[:256]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def changed(after: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Which images differ, (B,)."""
    return (after != before).flatten(1).any(1)


def test_a_batch_keeps_shape_and_range(batch: Batch) -> None:
    augmented = augment(*batch)
    assert augmented.shape == (256, 1, 28, 28)
    assert float(augmented.min()) >= 0
    assert float(augmented.max()) <= 1
    assert torch.isfinite(augmented).all()


def test_the_seed_determines_the_result(batch: Batch) -> None:
    def augment_once(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return augment(*batch)

    assert torch.equal(augment_once(1), augment_once(1))
    assert not torch.equal(augment_once(1), augment_once(2))


def test_strengths_of_zero_change_nothing(batch: Batch) -> None:
    assert torch.equal(Augmentation(regional_variants=0, stroke_width=0, affine=0, corruption=0)(*batch), batch[0])


@pytest.mark.parametrize(
    ("step", "value"),
    [("corruption", 1.5), ("stroke_width", 0.6), ("regional_variants", -0.1), ("affine", float("nan"))],
)
def test_a_strength_outside_its_range_is_rejected(step: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"augmentation.{step} is {value}"):
        Augmentation(**{step: value})


@pytest.mark.parametrize("size", [1, 2, 5])
def test_small_batches_are_augmented(size: int, batch: Batch) -> None:
    assert augment(batch[0][:size], batch[1][:size]).shape == (size, 1, 28, 28)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.__name__.strip("_"))
@pytest.mark.parametrize("size", [1, 32])
def test_each_corruption_changes_images_and_keeps_the_range(
    corruption: Callable[[torch.Tensor], torch.Tensor], size: int, batch: Batch
) -> None:
    corrupted = corruption(batch[0][:size])
    assert corrupted.shape == (size, 1, 28, 28)
    assert (corrupted - batch[0][:size]).abs().mean() > 0.003
    assert float(corrupted.min()) >= -1e-6
    assert float(corrupted.max()) <= 1 + 1e-6


def test_subsets_are_disjoint_and_have_their_shares() -> None:
    sizes = torch.zeros(3)
    for _ in range(200):
        subsets = random_subsets(256, (0.3, 0.1, 0.0))
        everything = torch.cat(subsets)
        assert len(set(everything.tolist())) == len(everything)
        sizes += torch.tensor([float(len(subset)) for subset in subsets])
    torch.testing.assert_close(sizes / (200 * 256), torch.tensor([0.3, 0.1, 0.0]), atol=0.01, rtol=0)


def test_subsets_are_random_at_every_place() -> None:
    chosen = torch.zeros(10)
    for _ in range(2000):
        chosen[torch.cat(random_subsets(10, (0.1, 0.1)))] += 1
    torch.testing.assert_close(chosen / 2000, torch.full((10,), 0.2), atol=0.04, rtol=0)


@pytest.mark.parametrize("size", [256, 37, 4, 1])
def test_the_share_of_corrupted_images_does_not_depend_on_the_batch_size(size: int, batch: Batch) -> None:
    rounds = 4096 // size
    count = sum(int(changed(corrupt(batch[0][:size]), batch[0][:size]).sum()) for _ in range(rounds))
    assert count / (rounds * size) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("size", [37, 4, 1])
def test_every_corruption_occurs_in_small_batches(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = torch.zeros(20)

    def count(images: torch.Tensor, kind: int) -> torch.Tensor:
        counts[kind] += len(images)
        return images

    counting = [functools.partial(count, kind=kind) for kind in range(20)]
    monkeypatch.setattr(augment_module, "CORRUPTIONS", counting)
    for _ in range(3000 // size):
        corrupt(torch.zeros(size, 1, 28, 28))
    shares = counts / counts.sum()
    torch.testing.assert_close(shares, torch.full((20,), 1 / 20), atol=0.03, rtol=0)


def test_corruption_is_independent_of_stroke_width(batch: Batch) -> None:
    """Of the corrupted images, the same shares have wide and thin strokes as of all images."""
    counts = torch.zeros(2, 3)  # by corrupted or not, and by stroke width: thinner, unchanged, wider
    for _ in range(100):
        varied = vary_stroke_width(batch[0])
        widths = (varied - batch[0]).sum((1, 2, 3)).sign().long() + 1
        for row, chosen in enumerate((changed(corrupt(varied), varied), torch.ones(256, dtype=torch.bool))):
            counts[row] += torch.bincount(widths[chosen], minlength=3)
    shares = counts / counts.sum(1, keepdim=True)
    torch.testing.assert_close(shares[1], torch.tensor([0.3, 0.4, 0.3]), atol=0.02, rtol=0)
    torch.testing.assert_close(shares[0], shares[1], atol=0.04, rtol=0)


def test_stroke_widths_change_both_ways_by_their_share(batch: Batch) -> None:
    change = torch.stack([(vary_stroke_width(batch[0], 0.25) - batch[0]).mean((1, 2, 3)) for _ in range(50)])
    assert (change > 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (change < 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert change[change > 0].mean() > 0.01
    assert change[change < 0].mean() < -0.01


def test_regional_variants_change_random_images_of_their_digits_only(batch: Batch) -> None:
    images, labels = batch
    often = torch.zeros(256)
    for _ in range(300):
        often += changed(add_regional_variants(images, labels), images)
    assert set(labels[often > 0].tolist()) == set(REGIONAL_VARIANTS)
    for digit, (_, share) in REGIONAL_VARIANTS.items():
        frequencies = often[labels == digit] / 300
        assert frequencies.mean().item() == pytest.approx(share, abs=0.05)
        assert frequencies.max() < share + 0.25  # no image is chosen every time
        assert frequencies.min() > share - 0.25


def test_deforming_keeps_most_of_the_ink(batch: Batch) -> None:
    ratio = deform(batch[0]).sum() / batch[0].sum()
    assert 0.85 < float(ratio) < 1.15


def test_mnist_images_already_fit_mnists_frame(batch: Batch) -> None:
    assert (fit_to_mnist_frame(batch[0]) - batch[0]).abs().mean() < 0.03


def test_a_segment_has_its_width_and_length() -> None:
    stroke = draw_segments(torch.tensor([[4.0, 14.0]]), torch.tensor([[24.0, 14.0]]), torch.tensor([3.0]))
    assert float(stroke[0, 0, :, 14].sum()) == pytest.approx(3, abs=0.01)
    assert float(stroke[0, 0, 14, :].sum()) == pytest.approx(23, abs=1)
