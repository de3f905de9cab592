"""The fitted temperature, and the expected calibration error."""

import pytest
import torch

from mnist_lightning.evaluation.calibration import calibration_error, confidence_error, fit_temperature


def miscalibrated(factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels drawn from the softmax of logits (N, 10), and these logits times `factor`."""
    torch.manual_seed(0)
    logits = torch.randn(20_000, 10) * 3
    labels = torch.multinomial(logits.softmax(1), 1)[:, 0]
    return logits * factor, labels


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_corrects_too_much_and_too_little_confidence(factor: float) -> None:
    logits, labels = miscalibrated(factor)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    before = calibration_error(logits.softmax(1), labels)
    after = calibration_error((logits / temperature).softmax(1), labels)
    assert after < 0.015
    assert after <= before + 0.002


def test_full_confidence_with_half_of_the_answers_right() -> None:
    probabilities = torch.eye(10)[torch.zeros(100, dtype=torch.long)]
    labels = torch.cat([torch.zeros(50, dtype=torch.long), torch.ones(50, dtype=torch.long)])
    assert calibration_error(probabilities, labels) == pytest.approx(0.5)


def test_the_error_of_confidences_is_that_of_their_probabilities() -> None:
    logits, labels = miscalibrated(2.0)
    confidences, predictions = logits.softmax(1).max(1)
    expected = calibration_error(logits.softmax(1), labels)
    assert expected > 0.02
    assert confidence_error(confidences, predictions == labels) == pytest.approx(expected, abs=1e-6)
