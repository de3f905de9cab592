"""The out-of-distribution head separates digits from other pictures and leaves the ten logits as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mnist_lightning.datasets import mnist, outliers, sketches
from mnist_lightning.models import archive
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.decode import Bytes

UNSEEN_FONTS = ("cmb10", "STIXGeneralBol", "DejaVuSansMono-Bold")  # the network was trained on others


@pytest.fixture(scope="module")
def network(small_store: Path) -> DigitNet:
    return archive.load_network(small_store / "mnist.mar")


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Bytes:
    images: Bytes = mnist.load(mnist_folder, train=False)[0][:1000, 0].numpy()
    return images


def test_the_ten_logits_do_not_change(network: DigitNet, digits: Bytes) -> None:
    images = torch.from_numpy(digits[:200, None].astype(np.float32) / 255)
    with torch.inference_mode():
        assert torch.equal(network(images), network.predict_with_ood(images)[0])
    without = {name: value for name, value in network.state_dict().items() if not name.startswith("ood_head.")}
    assert len(without) < len(network.state_dict())
    with torch.inference_mode():
        headless = DigitNet.from_state_dict(without, replace(network.architecture, ood_hidden=0))
        assert torch.equal(headless(images), network(images))


def test_without_the_head_the_error_names_the_remedy() -> None:
    with pytest.raises(RuntimeError, match="train it again"):
        DigitNet().predict_with_ood(torch.zeros(1, 1, 28, 28))


@pytest.mark.parametrize(
    ("kind", "min_auroc"),
    [
        (outliers.typeset(outliers.LETTERS, UNSEEN_FONTS), 0.85),
        (sketches.scribble, 0.95),
        (sketches.texture, 0.95),
    ],
    ids=["letters of other fonts", "scribbles", "textures"],
)
def test_digits_are_separated_from_outliers(
    kind: sketches.DrawFunction, min_auroc: float, network: DigitNet, digits: Bytes
) -> None:
    @torch.inference_mode()
    def is_digit(images: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(images.astype(np.float32)).unsqueeze(1)
        return network.predict_with_ood(batch)[1].sigmoid().numpy()

    others, real = is_digit(outliers.generate({"kind": kind}, 200, 5)[0]), is_digit(digits / 255)
    assert (real < network.threshold).mean() < 0.03
    assert roc_auc_score(np.repeat([1, 0], [len(real), len(others)]), np.concatenate([real, others])) > min_auroc
