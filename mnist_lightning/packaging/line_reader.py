"""Train the line reader, log it to MLflow, and write it as the ONNX model that preprocessing runs."""

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from onnxruntime import InferenceSession
from sklearn.linear_model import LogisticRegression
from torch import nn

from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.engine import load_session
from mnist_lightning.common.files import write_atomic
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.datasets.strips import LineSample
from mnist_lightning.models.line_reader import LineReader
from mnist_lightning.packaging.export import ExportError, export, round_weights, set_properties
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.line_reader import (
    CONFIDENCE_PROPERTY,
    SCORES_OUTPUT,
    STRIPS_INPUT,
    Calibration,
    Confidence,
    LineReading,
    Reader,
    log_odds,
)
from mnist_lightning.tracking import provenance, runs
from mnist_lightning.training import line_reading
from mnist_lightning.training.line_reading import LineReaderConfig

MAX_DIFFERENCE = 1e-3  # between the log-probabilities of the network and of the exported model
CHECKED = 64  # lines on which they are compared
DESCRIPTION = """Reads lines of handwritten digits.

Input `strips`: (batch, 1, 32, width) uint8, white ink on black, digits about 20 pixels high; the width is a multiple of
8. Output `log_probabilities`: (batch, width / 2, 12), for each position along the line, of nothing new (0), of the
digits 0 to 9 (1 to 10), and of writing that is no digit (11), for a decoder of connectionist temporal classification.
"""


class _Scores(nn.Module):
    """The network from pixels to log-probabilities, as it is exported."""

    def __init__(self, network: LineReader) -> None:
        super().__init__()
        self.network = network

    def forward(self, strips: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.network(strips.float() / 255).log_softmax(2)
        return scores


def train(splits: MnistSplits, seed: int, config: LineReaderConfig, target: Path) -> float:
    """Train a line reader, log it to MLflow, and write it to `target`.

    Returns the fraction of held-out lines that it reads without a mistake. Raises TrackingError, ExportError, OSError.
    """
    runs.connect(experiment=runs.LINE_READER_EXPERIMENT)
    with runs.errors(), runs.run() as run_id:
        runs.log(parameters={**asdict(config), "seed": seed})
        result = line_reading.fit(splits, seed, config, run_id)
        strips = line_reading.collate(result.held_out[:CHECKED])[0].numpy()
        content = to_onnx(result.network, strips)
        calibrated = calibrate(load_session(content, target.name), result.held_out)
        trained = {
            **{"seed": seed, "lines": config.lines, "epochs": config.epochs},
            **{"commit": provenance.git_commit(), "exact_matches": round(calibrated.exact_matches, 4)},
        }
        properties = {"trained": json.dumps(trained), CONFIDENCE_PROPERTY: json.dumps(calibrated.confidence)}
        content = set_properties(content, properties)
        with tempfile.TemporaryDirectory() as folder:
            write_atomic(Path(folder, target.name), content)
            files = {f"model/{target.name}": Path(folder, target.name)}
            runs.log(texts={"digest.txt": short_digest(content)}, files=files)
        write_atomic(target, content)
    return calibrated.exact_matches


def to_onnx(network: LineReader, strips: Bytes) -> bytes:
    """Export a network in evaluation mode, with weights of eight bits.

    Args:
        network: the network.
        strips: (N, 1, 32, W), on which the model is compared with the network before its weights are rounded.

    Raises ExportError if the model differs.
    """
    scores = _Scores(network).eval()
    eighth = torch.export.Dim("eighth", min=2)
    content = export(
        scores,
        {STRIPS_INPUT: torch.zeros(2, 1, 32, 128, dtype=torch.uint8)},
        [SCORES_OUTPUT],
        DESCRIPTION,
        {},
        dynamic_shapes=({0: torch.export.Dim("batch"), 3: 8 * eighth},),
    )
    found = load_session(content, "the exported line reader").run([SCORES_OUTPUT], {STRIPS_INPUT: strips})[0]
    with torch.inference_mode():
        expected = scores(torch.from_numpy(strips)).numpy()
    if (difference := float(np.abs(found - expected).max())) > MAX_DIFFERENCE:
        raise ExportError(f"the exported line reader differs by {difference:.2g}; the limit is {MAX_DIFFERENCE}")
    return round_weights(content, 8)


@dataclass(frozen=True)
class Calibrated:
    """How a reader reads lines, and what makes its confidence calibrated."""

    exact_matches: float  # fraction of the lines that are read without a mistake
    confidence: Confidence


def calibrate(session: InferenceSession, lines: Sequence[LineSample]) -> Calibrated:
    """Measure an exported line reader on lines, as the server reads them."""
    strips = [line.strip for line in lines]
    uncalibrated = Reader(session, Confidence())
    once = [uncalibrated.read_once([strip])[0] for strip in strips]
    read = _fit(once, lines)
    reader = Reader(session, Confidence(read))
    readings = [reading._replace(confidence=read.probability(_log_odds(reading))) for reading in once]
    unsure = [place for place, reading in enumerate(readings) if reading.is_unsure]
    for place in unsure:
        readings[place] = reader.vote(strips[place], readings[place])
    voted = _fit([readings[place] for place in unsure], [lines[place] for place in unsure])
    return Calibrated(float(np.mean(_right(readings, lines))), Confidence(read, voted))


def _fit(readings: Sequence[LineReading], lines: Sequence[LineSample]) -> Calibration:
    """What makes the confidence of readings calibrated, after Platt (1999)."""
    right = _right(readings, lines)
    if len(set(right)) < 2:  # nothing to learn from
        return Calibration()
    odds = np.array([_log_odds(reading) for reading in readings])[:, None]
    fitted = LogisticRegression(C=1e4).fit(odds, right)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def _log_odds(reading: LineReading) -> float:
    return float(log_odds(math.log(reading.confidence)))


def _right(readings: Sequence[LineReading], lines: Sequence[LineSample]) -> list[bool]:
    """Whether lines are read without a mistake."""
    return [
        [symbol.label - 1 for symbol in reading.symbols] == line.classes
        for reading, line in zip(readings, lines, strict=True)
    ]
