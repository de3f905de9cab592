"""Build a model that is ready to answer. In a module of its own, because a handler's file may define only one class."""

from dataclasses import dataclass

import numpy as np

from mnist_lightning.common.digests import short_digest
from mnist_lightning.inference.prediction import predict
from mnist_lightning.models.digitnet import DigitNet, load

MAX_BATCH = 32  # model-config.yaml's batchSize; larger batches would compile kernels of their own, which stay in memory


@dataclass(frozen=True, slots=True)
class Model:
    """A network, its copy optimized for inference, its rejection threshold, and a short digest of its weights."""

    network: DigitNet
    optimized: DigitNet
    threshold: float  # DigitNet.threshold, computed once
    digest: str


def load_model(content: bytes) -> Model:
    """Build a model and warm it up: the first batch of each size takes ten times as long as the next."""
    network = load(content)
    model = Model(network, network.optimized_for_inference(), network.threshold, short_digest(content))
    for size in range(1, MAX_BATCH + 1):
        predict(model.optimized, np.zeros((size, 28, 28), dtype=np.float32), MAX_BATCH)
    return model
