"""The population stability index (PSI): how far the shares of bins have moved, without the part that chance adds.

    PSI = sum over the bins of (p - q) ln(p / q)

with the shares p of the traffic and q of the reference. If both are samples of one distribution, of n and m pictures,
PSI / (1/n + 1/m) has approximately a chi-squared distribution with B - 1 degrees of freedom, where B is the number of
bins: ln(p / q) is close to (p - q) / q, and the sum of (p - q)² / q is Pearson's statistic. Its mean is B - 1, so
chance alone adds (B - 1) (1/n + 1/m), which `psi` subtracts. With 10 bins, 150 pictures and a large reference that is
0.06, and a PSI that is 0.25 by chance has a chi-squared of 46 or more: one in 10⁶ windows.

A bin without pictures has no logarithm, so half a picture is added to each bin of both.
"""

import math
from collections.abc import Mapping

Bins = Mapping[str, float]  # pictures by bin
MODERATE, LARGE = 0.1, 0.25  # the usual bounds
MIN_PICTURES = 150  # of the traffic; chance alone changes smaller samples too much
SMOOTHING = 0.5  # pictures


def psi(traffic: Bins, reference: Bins) -> float:
    """The index of a feature, at least 0, without what chance adds. Both have pictures."""
    names = traffic.keys() | reference.keys()
    shares, expected = _shares(traffic, names), _shares(reference, names)
    total = sum((shares[name] - expected[name]) * math.log(shares[name] / expected[name]) for name in names)
    by_chance = (len(names) - 1) * (1 / sum(traffic.values()) + 1 / sum(reference.values()))
    return max(0.0, total - by_chance)


def _shares(bins: Bins, names: "set[str]") -> dict[str, float]:
    total = sum(bins.values()) + SMOOTHING * len(names)
    return {name: (bins.get(name, 0) + SMOOTHING) / total for name in names}
