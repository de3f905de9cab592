"""The population stability index: its formula, its bias, its alarms."""

import math

import numpy as np
import pytest

from mnist_lightning.monitoring.psi import LARGE, MIN_PICTURES, MODERATE, psi

SHARES = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.04, "e": 0.01}
TEN = dict.fromkeys(map(str, range(10)), 0.1)


def draw(rng: np.random.Generator, shares: dict[str, float], n: int) -> dict[str, float]:
    return dict(zip(shares, map(float, rng.multinomial(n, list(shares.values()))), strict=True))


def test_large_samples_have_the_index_of_the_formula() -> None:
    traffic, reference = {"a": 6e8, "b": 4e8}, {"a": 5e8, "b": 5e8}
    expected = (0.6 - 0.5) * math.log(0.6 / 0.5) + (0.4 - 0.5) * math.log(0.4 / 0.5)
    assert psi(traffic, reference) == pytest.approx(expected, rel=1e-6)
    assert psi(traffic, traffic) == 0


@pytest.mark.parametrize("shares", [SHARES, TEN], ids=["skewed", "even"])
@pytest.mark.parametrize("n", [MIN_PICTURES, 500, 5000])
def test_chance_alone_is_stable(shares: dict[str, float], n: int) -> None:
    """Ten references with a hundred windows each: at most 2 % of the windows are moderate, and none is an alarm."""
    rng = np.random.default_rng(0)
    references = [draw(rng, shares, 2000) for _ in range(10)]
    indices = np.array([psi(draw(rng, shares, n), reference) for reference in references for _ in range(100)])
    assert (indices < LARGE).all()
    assert (indices >= MODERATE).mean() <= 0.02
    assert np.median(indices) < 0.01


def test_without_the_correction_chance_would_be_moderate() -> None:
    """What is subtracted is what chance adds: 9 (1/150 + 1/2000) = 0.065 for ten bins."""
    rng = np.random.default_rng(0)
    reference = draw(rng, TEN, 2000)
    raw = [psi(draw(rng, TEN, MIN_PICTURES), reference) + 9 * (1 / MIN_PICTURES + 1 / 2000) for _ in range(500)]
    assert np.mean(raw) == pytest.approx(0.065, rel=0.25)


@pytest.mark.parametrize("n", [MIN_PICTURES, 500])
def test_a_change_alarms(n: int) -> None:
    """A fifth of all pictures moves from the commonest to the rarest bin."""
    rng = np.random.default_rng(0)
    reference = draw(rng, SHARES, 2000)
    changed = {**SHARES, "a": 0.3, "e": 0.21}
    assert all(psi(draw(rng, changed, n), reference) > LARGE for _ in range(100))


def test_bins_that_one_side_lacks_are_finite() -> None:
    assert LARGE < psi({"new": 500}, {"old": 500}) < 100
    assert psi({"a": 500, "b": 0}, {"a": 500}) == 0
