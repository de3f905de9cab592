"""The running mean of the weights, which reads better than those of any one step; after Polyak and Juditsky (1992)."""

import torch
from lightning.pytorch.callbacks import WeightAveraging

EVERY = 5  # steps from one update to the next: as good as every step, and cheaper


class RunningMean(WeightAveraging):
    """Validates, and keeps in checkpoints, an exponential mean of the weights over about `window` steps.

    Early on it is one over the last quarter of the steps so far, or the first, random weights would be in it for long,
    and validation would say nothing of what has been learnt.
    """

    def __init__(self, window: float) -> None:
        def moved(mean: torch.Tensor, now: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
            return mean + (now - mean) * share(updates, window)

        super().__init__(avg_fn=moved)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether the mean moves after this step, counted from 0, or this epoch."""
        return step_idx is not None and step_idx % EVERY == 0


def share(updates: torch.Tensor | int, window: float) -> torch.Tensor:
    """The part of the mean, in (0, 1], that the newest weights become after `updates` updates, one or more.

    It stays on the device that counts them: reading a GPU's number would have every step wait for it.
    """
    return torch.as_tensor(4 / updates).clamp(EVERY / max(window, EVERY), 1.0)
