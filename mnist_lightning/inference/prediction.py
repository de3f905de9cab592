"""Normalized images -> answers: the digit, its probabilities, and whether the picture shows a digit at all."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from mnist_lightning.common.constants import IMAGE_INPUT, IS_DIGIT_OUTPUT, PROBABILITIES_OUTPUT
from mnist_lightning.inference import second_look
from mnist_lightning.inference.second_look import Predict, Scores
from mnist_lightning.preprocessing.normalize import Floats, NormalizedImage

NOT_A_DIGIT = "this does not look like a digit"
SEVERAL_DIGITS = "I see {} digits; send one"
MAX_SECOND_LOOKS = 8  # pictures of one request, each of which costs four times as much as others
# prediction, confidence, probabilities, is_digit; rotation if the digit is turned; note if the picture is rejected
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
    images, scores = second_look.look_again(images, scores, _find_unsure(requests, scores), predict)
    readings = map(Reading, images, format_answers(scores, threshold, images))
    return [list(islice(readings, len(request))) for request in requests]


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
        | ({} if score >= threshold else {"note": _note(image)})
        for digit, row, score, image in zip(predictions, rows, certainties, images, strict=True)
    ]


def _note(image: NormalizedImage) -> str:
    return SEVERAL_DIGITS.format(image.digits) if image.digits > 1 else NOT_A_DIGIT
