"""Load the model that is served. In a module of its own, because a handler's file may define only one class."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnxruntime

from mnist_lightning.common.constants import (
    EXPORTED,
    RECORDED_REFERENCE,
    REFERENCE,
    THRESHOLD_PROPERTY,
    WEIGHTS,
    WEIGHTS_PROPERTY,
)
from mnist_lightning.common.digests import short_digest
from mnist_lightning.common.engine import load_session
from mnist_lightning.common.reference import BadReferenceError, Counts, parse
from mnist_lightning.inference import prediction
from mnist_lightning.inference.prediction import Reading, predict
from mnist_lightning.inference.second_look import Scores
from mnist_lightning.preprocessing.normalize import NormalizedImage
from mnist_lightning.preprocessing.segment import PICTURE_SIDE, find_ink
from mnist_lightning.preprocessing.strokes import Floats

MAX_BATCH = 32  # model-config.yaml's batchSize; larger batches would need more memory, which stays allocated


@dataclass(frozen=True, slots=True)
class Model:
    """An exported model, its rejection threshold, and the file of weights that it was exported from."""

    session: onnxruntime.InferenceSession
    threshold: float
    weights: bytes
    digest: str  # of the weights
    reference: Counts = field(default_factory=dict)  # what its answers to validation images look like

    def predict(self, images: Floats) -> Scores:
        """(B, 28, 28) floats in [0, 1] -> (B, 10) probabilities of the digits, (B,) of showing a digit."""
        return predict(self.session, images, MAX_BATCH)

    def read(self, requests: Sequence[Sequence[NormalizedImage]]) -> list[list[Reading]]:
        """Answer the pictures of several requests."""
        return prediction.read(requests, self.predict, self.threshold)


def load_model(content: bytes, folder: Path) -> Model:
    """Load an exported model and the weights beside it in `folder`. Raises RuntimeError if they do not match."""
    return replace(make_model(content, (folder / WEIGHTS).read_bytes()), reference=_load_reference(folder))


def make_model(content: bytes, weights: bytes) -> Model:
    """As `load_model`, with the content of the file of weights, and without the reference distributions."""
    session = load_session(content, EXPORTED)
    properties = session.get_modelmeta().custom_metadata_map
    digest = short_digest(weights)
    if digest != properties.get(WEIGHTS_PROPERTY):
        raise RuntimeError(f"the exported model does not belong to the {WEIGHTS} beside it")
    for size in (1, MAX_BATCH):  # the first call allocates memory
        predict(session, np.zeros((size, 28, 28), dtype=np.float32), MAX_BATCH)
    find_ink([np.zeros((PICTURE_SIDE, PICTURE_SIDE, 3), dtype=np.uint8)])
    return Model(session, float(properties[THRESHOLD_PROPERTY]), weights, digest)


def _load_reference(folder: Path) -> Counts:
    """The reference distributions that replace the archive's, or else those; none if there are none."""
    path = next((folder / name for name in (RECORDED_REFERENCE, REFERENCE) if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        return parse(path.read_bytes(), path.name)
    except (BadReferenceError, OSError) as error:  # predictions do not need it
        logging.getLogger(__name__).error("drift is not measured: %s", error)
        return {}
