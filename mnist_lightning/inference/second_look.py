"""Read turned digits: a picture that the network is unsure of is turned by several angles and read again.

The network is trained for digits that are upright to within 10 degrees. A picture that it is sure of costs nothing.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.normalize import NormalizedImage, turn
from mnist_lightning.preprocessing.strokes import Floats

Scores = tuple[Floats, Floats]  # probabilities of the ten digits (B, 10), and of showing a digit (B,)
Predict = Callable[[Floats], Scores]  # images (B, 28, 28) in [0, 1] -> their scores

ANGLES = (-45, -30, 30, 45)  # degrees, clockwise; up to 20 degrees the network reads most digits as they are
UNSURE_CONFIDENCE, UNSURE_IS_DIGIT = 0.8, 0.5  # a picture with less of either is looked at again
MIN_IS_DIGIT = 0.95  # of a turned picture
MARGIN = 6.0  # log-odds by which a turned picture must look more like a digit than the upright one
DISCOUNT = 7.0  # log-odds, so that as many letters are rejected as by one look: the best of five readings looks better


def is_unsure(image: NormalizedImage, probabilities: Floats, is_digit: float) -> bool:
    """Whether a picture with these scores, (10,) and a number, is worth a second look."""
    unsure = probabilities.max() < UNSURE_CONFIDENCE or is_digit < UNSURE_IS_DIGIT
    return bool(unsure) and image.digits == 1 and image.number is None and image.strokes is not None


def look_again(
    images: Sequence[NormalizedImage], scores: Scores, unsure: Iterable[int], predict: Predict
) -> tuple[list[NormalizedImage], Scores]:
    """Replace the unsure images, and their scores, by turned ones where these look much more like digits."""
    images, (probabilities, is_digit) = list(images), scores
    indices = list(unsure)
    if not indices:
        return images, scores
    turned = [_turn(images[index], angle) for index in indices for angle in ANGLES]
    again = predict(np.stack([image.image for image in turned]))
    probabilities, is_digit = probabilities.copy(), is_digit.copy()
    odds = log_odds(again[1])
    quality = (odds + np.log(again[0].max(axis=1))).reshape(-1, len(ANGLES))
    for row, index in enumerate(indices):
        best = row * len(ANGLES) + int(quality[row].argmax())
        upright = log_odds(is_digit[index]) + np.log(probabilities[index].max())
        if again[1][best] >= MIN_IS_DIGIT and quality[row].max() >= upright + MARGIN:
            images[index], probabilities[index] = turned[best], again[0][best]
            is_digit[index] = 1 / (1 + np.exp(DISCOUNT - odds[best]))
    return images, (probabilities, is_digit)


def _turn(image: NormalizedImage, angle: int) -> NormalizedImage:
    """The image turned; itself, which then cannot win, if turning leaves no ink of thin, faint strokes."""
    try:
        return turn(image, angle)
    except NoDigitError:
        return image


def log_odds(probability: Floats) -> NDArray[np.float64]:
    """The logarithm of the odds, finite for 0 and 1 as well."""
    inside = np.clip(np.asarray(probability, dtype=np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inside) - np.log1p(-inside))
