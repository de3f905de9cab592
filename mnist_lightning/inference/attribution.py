"""Which pixels spoke for the answer, by integrated gradients. Imported only when it is asked for: Captum is large."""

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray

from mnist_lightning.models.digitnet import DigitNet

STEPS = 50  # from a black picture to this one
MAX_PICTURES = 8  # of one request: each costs fifty times what its answer does
AT_ONCE = 64  # pictures on the way that are in memory together


def attributions(network: DigitNet, pictures: NDArray[np.float32], digits: NDArray[np.int64]) -> NDArray[np.float32]:
    """(B, 28, 28) pictures and the digits they were read as -> (B, 28, 28) shares in those digits' logits.

    Positive where a pixel's ink spoke for the digit, negative where against it; 0 where there is no ink. They add up
    to the digit's logit less that of a black picture. Sundararajan, Taly and Yan, "Axiomatic Attribution" (2017).
    """
    images = torch.from_numpy(pictures).unsqueeze(1)  # (B, 1, 28, 28)
    shares = IntegratedGradients(network).attribute(
        images, target=torch.from_numpy(digits), n_steps=STEPS, internal_batch_size=AT_ONCE
    )
    found: NDArray[np.float32] = shares.squeeze(1).detach().float().numpy()
    return found
