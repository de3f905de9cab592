"""Pictures in a column of a table -> answers with the same fields in every row, as MLflow and Spark expect them."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np

from mnist_lightning.inference.loader import MAX_BATCH, Model
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.inference.protocols import parse_request
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import NormalizedImage

PICTURES = "image"  # the column of pictures
ON_ERROR = "on_error"  # the parameter that says what a picture does that cannot be read
RAISE, REPORT = "raise", "report"
# The columns of answers. Their values stand for fields that a picture's answer lacks.
MISSING = {
    **{"number": "", "prediction": 0, "confidence": 0.0, "probabilities": [], "is_digit": 0.0},
    **{"rotation": 0, "note": "", "lines": [], "digits": [], "error": ""},
}


def answer_column(model: Model, pictures: Iterable[object], on_error: str = RAISE) -> list[Answer]:
    """Answer pictures as the server does, each by itself, with all keys of MISSING in each answer.

    Args:
        model: what `loader.load_model` returns.
        pictures: base64 of a picture file, its bytes, or 784 numbers as a list or an array, in any form that the server
            accepts. A list of strings stands for as many pictures: MLflow packs a column of strings into one row.
        on_error: RAISE, or REPORT to answer a picture that cannot be read with its `error`, and the others as usual.

    Raises BadPictureError, which names the picture by its place; ValueError for another `on_error`.
    """
    if on_error not in (RAISE, REPORT):
        raise ValueError(f"{ON_ERROR} is {on_error!r}; {RAISE} and {REPORT} are accepted")
    unpacked = enumerate(chain.from_iterable(map(_unpack, pictures)))
    answers: list[Answer] = []
    while batch := [*islice(unpacked, MAX_BATCH)]:  # a table may be larger than memory allows for its images
        images = [_normalize(place, picture, on_error) for place, picture in batch]
        # Each picture is a request of its own, as if the server were asked about it alone.
        requests = [[image] if isinstance(image, NormalizedImage) else [] for image in images]
        readings = model.read(requests)
        answers += [
            MISSING | (dict(reading[0].answer) if reading else {"error": str(image)})
            for reading, image in zip(readings, images, strict=True)
        ]
    return answers


def _normalize(place: int, picture: object, on_error: str) -> NormalizedImage | BadPictureError:
    try:
        return parse_request({"body": {"image": picture}}, {}).images[0]
    except BadPictureError as error:
        if on_error == RAISE:
            raise type(error)(f"{PICTURES}[{place}]: {error}") from error
        return error


def _unpack(value: object) -> Iterator[object]:
    """The pictures of one row, as the server's JSON has them: lists instead of arrays."""
    value = _to_lists(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        yield from value
    else:
        yield value


def _to_lists(value: object) -> object:
    """Arrays as lists. Parquet and Spark nest arrays of objects."""
    if isinstance(value, np.ndarray | list):
        items = value.tolist() if isinstance(value, np.ndarray) else value
        return [_to_lists(item) if isinstance(item, np.ndarray | list) else item for item in items]
    return value
