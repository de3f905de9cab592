"""A file of weights -> a model that is ready to answer. Apart from the handler, whose file may have but one class."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mnist_lightning.common.digests import short_digest
from mnist_lightning.inference import prediction
from mnist_lightning.models.digitnet import DigitNet

WARM = 32  # pictures, model-config.yaml's batchSize; more at once would have kernels of their own, which stay in memory


@dataclass(frozen=True, slots=True)
class Model:
    """A network, a copy of it made fast, what it refuses, and the first digits of its weights' SHA-256."""

    network: DigitNet
    fast: DigitNet
    threshold: float  # DigitNet.threshold, which is not worked out for every batch
    name: str


def loaded(weights: Path) -> Model:
    """The model of a file, warm: the first batch of each size costs ten times as much as the next."""
    content = weights.read_bytes()  # once: the file may be replaced at any time, and the name is that of these weights
    network = DigitNet.from_state_dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
    model = Model(network, network.optimized_for_inference(), network.threshold, short_digest(content))
    for size in range(1, WARM + 1):
        prediction.predict_with_ood(model.fast, np.zeros((size, 28, 28), dtype=np.float32), WARM)
    return model
