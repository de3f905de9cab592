"""Who won, and whether that is more than luck."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import ttest_ind

NOISE = 0.05  # a lead that chance alone would give more often than this is called noise


@dataclass(frozen=True)
class Mean:
    """The mean of some accuracies in [0, 1] and its standard error, which one value alone does not have."""

    value: float
    error: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """Of one value or more."""
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        return cls(statistics.fmean(values), error)

    def __str__(self) -> str:
        return f"{100 * self.value:.2f}{'' if self.error is None else f' ± {100 * self.error:.2f}'} %"


def verdict(accuracies: Mapping[str, Sequence[float]]) -> str:
    """One sentence on the lead of the first name over the second, by Welch's t-test over their seeds.

    `accuracies` of each name are in [0, 1], the best first.
    """
    if len(accuracies) < 2:
        return ""
    (first, ours), (second, theirs) = list(accuracies.items())[:2]
    lead = 100 * (statistics.fmean(ours) - statistics.fmean(theirs))
    told = f"{first} leads {second} by {lead:.3f} points"
    if min(len(ours), len(theirs)) < 2:
        return f"{told}; one seed cannot tell that from noise: see --seeds"
    if statistics.pvariance([*ours, *theirs]) == 0:
        return f"{first} and {second} are the same in every seed"
    chance = float(ttest_ind(ours, theirs, equal_var=False).pvalue)
    kind = "noise" if not chance < NOISE else "more than noise"
    return f"{told}, which is {kind} (Welch's t-test over {len(ours)} seeds: p = {chance:.2g})"
