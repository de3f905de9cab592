"""Is one network better than another by more than noise?"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SIGNIFICANCE_LEVEL = 0.05  # a margin with a p-value of this or more is reported as noise


@dataclass(frozen=True)
class Mean:
    """The mean of accuracies in [0, 1], and its standard error; a single accuracy has none."""

    value: float
    error: float | None

    @classmethod
    def from_values(cls, values: Sequence[float]) -> "Mean":
        """The mean of one or more values."""
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        return cls(statistics.fmean(values), error)

    def __str__(self) -> str:
        return f"{100 * self.value:.2f}{'' if self.error is None else f' ± {100 * self.error:.2f}'} %"


def compare_top_two(accuracies: Mapping[str, Sequence[float]]) -> str:
    """One sentence on the margin of the first name over the second, by Welch's t-test over their seeds.

    `accuracies` holds those of each name, in [0, 1], best name first. With fewer than two names the result is empty.
    """
    if len(accuracies) < 2:
        return ""
    (first, best), (second, next_best) = list(accuracies.items())[:2]
    margin = 100 * (statistics.fmean(best) - statistics.fmean(next_best))
    sentence = f"{first} leads {second} by {margin:.3f} points"
    if min(len(best), len(next_best)) < 2:
        return f"{sentence}; one seed cannot tell that from noise: see --seeds"
    if statistics.pvariance([*best, *next_best]) == 0:
        return f"{first} and {second} are the same in every seed"
    from scipy.stats import ttest_ind  # only here: importing it takes a second

    p_value = float(ttest_ind(best, next_best, equal_var=False).pvalue)
    kind = "more than noise" if p_value < SIGNIFICANCE_LEVEL else "noise"
    return f"{sentence}, which is {kind} (Welch's t-test over {len(best)} seeds: p = {p_value:.2g})"


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test, two-sided, that two classifiers have the same accuracy.

    Args:
        only_first: pictures that only the first one reads correctly.
        only_second: pictures that only the second one reads correctly.
    """
    from scipy.stats import binomtest  # only here: importing it takes a second

    disagreements = only_first + only_second
    return float(binomtest(only_first, disagreements).pvalue) if disagreements else 1.0
