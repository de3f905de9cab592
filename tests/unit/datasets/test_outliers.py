"""Generated outliers, and the data set of the out-of-distribution head."""

import numpy as np
import pytest
import torch

from mnist_lightning.datasets import outliers, sketches
from mnist_lightning.datasets.ood import OODDataset
from mnist_lightning.datasets.sketches import CANVAS_SIDE
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.preprocessing.decode import Bytes


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Forty bright rectangles in MNIST's format, labelled 0 to 9."""
    images = torch.zeros(40, 1, 28, 28, dtype=torch.uint8)
    for index in range(40):
        images[index, 0, 4:24, 10 : 14 + index % 8] = 255
    return images, torch.arange(40) % 10


def test_the_same_seed_generates_the_same_images() -> None:
    kinds = {name: outliers.OUTLIER_KINDS[name] for name in ("letter", "scribble")}
    first, second = outliers.generate(kinds, 5, 3), outliers.generate(kinds, 5, 3)
    assert np.array_equal(first[0], second[0])
    assert first[1] == ["letter"] * 5 + ["scribble"] * 5
    assert not np.array_equal(first[0], outliers.generate(kinds, 5, 4)[0])


def test_a_kinds_images_do_not_depend_on_the_other_kinds() -> None:
    alone, _ = outliers.generate({"letter": outliers.OUTLIER_KINDS["letter"]}, 5, 3)
    both, _ = outliers.generate({"blot": sketches.blot, "letter": outliers.OUTLIER_KINDS["letter"]}, 5, 3)
    assert np.array_equal(alone, both[5:])


@pytest.mark.parametrize("name", outliers.OUTLIER_KINDS)
def test_every_kind_is_preprocessed_to_mnists_format(name: str) -> None:
    images, names = outliers.generate({name: outliers.OUTLIER_KINDS[name]}, 3, 0)
    assert images.shape == (3, 28, 28)
    assert names == [name] * 3
    assert 0 <= images.min() < 0.1
    assert 0.5 < images.max() <= 1


def test_canvases_without_ink_are_replaced() -> None:
    calls: list[int] = []

    def often_blank(rng: np.random.Generator) -> Bytes:
        calls.append(len(calls))
        return sketches.scribble(rng) if len(calls) % 3 == 0 else np.zeros((CANVAS_SIDE, CANVAS_SIDE), np.uint8)

    images, _ = outliers.generate({"often blank": often_blank}, 4, 0)
    assert len(images) == 4
    assert len(calls) == 12


def test_generating_takes_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in comparisons of names, not in seconds: a name is compared at most once for each image."""

    class CountingName(str):
        comparisons = 0

        def __eq__(self, other: object) -> bool:
            CountingName.comparisons += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    monkeypatch.setattr(outliers, "normalize", lambda canvas: np.zeros((28, 28), np.float32))
    blank = np.zeros((CANVAS_SIDE, CANVAS_SIDE), np.uint8)
    outliers.generate({CountingName("a"): lambda rng: blank, CountingName("b"): lambda rng: blank}, 300, 0)
    assert CountingName.comparisons <= 2 * 300


def test_other_processes_draw_the_same_images(
    digits: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = MnistSplits(digits, digits, digits)
    alone = OODDataset.build(splits, 2)
    monkeypatch.setattr(outliers, "IN_ONE_PROCESS", 0)
    shared = OODDataset.build(splits, 2)
    for name in ("train_digits", "train_outliers", "held_out_digits", "held_out_outliers"):
        assert torch.equal(getattr(alone, name), getattr(shared, name))


def test_the_data_set_is_reproducible_and_has_its_sizes(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    splits = MnistSplits(digits, digits, digits)
    data = OODDataset.build(splits, 2)
    same = OODDataset.build(splits, 2)
    kinds = len(outliers.OUTLIER_KINDS) + 3
    sizes = {"train_digits": 2 * 29, "train_outliers": 2 * kinds, "held_out_digits": 3 * 40, "held_out_outliers": kinds}
    for name, size in sizes.items():
        images = getattr(data, name)
        assert images.shape == (size, 1, 28, 28)
        assert images.dtype == torch.uint8
        assert torch.equal(images, getattr(same, name))


def test_fewer_digits_can_be_held_out(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    splits = MnistSplits(digits, digits, digits)
    data = OODDataset.build(splits, 1, n_held_out=10, kinds={"blot": sketches.blot})
    assert len(data.held_out_digits) == 3 * 10
    assert torch.equal(data.held_out_digits[:10], digits[0][:10])


def test_building_the_data_set_leaves_the_random_state(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    before = torch.get_rng_state()
    OODDataset.build(MnistSplits(digits, digits, digits), 1, kinds={"blot": sketches.blot})
    assert torch.equal(torch.get_rng_state(), before)
