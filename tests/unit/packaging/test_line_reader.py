"""The exported line reader has the scores of the network, for strips of any width."""

import json
from unittest.mock import patch

import numpy as np
import onnx
import pytest
import torch

from mnist_lightning.common.engine import load_session
from mnist_lightning.models.line_reader import LineReader
from mnist_lightning.packaging import line_reader
from mnist_lightning.packaging.export import ExportError
from mnist_lightning.preprocessing.line_reader import SCORES_OUTPUT, STRIPS_INPUT
from tests.support import PROJECT

STRIPS = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 96), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> LineReader:
    torch.manual_seed(0)
    return LineReader((4, 4, 6, 6, 8, 8)).eval()


@pytest.fixture(scope="module")
def exported(network: LineReader) -> bytes:
    return line_reader.to_onnx(network, (0.9, -0.1), {"seed": 3}, STRIPS)


def test_an_export_says_how_it_was_trained_and_calibrated(exported: bytes) -> None:
    properties = {entry.key: json.loads(entry.value) for entry in onnx.load_from_string(exported).metadata_props}
    assert properties == {"trained": {"seed": 3}, "confidence": [0.9, -0.1]}
    assert str(PROJECT).encode() not in exported


@pytest.mark.parametrize(("count", "width"), [(1, 16), (1, 24), (2, 200), (5, 2048)])
def test_strips_of_any_width_are_read(count: int, width: int, exported: bytes, network: LineReader) -> None:
    strips = np.random.default_rng(1).integers(0, 256, (count, 1, 32, width), dtype=np.uint8)
    (scores,) = load_session(exported, "it").run([SCORES_OUTPUT], {STRIPS_INPUT: strips})
    with torch.inference_mode():
        expected = network(torch.from_numpy(strips).float() / 255).log_softmax(2).numpy()
    assert scores.shape == (count, width // 2, 12)
    assert np.abs(scores - expected).max() < 1e-3


def test_an_export_that_differs_is_refused(network: LineReader) -> None:
    wrong = type("Session", (), {"run": lambda *_: [np.zeros((3, 48, 12), np.float32)]})
    with patch.object(line_reader, "load_session", lambda *_: wrong()), pytest.raises(ExportError, match="differs by"):
        line_reader.to_onnx(network, (1, 0), {}, STRIPS)
