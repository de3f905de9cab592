"""Confidence that can be believed: one temperature, fitted on the validation images, divides all logits.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017).
"""

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The T > 0 for which softmax(logits / T) gives the labels (N,) the least cross-entropy; logits are (N, 10)."""

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits.double() / torch.tensor(log_temperature).exp(), labels).item()

    bounds = torch.tensor([COLDEST, HOTTEST]).log().tolist()
    return float(torch.tensor(minimize_scalar(loss, bounds=bounds, method="bounded").x).exp())


def calibration_error(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """The expected calibration error in [0, 1]: the mean gap of confidence and accuracy over 15 equal bins.

    `probabilities` are (N, 10), `labels` (N,).
    """
    return multiclass_calibration_error(probabilities, labels, num_classes=10, n_bins=BINS, norm="l1").item()
