"""Predictions with an archive's network, for servers other than this project's."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mnist_lightning.models import archive
from mnist_lightning.preprocessing.normalize import Floats, from_bytes

ARCHIVE_VARIABLE = "MNIST_ARCHIVE"  # environment variable with the path of mnist.mar
Answer = dict[str, object]


class Predictor:
    """The network of an archive.

    Args:
        path: the archive; by default that of the environment variable ARCHIVE_VARIABLE.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.network = archive.load_network(path or default_archive()).optimized_for_inference()

    def predict_files(self, contents: Sequence[bytes]) -> list[Answer]:
        """Answer picture files. Raises BadPictureError."""
        return self.predict(stack_images([from_bytes(content) for content in contents]))

    @torch.inference_mode()
    def predict(self, images: torch.Tensor) -> list[Answer]:
        """Answer images (B, 1, 28, 28) in [0, 1]."""
        return format_answers(self.network(images))


def default_archive() -> Path:
    """The archive that the environment names."""
    return Path(os.environ[ARCHIVE_VARIABLE])


def stack_images(images: Sequence[Floats]) -> torch.Tensor:
    """B images (28, 28) -> (B, 1, 28, 28)."""
    return torch.from_numpy(np.stack(images)).unsqueeze(1)


def format_answers(logits: torch.Tensor) -> list[Answer]:
    """Logits (B, 10) -> answers with the fields of this project's API."""
    rows = [[round(probability, 6) for probability in row] for row in logits.softmax(dim=1).tolist()]
    return [{"prediction": row.index(max(row)), "confidence": max(row), "probabilities": row} for row in rows]
