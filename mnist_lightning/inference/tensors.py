"""Numbers in JSON -> pictures, and the tensors of the Open Inference Protocol in both directions."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.inference.errors import BadNumbersError, BadTensorError
from mnist_lightning.preprocessing.decode import Bytes

SIDE = 28
PICTURE_SHAPES = ((SIDE * SIDE,), (SIDE, SIDE), (1, SIDE, SIDE), (SIDE, SIDE, 1))
WHOLE, FRACTIONS = frozenset({int}), frozenset({int, float})  # JSON's 7.0 is no whole number
DATATYPES = {"UINT8": WHOLE, "INT32": WHOLE, "INT64": WHOLE, "FP32": FRACTIONS, "FP64": FRACTIONS}
JSON_NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def pixels_of(value: list[Any]) -> Bytes:
    """784 numbers from 0 to 255, flat or as 28 rows -> (28, 28) uint8. Raises BadNumbersError."""
    numbers, shape = flat(value)
    if shape not in PICTURE_SHAPES:
        raise BadNumbersError(f"784 numbers or 28 rows of 28 are expected, got the shape {list(shape)}")
    return rounded(checked(numbers, FRACTIONS)).reshape(SIDE, SIDE)


def pictures_of(tensor: Mapping[str, Any]) -> list[str] | list[Bytes]:
    """An input tensor -> its pictures: texts where its datatype is BYTES, (28, 28) uint8 otherwise.

    The shape is that of one picture or of N of them, N first; N may be -1, as KServe's examples have it.
    Raises BadTensorError, or BadNumbersError for values beyond 0 to 255.
    """
    if missing := [name for name in ("shape", "datatype", "data") if name not in tensor]:
        raise BadTensorError(f"the input tensor has no {' and no '.join(missing)}")
    shape, datatype, data = tensor["shape"], tensor["datatype"], tensor["data"]
    if not (isinstance(shape, list) and set(map(type, shape)) == WHOLE):
        raise BadTensorError("the tensor's shape must be a list of whole numbers, say [1, 784]")
    if not isinstance(data, list):
        raise BadTensorError(f"the tensor's data is {named(data)}, not a list")
    if datatype == "BYTES":
        return _texts(shape, data)
    if not (isinstance(datatype, str) and datatype in DATATYPES):
        raise BadTensorError(f"the tensor's datatype must be BYTES or one of {', '.join(DATATYPES)}")
    numbers, got = flat(data)
    pixels = rounded(checked(numbers, DATATYPES[datatype], datatype))
    count = _count(shape, len(pixels))
    if len(got) > 1 and got != (count, *shape[1:]) and got != tuple(shape):
        raise BadTensorError(f"the tensor's shape is {shape}, but its data has the shape {list(got)}")
    return list(pixels.reshape(count, SIDE, SIDE))


def tensor_of(name: str, values: Sequence[Any]) -> dict[str, object]:
    """One value, or one list of them, for each picture -> an output tensor, N first, its data flat."""
    array = np.asarray(values)
    datatype = {"i": "INT64", "U": "BYTES"}.get(array.dtype.kind, "FP32")
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}


def flat(value: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """Lists in lists -> what they hold, in order, and their shape. Raises BadNumbersError where rows differ."""
    shape = [len(value)]
    while len(shape) < 4 and list in set(map(type, value)):
        lengths = {len(row) if isinstance(row, list) else -1 for row in value}
        if len(lengths) > 1:
            raise BadNumbersError("the rows of numbers are not all of the same length")
        shape.append(lengths.pop())
        value = list(chain.from_iterable(value))
    return value, tuple(shape)


def checked(numbers: list[Any], allowed: frozenset[type], what: str = "numbers") -> NDArray[np.float64]:
    """The numbers of pictures, each from 0 to 255. Raises BadNumbersError, naming the first that is not."""
    if strangers := set(map(type, numbers)) - allowed:
        index, found = next((i, n) for i, n in enumerate(numbers) if type(n) in strangers)
        raise BadNumbersError(f"{what} only are expected, but value {index} is {named(found)}")
    try:
        array = np.asarray(numbers, dtype=np.float64)
    except OverflowError as error:
        raise BadNumbersError("every number must be from 0 to 255, but one is beyond any float") from error
    if not (inside := (array >= 0) & (array <= 255)).all():
        index = int(inside.argmin())
        raise BadNumbersError(f"every number must be from 0 to 255, but value {index} is {array[index]:g}")
    if 0 < array.max(initial=0) <= 1:
        raise BadNumbersError(
            f"the largest number is {array.max():g}: the scale is 0 to 255, not 0 to 1; multiply by 255"
        )
    return array


def rounded(numbers: NDArray[np.float64]) -> Bytes:
    """Numbers from 0 to 255 -> the nearest of those that pixels have."""
    return numbers.round().astype(np.uint8)


def named(value: object) -> str:
    """What JSON calls it."""
    return JSON_NAMES.get(type(value), f"the number {str(value)[:20]}" if isinstance(value, float) else "a number")


def _texts(shape: list[int], data: list[Any]) -> list[str]:
    texts, _ = flat(data)
    if strangers := [text for text in texts if not isinstance(text, str)]:
        raise BadTensorError(f"BYTES must be base64 texts, but the tensor's data holds {named(strangers[0])}")
    if shape != [-1] and math.prod(shape) != len(texts):
        raise BadTensorError(f"the tensor's shape is {shape}, but its data holds {len(texts)} texts")
    return texts


def _count(shape: list[int], size: int) -> int:
    """How many pictures a numeric tensor of this shape and number of values holds."""
    alone = tuple(shape) in PICTURE_SHAPES
    count = 1 if alone else size // SIDE**2 if shape[0] == -1 else shape[0]
    if not (alone or tuple(shape[1:]) in PICTURE_SHAPES):
        raise BadTensorError(f"the tensor's shape is {shape}; [N, 784], [N, 28, 28] and [N, 1, 28, 28] are read")
    if count < 1 or count * SIDE**2 != size:
        raise BadTensorError(f"the tensor's shape is {shape}, but its data holds {size} numbers")
    return count
