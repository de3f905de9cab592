"""Which pixels support an answer, by integrated gradients. Imported on demand, because Captum is large."""

import functools

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray

from mnist_lightning.models import digitnet
from mnist_lightning.models.digitnet import DigitNet

STEPS = 50  # from a black image to the given one
MAX_PICTURES = 12  # of one request, digits of numbers included: each costs fifty times as much as its prediction
MAX_BATCH = 64  # interpolated images in memory at a time


@functools.lru_cache(maxsize=1)
def load(weights: bytes) -> DigitNet:
    """Load the network of a file with weights, and use it once, because the first use takes longer."""
    network = digitnet.load(weights)
    attribute(network, np.zeros((1, 28, 28), dtype=np.float32), np.zeros(1, dtype=np.int64))
    return network


def attribute(network: DigitNet, images: NDArray[np.float32], digits: NDArray[np.int64]) -> NDArray[np.float32]:
    """The contribution of each pixel to the logit of the predicted digit.

    Args:
        network: the classifier.
        images: (B, 28, 28) floats in [0, 1].
        digits: (B,) the predicted digits.

    Returns:
        (B, 28, 28): positive where ink supports the digit, negative where it opposes it, 0 where there is no ink. They
        sum to the digit's logit minus that of a black image. Sundararajan, Taly and Yan, "Axiomatic Attribution for
        Deep Networks" (2017).
    """
    batch = torch.from_numpy(images).unsqueeze(1)  # (B, 1, 28, 28)
    contributions = IntegratedGradients(network).attribute(
        batch, target=torch.from_numpy(digits), n_steps=STEPS, internal_batch_size=MAX_BATCH
    )
    result: NDArray[np.float32] = contributions.squeeze(1).detach().float().numpy()
    return result
