"""The part of a recipe that is code: what makes an optimizer, and its learning rate over a training.

Importing it needs no Lightning: verbs that read recipes and do not train start seconds faster.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import Optimizer

from mnist_lightning.common.validation import check_fraction

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass
class Schedule:
    """The learning rate over a training: a linear warmup to the optimizer's `lr`, then a decay to nearly zero."""

    warmup: float = 0.2
    """Fraction of the steps in which the rate rises linearly, in [0, 1)."""
    decay: Literal["linear", "cosine"] = "linear"
    """Shape of the decay after the warmup."""

    def __post_init__(self) -> None:
        check_fraction("warmup", self.warmup)

    def factor(self, progress: float) -> float:
        """Factor of the peak rate, in [0.001, 1], at `progress` in [0, 1]."""
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        left = (1 - progress) / (1 - self.warmup)
        return max(left if self.decay == "linear" else (1 - math.cos(math.pi * left)) / 2, 1e-3)
