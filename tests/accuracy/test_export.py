"""The exported model: its outputs, its description, and that a wrong one is not packaged."""

import math
from pathlib import Path

import onnx
import pytest
import torch

from mnist_lightning.common.digests import short_digest
from mnist_lightning.evaluation.exported import largest_difference
from mnist_lightning.models import digitnet
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.packaging import export
from mnist_lightning.packaging.archiver import PackagingError, build
from mnist_lightning.packaging.export import check_images, to_onnx
from tests.support import WEIGHTS_FILE

WEIGHTS = WEIGHTS_FILE.read_bytes()
ROUNDED = 5e-3  # largest difference between the probabilities of the network and of the model with rounded weights


@pytest.fixture(scope="module")
def network() -> DigitNet:
    return digitnet.load(WEIGHTS)


@pytest.fixture(scope="module")
def exported(network: DigitNet) -> bytes:
    return to_onnx(network, WEIGHTS)


def test_it_predicts_what_the_network_predicts(network: DigitNet, exported: bytes) -> None:
    assert largest_difference(exported, network, check_images()) < ROUNDED
    assert largest_difference(exported, network.with_temperature(1.1), check_images(100)) > ROUNDED


def test_the_committed_export_is_that_of_the_committed_weights(network: DigitNet) -> None:
    committed = WEIGHTS_FILE.with_suffix(".onnx").read_bytes()
    assert largest_difference(committed, network, check_images(1000)) < ROUNDED


def test_the_images_that_it_is_compared_on_are_many_and_different() -> None:
    images = check_images()
    assert images.shape == (10_000, 1, 28, 28)
    assert 0 <= images.min() < 0.01 < 0.99 < images.max() <= 1
    assert len(torch.unique(images.flatten(1), dim=0)) == 10_000
    assert torch.equal(check_images(), images)


def test_its_description_says_how_to_use_it(network: DigitNet, exported: bytes) -> None:
    model = onnx.load_from_string(exported)
    onnx.checker.check_model(model)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "probabilities", "is_digit"]
    properties = {item.key: item.value for item in model.metadata_props}
    assert float(properties["threshold"]) == network.threshold
    assert properties["weights"] == short_digest(WEIGHTS)
    assert properties["labels"] == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
    assert "in the form of MNIST" in model.doc_string


@pytest.mark.parametrize(("difference", "named"), [(2e-4, r"0\.0002"), (math.nan, "nan")])
def test_a_model_that_differs_is_not_packaged(
    difference: float, named: str, network: DigitNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "largest_difference", lambda *_: difference)
    with pytest.raises(PackagingError, match=rf"the exported model differs by {named}; the limit is 0\.0001"):
        build(network, tmp_path)
    assert not list(tmp_path.glob("*.mar"))
