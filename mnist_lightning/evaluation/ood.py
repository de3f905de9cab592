"""How well a network separates digits from outliers."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from mnist_lightning.models.digitnet import DigitNet


@dataclass(frozen=True)
class OODMetrics:
    """Rejections by a network's out-of-distribution head, on images that it was not fitted to."""

    threshold: float  # images whose `is_digit` is below it are rejected
    rejected_digits: float  # fraction of MNIST's test digits
    rejected_outliers: float  # fraction of the held-out outliers
    auroc: float  # area under the ROC curve of digits against outliers


@torch.inference_mode()
def measure(network: DigitNet, digits: torch.Tensor, outliers: torch.Tensor) -> OODMetrics:
    """Measure a network's head on digits and outliers, (N, 1, 28, 28) uint8 each."""
    digit_scores, outlier_scores = (
        network.predict_with_ood(images.float() / 255)[1].sigmoid() for images in (digits, outliers)
    )
    truth = np.repeat([1, 0], [len(digits), len(outliers)])
    return OODMetrics(
        threshold=network.threshold,
        rejected_digits=(digit_scores < network.threshold).double().mean().item(),
        rejected_outliers=(outlier_scores < network.threshold).double().mean().item(),
        auroc=float(roc_auc_score(truth, torch.cat([digit_scores, outlier_scores]).numpy())),
    )
