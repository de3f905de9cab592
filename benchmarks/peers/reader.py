"""The champion, for servers that are not ours: picture files -> answers."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mnist_lightning.models import archive
from mnist_lightning.preprocessing.normalize import from_bytes

ARCHIVE = "MNIST_ARCHIVE"  # the environment variable that says where mnist.mar is
Answer = dict[str, object]


class Reader:
    """The network of an archive; where none is given, of the one that the environment names."""

    def __init__(self, path: Path | None = None) -> None:
        self.network = archive.load_network(path or Path(os.environ[ARCHIVE])).optimized_for_inference()

    def read(self, contents: Sequence[bytes]) -> list[Answer]:
        """Picture files -> as many answers. Raises BadPictureError."""
        return self.infer(batch([from_bytes(content) for content in contents]))

    @torch.inference_mode()
    def infer(self, pictures: torch.Tensor) -> list[Answer]:
        """(B, 1, 28, 28) in [0, 1] -> B answers."""
        return answers(self.network(pictures))


def batch(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """B pictures of (28, 28) -> (B, 1, 28, 28)."""
    return torch.from_numpy(np.stack(pictures)).unsqueeze(1)


def answers(logits: torch.Tensor) -> list[Answer]:
    """(B, 10) -> what the API answers to each."""
    rounded = [[round(share, 6) for share in row] for row in logits.softmax(dim=1).tolist()]
    return [{"prediction": row.index(max(row)), "confidence": max(row), "probabilities": row} for row in rounded]
