"""Normalized images -> answers: the digit, its probabilities, and whether the picture shows a digit at all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from mnist_lightning.common.constants import IMAGE_INPUT, IS_DIGIT_OUTPUT, PROBABILITIES_OUTPUT
from mnist_lightning.preprocessing.normalize import Floats, NormalizedImage

NOT_A_DIGIT = "this does not look like a digit"
SEVERAL_DIGITS = "I see {} digits; send one"
Answer = Mapping[str, Any]  # prediction, confidence, probabilities, is_digit; note if the picture is rejected


def predict(session: onnxruntime.InferenceSession, images: Floats, max_batch: int) -> tuple[Floats, Floats]:
    """Classify images (B, 28, 28) in [0, 1] with an exported model, at most `max_batch` at once.

    Returns the probabilities of the ten digits (B, 10), and the probability of showing a digit (B,).
    """
    names = [PROBABILITIES_OUTPUT, IS_DIGIT_OUTPUT]
    batches = [images[first : first + max_batch, None] for first in range(0, len(images), max_batch)]
    probabilities, is_digit = zip(*(session.run(names, {IMAGE_INPUT: batch}) for batch in batches), strict=True)
    return np.concatenate(probabilities), np.concatenate(is_digit)


def format_answers(
    probabilities: Floats,
    is_digit: Floats,
    threshold: float,
    images: Sequence[NormalizedImage],
) -> list[Answer]:
    """One answer for each image, rounded to six digits; with a note if its `is_digit` is below the threshold."""
    predictions = probabilities.argmax(axis=1).tolist()
    rows = probabilities.astype(np.float64).round(6).tolist()
    scores = is_digit.astype(np.float64).round(6).tolist()
    return [
        {"prediction": digit, "confidence": row[digit], "probabilities": row, "is_digit": score}
        | ({} if score >= threshold else {"note": _note(image)})
        for digit, row, score, image in zip(predictions, rows, scores, images, strict=True)
    ]


def _note(image: NormalizedImage) -> str:
    return SEVERAL_DIGITS.format(image.digits) if image.digits > 1 else NOT_A_DIGIT
