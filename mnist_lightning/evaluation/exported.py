"""Whether an exported model answers as the network that it was exported from."""

import numpy as np
import onnxruntime
import torch

from mnist_lightning.common.constants import IMAGE_INPUT, IS_DIGIT_OUTPUT, PROBABILITIES_OUTPUT
from mnist_lightning.models.digitnet import DigitNet

BATCH_SIZE = 100


@torch.inference_mode()
def largest_difference(content: bytes, network: DigitNet, images: torch.Tensor) -> float:
    """The largest difference of an exported model's outputs from the network's, on images (N, 1, 28, 28) in [0, 1].

    It is not a number if an output is none.
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    differences = []
    for batch in torch.split(images, BATCH_SIZE):
        exported = session.run([PROBABILITIES_OUTPUT, IS_DIGIT_OUTPUT], {IMAGE_INPUT: batch.numpy()})
        for own, other in zip(network.predict_probabilities(batch), exported, strict=True):
            differences.append(np.abs(own.numpy() - other).max())
    return float(np.max(differences))
