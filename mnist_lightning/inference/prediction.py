"""Normalized images -> answers: the digit, its probabilities, and whether the picture shows a digit at all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.normalize import Floats, NormalizedImage

NOT_A_DIGIT = "this does not look like a digit"
SEVERAL_DIGITS = "I see {} digits; send one"
Answer = Mapping[str, Any]  # prediction, confidence, probabilities, is_digit; note if the picture is rejected


@torch.inference_mode()
def predict(network: DigitNet, images: Floats, max_batch: int) -> tuple[Floats, Floats]:
    """Classify images (B, 28, 28) in [0, 1], at most `max_batch` at once.

    Returns the probabilities of the ten digits (B, 10), and the probability of showing a digit (B,).
    """
    batch = torch.from_numpy(images).unsqueeze(1)
    parts = [network.predict_with_ood(part) for part in torch.split(batch, max_batch)]
    logits, odds = (torch.cat(part) for part in zip(*parts, strict=True))
    return logits.softmax(dim=1).numpy(), odds.sigmoid().numpy()


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
