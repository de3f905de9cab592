"""The metrics and the model card of a trained network."""

import numpy as np
import pytest
import torch

from mnist_lightning.datasets.splits import Batch, MnistSplits
from mnist_lightning.evaluation import ood
from mnist_lightning.evaluation.metrics import evaluate_network
from mnist_lightning.evaluation.model_card import render_model_card
from mnist_lightning.evaluation.ood import OODMetrics
from mnist_lightning.models.digitnet import DigitNet, load, predict_logits
from tests.support import WEIGHTS_FILE


@pytest.fixture(scope="module")
def network() -> DigitNet:
    return load(WEIGHTS_FILE.read_bytes())


@pytest.fixture(scope="module")
def splits(network: DigitNet) -> MnistSplits:
    """Noise, labelled by the network itself, with the first label of each set wrong; every label is in the test set."""

    def labelled(count: int, seed: int) -> Batch:
        images = torch.randint(0, 256, (count, 1, 28, 28), generator=torch.Generator().manual_seed(seed)).byte()
        labels = predict_logits(network, images).argmax(dim=1)
        labels[0] = (labels[0] + 1) % 10
        return images, labels

    return MnistSplits(training=labelled(2, 0), validation=labelled(50, 1), test=labelled(100, 2))


def test_a_network_is_evaluated_on_validation_and_test_images(network: DigitNet, splits: MnistSplits) -> None:
    metrics = evaluate_network(network, splits)
    assert metrics.validation_accuracy == pytest.approx(0.98)
    assert metrics.test_accuracy == pytest.approx(0.99)
    logits = predict_logits(network, splits.validation[0])
    assert metrics.validation_loss == pytest.approx(
        torch.nn.functional.cross_entropy(logits, splits.validation[1]).item()
    )
    assert metrics.temperature > 0
    assert 0 <= metrics.calibration_error <= 1
    labels, predictions = splits.test[1].numpy(), predict_logits(network, splits.test[0]).argmax(dim=1).numpy()
    for digit in range(10):
        hits = int(((labels == digit) & (predictions == digit)).sum())
        assert metrics.recall[digit] == pytest.approx(hits / max((labels == digit).sum(), 1))
        assert metrics.precision[digit] == pytest.approx(hits / max((predictions == digit).sum(), 1))
    assert set(metrics.figures) == {
        *("confusion_matrix.png", "misread.png", "reliability.png", "per_digit.png", "filters.png")
    }


def test_the_card_has_the_metrics(network: DigitNet, splits: MnistSplits) -> None:
    metrics = evaluate_network(network, splits)
    card = render_model_card(
        metrics,
        OODMetrics(threshold=0.321, rejected_digits=0.004, rejected_outliers=0.95, auroc=0.9876),
        optimizer="SGD",
        seed=3,
        widths=[8, 16],
        parameters=12_345,
        seconds=61.2,
        feedback="nothing else",
        git_commit="abc123",
    )
    rows = dict(line.strip("| ").split(" | ", 1) for line in card.splitlines() if line.startswith("| ") and "%" in line)
    assert card.startswith("# ")
    assert "12,345 weights in 2 convolutions (channels 8, 16), trained with SGD, seed 3." in card
    assert rows["accuracy on MNIST's test set"] == "99.00 %"
    assert rows["accuracy on the validation images"] == "98.00 %"
    assert rows["test digits rejected as non-digits"] == "0.40 %"
    assert rows["held-out outliers rejected"] == "95.0 %"
    for text in ("0.9876", "0.321", f"{metrics.temperature:.3f}", "61 s", "abc123"):
        assert text in card
    assert sum(line.count("|") == 4 and line[2].isdigit() for line in card.splitlines()) == 10


def test_rejections_are_counted_below_the_threshold(network: DigitNet) -> None:
    digits = torch.randint(0, 256, (20, 1, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
    outliers = torch.zeros(10, 1, 28, 28, dtype=torch.uint8)
    metrics = ood.measure(network, digits, outliers)
    with torch.inference_mode():
        scores = [network.predict_with_ood(images.float() / 255)[1].sigmoid().numpy() for images in (digits, outliers)]
    assert metrics.threshold == network.threshold
    assert metrics.rejected_digits == pytest.approx((scores[0] < network.threshold).mean())
    assert metrics.rejected_outliers == pytest.approx((scores[1] < network.threshold).mean())
    above, ties = (np.mean(compare(scores[0][:, None], scores[1])) for compare in (np.greater, np.equal))
    assert metrics.auroc == pytest.approx(above + ties / 2)
