"""What is told about a picture: its digit, how sure that is, and whether it is a digit at all."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_lightning.inference.protocols import Answer
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.preprocessing.normalize import Seen

NO_DIGIT = "this does not look like a digit"
SEVERAL = "I see {} digits; send one"
Floats = NDArray[np.float32]


@torch.inference_mode()
def judged(network: DigitNet, pictures: NDArray[np.float32], at_once: int) -> tuple[Floats, Floats]:
    """(B, 28, 28) floats in [0, 1] -> (B, 10) probabilities of the digits, (B,) probabilities of being one at all."""
    images = torch.from_numpy(pictures).unsqueeze(1)
    parts = [network.predict_with_ood(images[start : start + at_once]) for start in range(0, len(images), at_once)]
    logits, odds = (torch.cat(part) for part in zip(*parts, strict=True))
    return logits.softmax(dim=1).numpy(), odds.sigmoid().numpy()


def answers(probabilities: Floats, is_digit: Floats, threshold: float, seen: Sequence[Seen]) -> list[Answer]:
    """B answers, rounded to six digits, with a note on those whose `is_digit` is below the threshold."""
    digits = probabilities.argmax(axis=1).tolist()
    rows = probabilities.astype(np.float64).round(6).tolist()
    odds = is_digit.astype(np.float64).round(6).tolist()
    return [
        {"prediction": digit, "confidence": row[digit], "probabilities": row, "is_digit": share}
        | ({} if share >= threshold else {"note": SEVERAL.format(one.digits) if one.digits > 1 else NO_DIGIT})
        for digit, row, share, one in zip(digits, rows, odds, seen, strict=True)
    ]
