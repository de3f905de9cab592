"""Train the line reader, log it to MLflow, and write it as the ONNX model that preprocessing runs."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.engine import load_session
from mnist_lightning.common.files import write_atomic
from mnist_lightning.datasets.splits import MnistSplits
from mnist_lightning.models.line_reader import LineReader
from mnist_lightning.packaging.export import ExportError, export
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.line_reader import CONFIDENCE_PROPERTY, SCORES_OUTPUT, STRIPS_INPUT
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
        trained = {
            **{"seed": seed, "lines": config.lines, "epochs": config.epochs},
            **{"commit": provenance.git_commit(), "exact_matches": round(result.exact_matches, 4)},
        }
        strips = line_reading.collate(result.held_out[:CHECKED])[0].numpy()
        content = to_onnx(result.network, result.confidence, trained, strips)
        with tempfile.TemporaryDirectory() as folder:
            write_atomic(Path(folder, target.name), content)
            files = {f"model/{target.name}": Path(folder, target.name)}
            runs.log(texts={"digest.txt": short_digest(content)}, files=files)
        write_atomic(target, content)
    return result.exact_matches


def to_onnx(
    network: LineReader, confidence: tuple[float, float], trained: Mapping[str, object], strips: Bytes
) -> bytes:
    """Export a network in evaluation mode, with its calibration and how it was trained in the metadata.

    Args:
        network: the network.
        confidence: slope and shift of the log-odds of what it reads.
        trained: how it was trained.
        strips: (N, 1, 32, W), on which the model is compared with the network.

    Raises ExportError if the model differs.
    """
    scores = _Scores(network).eval()
    eighth = torch.export.Dim("eighth", min=2)
    content = export(
        scores,
        {STRIPS_INPUT: torch.zeros(2, 1, 32, 128, dtype=torch.uint8)},
        [SCORES_OUTPUT],
        DESCRIPTION,
        {"trained": json.dumps(trained), CONFIDENCE_PROPERTY: json.dumps(confidence)},
        dynamic_shapes=({0: torch.export.Dim("batch"), 3: 8 * eighth},),
    )
    found = load_session(content, "the exported line reader").run([SCORES_OUTPUT], {STRIPS_INPUT: strips})[0]
    with torch.inference_mode():
        expected = scores(torch.from_numpy(strips)).numpy()
    if (difference := float(np.abs(found - expected).max())) > MAX_DIFFERENCE:
        raise ExportError(f"the exported line reader differs by {difference:.2g}; the limit is {MAX_DIFFERENCE}")
    return content
