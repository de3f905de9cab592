"""Accuracy with the whole preprocessing, and without each of its steps."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_lightning.evaluation.classify import answer_images
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing import normalize
from mnist_lightning.preprocessing.components import DigitComponents
from mnist_lightning.preprocessing.decode import Bytes, decode
from mnist_lightning.preprocessing.errors import BadPictureError, NoDigitError
from mnist_lightning.preprocessing.normalize import NormalizedImage
from mnist_lightning.preprocessing.strokes import BOX, SIDE, SUPERSAMPLING

Normalize = Callable[[Bytes], NormalizedImage]


class LabeledFiles(NamedTuple):
    """Image files and their labels (N,)."""

    contents: Sequence[bytes]
    labels: NDArray[np.int64]


def _resize_only(array: Bytes) -> NormalizedImage:
    """The preprocessing of most examples: gray, 28×28, inverted if the border is bright."""
    gray = np.asarray(Image.fromarray(array).convert("L").resize((SIDE, SIDE)), dtype=np.float32) / 255
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    return NormalizedImage(np.asarray(1 - gray if np.median(border) > 0.5 else gray, dtype=np.float32), digits=1)


def _scale_without_dilation(ink: Bytes) -> Bytes:
    factor = BOX * SUPERSAMPLING / max(ink.shape)
    size = (max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(ink, size, interpolation=method), dtype=np.uint8)


def _find_no_ink(levels: Sequence[Bytes]) -> Bytes:
    raise NoDigitError("without the network")


_find = DigitComponents.find


def _find_never_degraded(cls: type[DigitComponents], ink: Bytes) -> DigitComponents:
    return replace(_find(ink), is_degraded=False)


EVERYTHING, RESIZE_ONLY = "everything", "only resized to 28×28, light on dark"
# For each variant of the preprocessing, the names in mnist_lightning.preprocessing that are replaced to skip a step.
VARIANTS: Mapping[str, Mapping[str, object]] = {
    EVERYTHING: {},
    "without: keeping MNIST's form": {"normalize.is_in_mnist_form": lambda array: False},
    "without: leaving degraded 28×28 pictures in place": {
        "components.DigitComponents.find": classmethod(_find_never_degraded)
    },
    "without: uneven light": {"foreground.UNEVEN_LIGHT": 256},
    "without: specks and strays": {"components.SPECK_AREA_RATIO": 0.0, "components.BORDER_AREA_RATIO": 0.0},
    "without: ruled paper and frames": {"components.MIN_RULED_SIDE": math.inf},
    "without: ink found by a network": {"normalize.find_ink": _find_no_ink},
    "without: thin strokes widened, thick ones thinned": {
        "strokes.MIN_STROKE": 0.0,
        "strokes.MAX_STROKE": math.inf,
    },
    "without: thin strokes saved from the reduction": {
        "strokes.scale": _scale_without_dilation,
        "normalize.scale": _scale_without_dilation,
    },
    RESIZE_ONLY: {"normalize.normalize_with_count": _resize_only},
}


def ablation(network: DigitNet, sets: Mapping[str, LabeledFiles]) -> dict[str, dict[str, float]]:
    """Accuracy in percent by variant and set."""
    return {variant: {name: accuracy(network, files, variant) for name, files in sets.items()} for variant in VARIANTS}


def accuracy(network: DigitNet, files: LabeledFiles, variant: str = EVERYTHING) -> float:
    """Percentage of files that are read correctly, turned where need be; one that is refused counts as an error."""
    with preprocessing_variant(variant) as normalize_pixels:
        images = [_normalize_file(content, normalize_pixels) for content in files.contents]
    answers = iter(answer_images(network, [image for image in images if image is not None]))
    predictions = [-1 if image is None else next(answers)["prediction"] for image in images]
    return float(100 * (np.array(predictions) == files.labels).mean())


@contextlib.contextmanager
def preprocessing_variant(variant: str) -> Iterator[Normalize]:
    """Replace parts of the preprocessing inside the block, and yield its `normalize_with_count`."""
    with contextlib.ExitStack() as patches:
        for name, replacement in VARIANTS[variant].items():
            patches.enter_context(patch(f"mnist_lightning.preprocessing.{name}", replacement))
        yield normalize.normalize_with_count


def _normalize_file(content: bytes, normalize_pixels: Normalize) -> NormalizedImage | None:
    try:
        return normalize_pixels(decode(content))
    except BadPictureError:
        return None
