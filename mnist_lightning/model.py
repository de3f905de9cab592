"""A file of weights -> a model that is ready to answer. Apart from the handler, whose file may have but one class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_lightning.network import DigitNet
from mnist_lightning.renewal import digest

WARM = 32  # pictures; model-config.yaml's batchSize


@dataclass(frozen=True, slots=True)
class Model:
    """A network, a copy of it made fast, and the first digits of its weights' SHA-256."""

    network: DigitNet
    fast: DigitNet
    name: str


def loaded(weights: Path) -> Model:
    """The model of a file, warm: the first batch of each size costs ten times as much as the next."""
    network = DigitNet.of(torch.load(weights, weights_only=True, map_location="cpu"))
    model = Model(network, network.prepared(), digest(weights.read_bytes()))
    for size in range(1, WARM + 1):
        probabilities_of(model.fast, np.zeros((size, 28, 28), dtype=np.float32))
    return model


@torch.inference_mode()
def probabilities_of(network: DigitNet, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, 28, 28) floats in [0, 1] -> (B, 10) probabilities."""
    images = torch.from_numpy(pictures).unsqueeze(1)
    # No larger parts than were warmed up: every size has kernels of its own, which stay in memory.
    parts = [images[start : start + WARM] for start in range(0, len(images), WARM)]
    logits = torch.cat([network(part) for part in parts])
    probabilities: NDArray[np.float32] = logits.softmax(dim=1).numpy()
    return probabilities
