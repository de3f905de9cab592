"""Accuracy with the preprocessing as it is, and with each of its steps left out."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from unittest.mock import patch

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing import normalize
from mnist_lightning.preprocessing.components import Strokes
from mnist_lightning.preprocessing.decode import BadPictureError, decode

Set = tuple[list[bytes], NDArray[np.int64]]  # picture files and their labels
Normalise = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

# The steps, each as what is changed to leave it out.
STEPS: Mapping[str, Mapping[str, object]] = {
    "everything": {},
    "without: MNIST's own form is left alone": {"preprocessing.in_mnist_form": lambda array: False},
    "without: a disturbed 28×28 picture is left alone": {"strokes.Strokes.of": None},
    "without: uneven light": {"ink.UNEVEN": 256},
    "without: specks and strays": {"strokes.SPECK": 0.0, "strokes.STRAY": 0.0},
    "without: ruled paper and frames": {"strokes.LEAST_RULED": math.inf},
    "without: thin strokes widened, thick ones thinned": {
        "preprocessing.STROKE_THIN": 0.0,
        "preprocessing.STROKE_THICK": math.inf,
    },
    "without: thin strokes saved from the reduction": {"preprocessing._scaled": None},
    "only resized to 28×28, light on dark": {"normalise": None},
}


def ablation(network: DigitNet, sets: Mapping[str, Set]) -> dict[str, dict[str, float]]:
    """Accuracy in per cent on each set, for each step taken out."""
    return {step: {name: accuracy(network, *one, step=step) for name, one in sets.items()} for step in STEPS}


def accuracy(
    network: DigitNet, contents: Sequence[bytes], labels: NDArray[np.int64], step: str = "everything"
) -> float:
    """Per cent of the pictures that are read right; a refused one is wrong."""
    with without(step) as normalise:
        pictures = np.stack([_read(content, normalise) for content in contents])
    with torch.inference_mode():
        parts = torch.from_numpy(pictures)[:, None].split(500)
        answers = torch.cat([network(part).argmax(1) for part in parts]).numpy()
    seen = pictures.any(axis=(1, 2))
    return float(100 * ((answers == labels) & seen).mean())


@contextlib.contextmanager
def without(step: str) -> Iterator[Normalise]:
    """The preprocessing with a step left out, for as long as the block lasts."""
    instead = {"preprocessing._scaled": _scaled_plainly, "strokes.Strokes.of": classmethod(_calm)}
    with contextlib.ExitStack() as patches:
        for name, value in STEPS[step].items():
            if name != "normalise":
                patches.enter_context(patch(f"mnist_lightning.{name}", value if value is not None else instead[name]))
        yield _only_resized if "normalise" in STEPS[step] else normalize.normalise


_find_strokes = Strokes.of


def _calm(cls: type[Strokes], ink: NDArray[np.uint8]) -> Strokes:
    """Strokes that are never taken for disturbed."""
    return replace(_find_strokes(ink), disturbed=False)


def _only_resized(array: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What most examples do: grey, 28×28, inverted where the border is light."""
    grey = np.asarray(Image.fromarray(array).convert("L").resize((28, 28)), dtype=np.float32) / 255
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return np.asarray(1 - grey if np.median(border) > 0.5 else grey, dtype=np.float32)


def _scaled_plainly(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = normalize.BOX * normalize.FINE / max(ink.shape)
    size = (max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor)))
    return np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))


def _read(content: bytes, normalise: Normalise) -> NDArray[np.float32]:
    try:
        return normalise(decode(content))
    except BadPictureError:
        return np.zeros((28, 28), np.float32)
