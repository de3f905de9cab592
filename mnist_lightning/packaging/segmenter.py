"""Train the segmenter, log it to MLflow, and write it as the ONNX model that preprocessing runs."""

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
from mnist_lightning.evaluation import plots
from mnist_lightning.models.segmenter import InkSegmenter
from mnist_lightning.packaging.export import ExportError, export, round_weights
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.segment import INK_OUTPUT, PICTURE_INPUT
from mnist_lightning.tracking import provenance, runs
from mnist_lightning.training import segmentation
from mnist_lightning.training.segmentation import SegmentationConfig

MAX_DIFFERENCE = 2  # of 255, between the ink of the network and of the exported model, whose weights are rounded
EXAMPLES = 12
DESCRIPTION = """Separates the ink of handwritten digits from squared and ruled paper, boxes, circles and shadows.

Input `picture`: (S, S, 3) uint8, RGB. Output `ink`: (S, S) uint8, 0 to 255, the probability of ink.
"""


class _Ink(nn.Module):
    """The network from pixels to pixels, as it is exported."""

    def __init__(self, network: InkSegmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        logits = self.network(picture.permute(2, 0, 1)[None].float())
        ink: torch.Tensor = (logits[0, 0].sigmoid() * 255).round().to(torch.uint8)
        return ink


def train(splits: MnistSplits, seed: int, config: SegmentationConfig, target: Path) -> float:
    """Train a segmenter, log it to MLflow, and write it to `target`.

    Returns its intersection over union of ink on held-out photographs. Raises TrackingError, ExportError, OSError.
    """
    runs.connect(experiment=runs.SEGMENTER_EXPERIMENT)
    with runs.errors(), runs.run() as run_id:
        runs.log(parameters={**asdict(config), "seed": seed})
        result = segmentation.fit(splits, seed, config, run_id)
        trained = {
            **{"seed": seed, "photographs": config.photographs, "epochs": config.epochs},
            **{"commit": provenance.git_commit(), "iou": round(result.iou, 4)},
        }
        pictures, masks = (part[:EXAMPLES] for part in result.held_out)
        content, ink = to_onnx(result.network, trained, pictures)
        with tempfile.TemporaryDirectory() as folder:
            write_atomic(Path(folder, target.name), content)
            runs.log(
                texts={"digest.txt": short_digest(content)},
                figures={"examples.png": plots.ink_examples(pictures, masks, ink)},
                files={f"model/{target.name}": Path(folder, target.name)},
            )
        write_atomic(target, content)
    return result.iou


def to_onnx(network: InkSegmenter, trained: Mapping[str, object], pictures: Bytes) -> tuple[bytes, Bytes]:
    """Export a network in evaluation mode, with how it was trained in the metadata.

    Args:
        network: the network.
        trained: how it was trained.
        pictures: (N, S, S, 3), on which the model is compared with the network; it takes pictures of this size.

    Returns the model, and the ink (N, S, S) that it finds in the pictures. Raises ExportError if it differs.
    """
    outputs = _Ink(network).eval()
    example, properties = {PICTURE_INPUT: torch.from_numpy(pictures[0])}, {"trained": json.dumps(trained)}
    content = round_weights(export(outputs, example, [INK_OUTPUT], DESCRIPTION, properties), 16)
    session = load_session(content, "the exported segmenter")
    ink = np.stack([session.run([INK_OUTPUT], {PICTURE_INPUT: picture})[0] for picture in pictures])
    with torch.inference_mode():
        expected = np.stack([outputs(torch.from_numpy(picture)).numpy() for picture in pictures])
    if (difference := np.abs(ink.astype(int) - expected).max()) > MAX_DIFFERENCE:
        raise ExportError(f"the exported segmenter differs by {difference} of 255; the limit is {MAX_DIFFERENCE}")
    return content, ink
