"""The learning-rate schedule."""

import pytest

from mnist_lightning.training.schedule import Schedule


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_rises_and_then_falls(decay: str) -> None:
    schedule = Schedule(warmup=0.25, decay=decay)  # type: ignore[arg-type]
    factors = [schedule.factor(step / 100) for step in range(101)]
    assert max(factors) == factors[25] == 1
    assert factors[:26] == sorted(factors[:26])
    assert factors[25:] == sorted(factors[25:], reverse=True)
    assert 0 < factors[0] < 0.01
    assert 0 < factors[100] < 0.01


@pytest.mark.parametrize("warmup", [-0.1, 1.0, float("nan")])
def test_a_warmup_outside_its_range_is_rejected(warmup: float) -> None:
    with pytest.raises(ValueError, match="warmup is"):
        Schedule(warmup=warmup)
