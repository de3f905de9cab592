"""The moving average of the weights: it soon forgets the initial weights, and covers its window in the end."""

import pytest

from mnist_lightning.training.ema import UPDATE_EVERY_N_STEPS, WarmupEMA, ema_rate


def weight_of_the_first_update(updates: int, window: float) -> float:
    """The weight that the first update still has in the average after so many updates."""
    weight = 1.0
    for n in range(1, updates + 1):
        weight *= 1 - float(ema_rate(n, window))
    return weight


def test_after_one_epoch_of_nine_the_initial_weights_are_forgotten() -> None:
    assert weight_of_the_first_update(43, window=289) < 1e-3


def test_in_the_end_the_window_determines_the_rate() -> None:
    assert ema_rate(10_000, window=289) == pytest.approx(UPDATE_EVERY_N_STEPS / 289)


@pytest.mark.parametrize("window", [0, 1, UPDATE_EVERY_N_STEPS])
def test_without_a_window_the_average_is_the_current_weights(window: float) -> None:
    assert ema_rate(1, window) == ema_rate(10_000, window) == 1


def test_the_average_is_updated_every_few_steps_and_never_by_epoch() -> None:
    ema = WarmupEMA(100)
    assert [step for step in range(12) if ema.should_update(step_idx=step)] == [0, 5, 10]
    assert not ema.should_update(epoch_idx=0)
