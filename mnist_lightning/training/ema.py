"""An exponential moving average of the weights, which classifies better than the weights of any one step.

After Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
"""

import torch
from lightning.pytorch.callbacks import WeightAveraging

UPDATE_EVERY_N_STEPS = 5  # as accurate as an update at every step, and cheaper


class WarmupEMA(WeightAveraging):
    """Validates and checkpoints an exponential moving average of the weights over about `window` steps.

    Early in the training the average covers the last quarter of the steps so far. With a fixed window it would contain
    the random initial weights for long, and validation would not show the progress.

    Args:
        window: length of the average in steps, 0 or more.
    """

    def __init__(self, window: float) -> None:
        def update(average: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
            return average + (current - average) * ema_rate(updates, window)

        super().__init__(avg_fn=update)

    @property
    def state_key(self) -> str:
        """The key in checkpoints; a former name of this class, under which older checkpoints have it too."""
        return "RunningMean"

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether to update the average after this step, counted from 0, or this epoch."""
        return step_idx is not None and step_idx % UPDATE_EVERY_N_STEPS == 0


def ema_rate(updates: torch.Tensor | int, window: float) -> torch.Tensor:
    """The weight of the current weights, in (0, 1], in the average after `updates` updates, 1 or more.

    The result stays on the device of `updates`; reading it on the CPU would make every step wait for the GPU.
    """
    return torch.as_tensor(4 / updates).clamp(UPDATE_EVERY_N_STEPS / max(window, UPDATE_EVERY_N_STEPS), 1.0)
