"""Normalized images -> answers: the digit, its probabilities, and whether the picture shows a digit at all."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mnist_lightning.common.constants import IMAGE_INPUT, IS_DIGIT_OUTPUT, PROBABILITIES_OUTPUT
from mnist_lightning.inference import second_look
from mnist_lightning.inference.second_look import Predict, Scores
from mnist_lightning.preprocessing.errors import TooManyDigitsError
from mnist_lightning.preprocessing.normalize import NormalizedImage, read_touching
from mnist_lightning.preprocessing.number import NO_DIGIT, Box, Digit, Number
from mnist_lightning.preprocessing.strokes import Floats

NOT_A_DIGIT = "this does not look like a digit"
SEVERAL_DIGITS = "several digits: {}"
MAX_SECOND_LOOKS = 8  # pictures of one request, each of which costs four times as much as others
MAX_TOUCHING = 64  # pictures of a batch that are looked at for digits that touch, at a millisecond each
TOUCHING_IS_DIGIT = 0.98  # a picture with less, and as wide for its height as most digits are not, may be two digits
TOUCHING_WIDTH = 0.85  # width over height
MIN_NUMBER_CONFIDENCE = 0.12  # of a number's lines on average
MIN_APART_CONFIDENCE = 0.5  # of one with gaps that looks like a single digit, or without gaps that looks like none
MIN_CONFIDENCE = 0.8  # of one without gaps that looks like a single digit
# prediction, confidence, probabilities, is_digit, number; rotation if the digit is turned; note if the picture is not
# one digit; lines and digits if it shows several
Answer = Mapping[str, Any]


class Reading(NamedTuple):
    """A picture as the network received it, and its answer."""

    image: NormalizedImage
    answer: Answer


def predict(session: onnxruntime.InferenceSession, images: Floats, max_batch: int) -> Scores:
    """Classify images (B, 28, 28) in [0, 1] with an exported model, at most `max_batch` at once.

    Returns the probabilities of the ten digits (B, 10), and the probability of showing a digit (B,).
    """
    names = [PROBABILITIES_OUTPUT, IS_DIGIT_OUTPUT]
    batches = [images[first : first + max_batch, None] for first in range(0, len(images), max_batch)]
    probabilities, is_digit = zip(*(session.run(names, {IMAGE_INPUT: batch}) for batch in batches), strict=True)
    return np.concatenate(probabilities), np.concatenate(is_digit)


def read(requests: Sequence[Sequence[NormalizedImage]], predict: Predict, threshold: float) -> list[list[Reading]]:
    """Answer the pictures of several requests, with one call of `predict`, and one more for those it is unsure of."""
    images = [image for request in requests for image in request]
    if not images:
        return [[] for _ in requests]
    scores = predict(np.stack([image.image for image in images]))
    images = [
        _check_number(image, is_single=score >= threshold) for image, score in zip(images, scores[1], strict=True)
    ]
    unsure = list(_find_unsure(requests, scores))
    may_touch = [index for index, image in enumerate(images) if _may_touch(image, scores[1][index])]
    images = _separate_touching(images, sorted({*unsure, *may_touch}), scores[1] >= threshold)
    unsure = [index for index in unsure if images[index].number is None]
    images, scores = second_look.look_again(images, scores, unsure, predict)
    readings = map(Reading, images, format_answers(scores, threshold, images))
    return [list(islice(readings, len(request))) for request in requests]


def _check_number(image: NormalizedImage, *, is_single: bool) -> NormalizedImage:
    """The image, without a number that is probably none; one that looks like a single digit takes more confidence."""
    if image.number is None:
        return image
    least = MIN_NUMBER_CONFIDENCE
    if is_single:
        is_sheet = len(image.number.digits) > 2 * len(image.number.lines) > 2  # not a digit and a part of it above it
        is_apart = image.digits > 1 or is_sheet
        least = MIN_APART_CONFIDENCE if is_apart else MIN_CONFIDENCE
    return image._replace(number=None) if image.number.line_confidence < least else image


def _may_touch(image: NormalizedImage, is_digit: float) -> bool:
    """Whether a picture that the network takes for a digit may be two that touch."""
    if image.number is not None or image.digits > 1 or image.strokes is None or is_digit >= TOUCHING_IS_DIGIT:
        return False
    height, width = image.strokes.shape
    return bool(width >= TOUCHING_WIDTH * height)


def _separate_touching(
    images: Sequence[NormalizedImage], places: Sequence[int], is_single: NDArray[np.bool_]
) -> list[NormalizedImage]:
    """The images, with the number of those at some places that are two digits or more."""
    images = list(images)
    for index in places[:MAX_TOUCHING]:
        with contextlib.suppress(TooManyDigitsError):  # strokes that fall into so many pieces are no number
            number = read_touching(images[index])
            least = MIN_CONFIDENCE if is_single[index] else MIN_APART_CONFIDENCE
            if number is not None and number.confidence >= least:
                images[index] = images[index]._replace(number=number)
    return images


def _find_unsure(requests: Sequence[Sequence[NormalizedImage]], scores: Scores) -> Iterator[int]:
    """Which pictures, counted over all requests, are worth a second look."""
    first = 0
    for request in requests:
        indices = range(first, first + len(request))
        found = (i for i in indices if second_look.is_unsure(request[i - first], scores[0][i], scores[1][i]))
        yield from islice(found, MAX_SECOND_LOOKS)
        first += len(request)


def format_answers(scores: Scores, threshold: float, images: Sequence[NormalizedImage]) -> list[Answer]:
    """One answer for each image, rounded to six digits; with a note if its `is_digit` is below the threshold."""
    probabilities, is_digit = scores
    predictions = probabilities.argmax(axis=1).tolist()
    rows = probabilities.astype(np.float64).round(6).tolist()
    certainties = is_digit.astype(np.float64).round(6).tolist()
    return [
        {"prediction": digit, "confidence": row[digit], "probabilities": row, "is_digit": score}
        | ({"rotation": image.rotation} if image.rotation else {})
        | (_single(digit, is_digit=score >= threshold) if image.number is None else _several(image.number))
        for digit, row, score, image in zip(predictions, rows, certainties, images, strict=True)
    ]


def _single(digit: int, *, is_digit: bool) -> dict[str, object]:
    """The fields that say what a picture shows that is read as one digit."""
    return {"number": str(digit)} if is_digit else {"number": NO_DIGIT, "note": NOT_A_DIGIT}


def _several(number: Number) -> dict[str, object]:
    """The fields of several digits. Their confidence replaces that of the picture read as one digit."""
    texts = number.texts
    return {
        "confidence": round(number.confidence, 6),
        "number": "\n".join(texts),
        **({"lines": texts} if len(texts) > 1 else {}),
        "digits": [_format_digit(digit) for digit in number.digits],
        "note": SEVERAL_DIGITS.format(" / ".join(texts)),
    }


def _format_digit(digit: Digit) -> Answer:
    probabilities = digit.probabilities[:10].astype(np.float64)
    row = (probabilities / probabilities.sum()).round(6).tolist()
    best = int(probabilities.argmax())
    return {
        "prediction": best,
        "confidence": row[best],
        "probabilities": row,
        "is_digit": round(1 - float(digit.probabilities[10]), 6),
        "box": _round_box(digit.box),
    }


def _round_box(box: Box) -> list[int]:
    """A box in whole pixels: its edges are rounded, and at least a pixel apart."""
    left, top, width, height = box
    x, y = round(left), round(top)
    return [x, y, max(1, round(left + width) - x), max(1, round(top + height) - y)]
