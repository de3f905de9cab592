"""Metrics of a trained classifier, on the validation images and on the test set."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from mnist_lightning.datasets.splits import Batch, MnistSplits
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.calibration import calibration_error, fit_temperature
from mnist_lightning.models.digitnet import DigitNet, predict_logits


@dataclass(frozen=True)
class ClassificationMetrics:
    """How well a network classifies. Networks are selected by the validation metrics; the rest is only reported."""

    validation_accuracy: float
    validation_loss: float
    temperature: float  # fitted on the validation images
    test_accuracy: float
    calibration_error: float  # on the test set, with that temperature
    precision: NDArray[np.float64]  # (10,), of each digit, on the test set
    recall: NDArray[np.float64]  # (10,)
    figures: dict[str, Figure]  # by file name


def evaluate_network(network: DigitNet, data: MnistSplits) -> ClassificationMetrics:
    """Evaluate a network on the CPU, in float32, as the server runs it."""
    validation_logits, validation_labels = predict_logits(network, data.validation[0]), data.validation[1]
    temperature = fit_temperature(validation_logits, validation_labels)
    test_logits, test_labels = predict_logits(network, data.test[0]), data.test[1]
    probabilities = (test_logits / temperature).softmax(dim=1)
    error = calibration_error(probabilities, test_labels)
    precision, recall, *_ = precision_recall_fscore_support(
        test_labels, test_logits.argmax(dim=1), labels=range(10), zero_division=0
    )
    return ClassificationMetrics(
        validation_accuracy=_accuracy(validation_logits, validation_labels),
        validation_loss=F.cross_entropy(validation_logits, validation_labels).item(),
        temperature=temperature,
        test_accuracy=_accuracy(test_logits, test_labels),
        calibration_error=error,
        precision=precision,
        recall=recall,
        figures={
            **_test_set_figures(data.test, probabilities, error),
            "per_digit.png": plots.per_digit_metrics({"precision": precision, "recall": recall}),
            "filters.png": plots.first_layer_filters(_first_layer_filters(network)),
        },
    )


def _test_set_figures(test: Batch, probabilities: torch.Tensor, error: float) -> dict[str, Figure]:
    images, labels, predicted = test[0][:, 0].numpy(), test[1].numpy(), probabilities.numpy()
    return {
        "confusion_matrix.png": plots.confusion_matrix(labels, predicted.argmax(axis=1)),
        "misread.png": plots.misread_gallery(images, labels, predicted),
        "reliability.png": plots.reliability_diagram(predicted, labels, error),
    }


def _first_layer_filters(network: DigitNet) -> NDArray[np.float32]:
    """The filters in pixels of the picture, (widths[0], 6, 6): their four input channels, unfolded."""
    weights = next(network.features[1].parameters()).detach().float()
    return np.asarray(F.pixel_shuffle(weights, 2)[:, 0])


def _accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return (logits.argmax(dim=1) == labels).double().mean().item()
