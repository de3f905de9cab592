"""The exported segmenter finds the ink that the network finds."""

import json
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import pytest
import torch

from mnist_lightning.models.segmenter import InkSegmenter
from mnist_lightning.packaging import segmenter
from mnist_lightning.packaging.export import ExportError
from mnist_lightning.preprocessing.segment import SHIPPED
from tests.support import PROJECT

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def network() -> InkSegmenter:
    torch.manual_seed(0)
    return InkSegmenter((4, 6, 8)).eval()


def how_trained(model: onnx.ModelProto) -> dict[str, object]:
    (trained,) = (entry.value for entry in model.metadata_props if entry.key == "trained")
    return dict(json.loads(trained))


def test_an_export_says_how_it_was_trained(network: InkSegmenter) -> None:
    content, ink = segmenter.to_onnx(network, {"seed": 3}, PICTURES)
    assert how_trained(onnx.load_from_string(content)) == {"seed": 3}
    assert ink.shape == (2, 64, 64)
    assert ink.dtype == np.uint8
    assert ink.std() > 0
    assert str(PROJECT).encode() not in content


def test_an_export_that_differs_is_refused(network: InkSegmenter) -> None:
    wrong = type("Session", (), {"run": lambda *_: [np.full((64, 64), 255, np.uint8)]})
    exported: dict[str, Any] = {
        "export": lambda *_: b"",
        "round_weights": lambda *_: b"",
        "load_session": lambda *_: wrong(),
    }
    with patch.multiple(segmenter, **exported), pytest.raises(ExportError, match="differs by"):
        segmenter.to_onnx(network, {}, PICTURES)


def test_the_shipped_network_says_how_it_was_trained() -> None:
    assert set(how_trained(onnx.load(SHIPPED))) == {"seed", "photographs", "epochs", "commit", "iou"}
    assert SHIPPED.stat().st_size < 500_000
