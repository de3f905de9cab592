"""Confidence: as sure as it is right."""

import pytest
import torch

from mnist_lightning.evaluation.calibration import calibration_error, fit_temperature


def drawn(sharpness: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax is true, times `sharpness`; and labels drawn from it."""
    torch.manual_seed(0)
    logits = torch.randn(20_000, 10) * 3
    labels = torch.multinomial(logits.softmax(1), 1)[:, 0]
    return logits * sharpness, labels


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_makes_a_network_too_sure_or_not_sure_enough(sharpness: float) -> None:
    logits, labels = drawn(sharpness)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(sharpness, rel=0.05)
    before = calibration_error(logits.softmax(1), labels)
    after = calibration_error((logits / temperature).softmax(1), labels)
    assert after < 0.015
    assert after <= before + 0.002


def test_a_network_that_is_always_sure_and_half_right() -> None:
    probabilities = torch.eye(10)[torch.zeros(100, dtype=torch.long)]
    labels = torch.cat([torch.zeros(50, dtype=torch.long), torch.ones(50, dtype=torch.long)])
    assert calibration_error(probabilities, labels) == pytest.approx(0.5)
