"""Temperature scaling, and the error that it reduces.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017).

Importing SciPy and torchmetrics takes seconds, so that the functions import them.
"""

import torch
import torch.nn.functional as F

BINS = 15
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature T for which softmax(logits / T) has the lowest cross-entropy.

    Args:
        logits: (N, 10), of images that the network was not trained on.
        labels: (N,) digits.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits.double() / torch.tensor(log_temperature).exp(), labels).item()

    bounds = torch.tensor([MIN_TEMPERATURE, MAX_TEMPERATURE]).log().tolist()
    return float(torch.tensor(minimize_scalar(loss, bounds=bounds, method="bounded").x).exp())


def calibration_error(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """The expected calibration error in [0, 1]: the mean gap between confidence and accuracy over 15 equal bins.

    Args:
        probabilities: (N, 10).
        labels: (N,) digits.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    return multiclass_calibration_error(probabilities, labels, num_classes=10, n_bins=BINS, norm="l1").item()


def confidence_error(confidences: torch.Tensor, correct: torch.Tensor) -> float:
    """As `calibration_error`, for answers of any kind: their confidences in [0, 1] (N,), and which are right (N,)."""
    from torchmetrics.functional.classification import binary_calibration_error

    return binary_calibration_error(confidences, correct.int(), n_bins=BINS, norm="l1").item()
