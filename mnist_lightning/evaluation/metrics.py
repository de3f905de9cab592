"""What a trained network is worth: its figures on validation, by which it is chosen, and on the test set."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from mnist_lightning.datasets.datamodule import Batch, MnistDataModule
from mnist_lightning.evaluation import plots
from mnist_lightning.evaluation.calibration import calibration_error, fit_temperature
from mnist_lightning.models.digitnet import DigitNet, predict_logits


@dataclass(frozen=True)
class Assessment:
    """The test set is reported, never chosen by."""

    validation_accuracy: float
    validation_loss: float
    temperature: float
    test_accuracy: float
    calibration_error: float
    precision: NDArray[np.float64]  # (10,), by digit, on the test set
    recall: NDArray[np.float64]  # (10,)
    figures: dict[str, Figure]


def assess(network: DigitNet, data: MnistDataModule) -> Assessment:
    """Measure a network on the CPU, in float32, as the server runs it."""
    logits, labels = predict_logits(network, data.validation[0]), data.validation[1]
    temperature = fit_temperature(logits, labels)
    tested = predict_logits(network, data.test[0])
    probabilities = (tested / temperature).softmax(dim=1)
    error = calibration_error(probabilities, data.test[1])
    answers = tested.argmax(dim=1)
    precision, recall, *_ = precision_recall_fscore_support(data.test[1], answers, labels=range(10), zero_division=0)
    drawn = _drawn(data.test, probabilities, error)
    drawn["per_digit.png"] = plots.by_digit({"precision": precision, "recall": recall})
    drawn["filters.png"] = plots.first_filters(_first_filters(network))
    return Assessment(
        validation_accuracy=_accuracy(logits, labels),
        validation_loss=F.cross_entropy(logits, labels).item(),
        temperature=temperature,
        test_accuracy=_accuracy(tested, data.test[1]),
        calibration_error=error,
        precision=precision,
        recall=recall,
        figures=drawn,
    )


def _drawn(test: Batch, probabilities: torch.Tensor, error: float) -> dict[str, Figure]:
    images, truth, shares = test[0][:, 0].numpy(), test[1].numpy(), probabilities.numpy()
    return {
        "confusion_matrix.png": plots.confusion_matrix(truth, shares.argmax(axis=1)),
        "misread.png": plots.misread_gallery(images, truth, shares),
        "reliability.png": plots.reliability_diagram(shares, truth, error),
    }


def _first_filters(network: DigitNet) -> NDArray[np.float32]:
    """The first layer's filters as they lie on the picture, (widths[0], 6, 6): its four channels unfolded."""
    weights = next(network.features[1].parameters()).detach().float()
    return np.asarray(F.pixel_shuffle(weights, 2)[:, 0])


def _accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return (logits.argmax(dim=1) == labels).double().mean().item()
