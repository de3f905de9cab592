"""The exported line reader has the scores of the network, for strips of any width."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from mnist_lightning.common.engine import load_session
from mnist_lightning.datasets.strips import LineSample
from mnist_lightning.models.line_reader import LineReader
from mnist_lightning.packaging import line_reader
from mnist_lightning.packaging.export import ExportError
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.line_reader import SCORES_OUTPUT, STRIPS_INPUT, Confidence, LineReading, Symbol
from tests.support import PROJECT

STRIPS = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 96), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> LineReader:
    torch.manual_seed(0)
    return LineReader((4, 4, 6, 6, 8, 8)).eval()


@pytest.fixture(scope="module")
def exported(network: LineReader) -> bytes:
    return line_reader.to_onnx(network, STRIPS)


def test_an_export_has_no_path_of_this_machine(exported: bytes) -> None:
    assert str(PROJECT).encode() not in exported


@pytest.mark.parametrize(("count", "width"), [(1, 16), (1, 24), (2, 200), (5, 2048)])
def test_strips_of_any_width_are_read(count: int, width: int, exported: bytes, network: LineReader) -> None:
    strips = np.random.default_rng(1).integers(0, 256, (count, 1, 32, width), dtype=np.uint8)
    (scores,) = load_session(exported, "it").run([SCORES_OUTPUT], {STRIPS_INPUT: strips})
    with torch.inference_mode():
        expected = network(torch.from_numpy(strips).float() / 255).log_softmax(2).numpy()
    assert scores.shape == (count, width // 2, 12)
    assert np.abs(scores - expected).max() < 0.1  # weights are rounded to eight bits


def test_an_export_that_differs_is_refused(network: LineReader) -> None:
    wrong = type("Session", (), {"run": lambda *_: [np.zeros((3, 48, 12), np.float32)]})
    exported: dict[str, Any] = {"export": lambda *_, **__: b"", "load_session": lambda *_: wrong()}
    with patch.multiple(line_reader, **exported), pytest.raises(ExportError, match="differs by"):
        line_reader.to_onnx(network, STRIPS)


def sample(*classes: int) -> LineSample:
    return LineSample(np.zeros((32, 40), np.uint8), list(classes))


class FakeReader:
    """Reads each line as its first two digits, surely; half of the lines have a third, which variants show."""

    def __init__(self, session: object, confidence: Confidence) -> None:
        self.confidence = confidence

    def read_once(self, strips: list[Bytes]) -> list[LineReading]:
        symbols = [Symbol(1, 0, 1), Symbol(2, 3, 4)]
        return [LineReading(symbols, np.zeros((2, 11), np.float32), self.confidence.read.probability(2))]

    def vote(self, strip: Bytes, reading: LineReading) -> LineReading:
        return LineReading([*reading.symbols, Symbol(3, 6, 7)], np.zeros((3, 11), np.float32), 0.9)


def test_confidence_is_the_fraction_of_right_lines() -> None:
    lines = [sample(0, 1)] * 30 + [sample(0, 1, 2)] * 70
    with patch.object(line_reader, "Reader", FakeReader):
        calibrated = line_reader.calibrate(session=None, lines=lines)
    assert calibrated.exact_matches == pytest.approx(0.7)  # all lines are unsure, and read in variants
    assert calibrated.confidence.read.probability(2) == pytest.approx(0.3, abs=0.01)
    assert calibrated.confidence.voted.probability(float(np.log(9))) == pytest.approx(0.7, abs=0.01)


def test_nothing_is_calibrated_where_all_is_right() -> None:
    with patch.object(line_reader, "Reader", FakeReader):
        calibrated = line_reader.calibrate(session=None, lines=[sample(0, 1, 2)] * 4)
    assert calibrated.confidence == Confidence()
