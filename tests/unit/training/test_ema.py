"""The running mean of the weights: it forgets the first ones soon, and covers the window in the end."""

import pytest

from mnist_lightning.training.ema import EVERY, share


def weight_of_the_first(updates: int, window: float) -> float:
    """What the first update's weights are still worth in the mean after so many updates more."""
    left = 1.0
    for n in range(1, updates + 1):
        left *= 1 - share(n, window)
    return left


def test_after_an_epoch_of_nine_the_first_weights_are_gone() -> None:
    assert weight_of_the_first(43, window=289) < 1e-3


def test_in_the_end_it_is_the_window_that_counts() -> None:
    assert share(10_000, window=289) == pytest.approx(EVERY / 289)


@pytest.mark.parametrize("window", [0, 1, EVERY])
def test_without_a_window_it_is_the_newest_weights(window: float) -> None:
    assert share(1, window) == share(10_000, window) == 1
