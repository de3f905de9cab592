"""Predictions with an archive's exported model, for servers other than this project's."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_lightning.common.constants import EXPORTED
from mnist_lightning.common.engine import load_session
from mnist_lightning.inference import prediction
from mnist_lightning.inference.loader import MAX_BATCH
from mnist_lightning.preprocessing.normalize import from_bytes
from mnist_lightning.preprocessing.strokes import Floats

ARCHIVE_VARIABLE = "MNIST_ARCHIVE"  # environment variable with the path of mnist.mar
Answer = dict[str, object]


class Predictor:
    """The exported model of an archive, in the engine that this project's server uses.

    Args:
        path: the archive; by default that of the environment variable ARCHIVE_VARIABLE.
    """

    def __init__(self, path: Path | None = None) -> None:
        with zipfile.ZipFile(path or default_archive()) as archive:
            self.session = load_session(archive.read(EXPORTED), EXPORTED)

    def predict_files(self, contents: Sequence[bytes]) -> list[Answer]:
        """Answer picture files. Raises BadPictureError."""
        return self.predict([from_bytes(content) for content in contents])

    def predict(self, images: Sequence[Floats]) -> list[Answer]:
        """Answer images (28, 28) in [0, 1]."""
        return format_answers(prediction.predict(self.session, np.stack(images), MAX_BATCH)[0])


def default_archive() -> Path:
    """The archive that the environment names."""
    return Path(os.environ[ARCHIVE_VARIABLE])


def format_answers(probabilities: Floats) -> list[Answer]:
    """Probabilities (B, 10) -> answers with the fields of this project's API."""
    rows = probabilities.astype(np.float64).round(6).tolist()
    return [{"prediction": row.index(max(row)), "confidence": max(row), "probabilities": row} for row in rows]
