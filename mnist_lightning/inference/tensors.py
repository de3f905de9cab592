"""Pictures as numbers in JSON, and the Open Inference Protocol's tensors in both directions."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mnist_lightning.inference.errors import BadNumbersError, BadTensorError
from mnist_lightning.preprocessing.decode import Bytes

SIDE = 28
PICTURE_SHAPES = (
    *((SIDE * SIDE,), (SIDE, SIDE), (1, SIDE, SIDE), (SIDE, SIDE, 1)),
    *((1, SIDE * SIDE), (1, 1, SIDE, SIDE), (1, SIDE, SIDE, 1)),
)
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels from 0 to 1, by which PyTorch's examples normalize them
MAX_DIMENSIONS, MAX_SIZE = 4, 1_000_000  # of a tensor's shape
INTEGERS, NUMBERS = frozenset({int}), frozenset({int, float})  # JSON's 7.0 is not an integer
DATATYPES = {"UINT8": INTEGERS, "INT32": INTEGERS, "INT64": INTEGERS, "FP32": NUMBERS, "FP64": NUMBERS}
FLOATS = ("FP32", "FP64")  # 1 stands for 1.0 in their data, because JavaScript writes it so
JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def parse_pixels(value: list[Any]) -> Bytes:
    """Convert 784 numbers, flat or in one of PICTURE_SHAPES, to (28, 28) uint8. Raises BadNumbersError as `scale`."""
    numbers, shape = flatten(value)
    if shape not in PICTURE_SHAPES:
        raise BadNumbersError(f"784 numbers or 28 rows of 28 are expected, got the shape {list(shape)}")
    return scale(numbers, NUMBERS).reshape(SIDE, SIDE)


def parse_tensor(tensor: Mapping[str, Any]) -> list[str] | list[Bytes]:
    """The pictures in an input tensor: strings if its datatype is BYTES, (28, 28) uint8 otherwise.

    The shape is that of one picture or of N pictures, N first; N may be -1, as in KServe's examples.
    Raises BadTensorError, or BadNumbersError as `scale`.
    """
    if missing := [name for name in ("shape", "datatype", "data") if name not in tensor]:
        raise BadTensorError(f"the input tensor has no {' and no '.join(missing)}")
    shape, datatype, data = tensor["shape"], tensor["datatype"], tensor["data"]
    if not (isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS and set(map(type, shape)) == INTEGERS):
        raise BadTensorError(
            f"the tensor's shape must be a list of at most {MAX_DIMENSIONS} integers, for example [1, 784]"
        )
    if max(map(abs, shape)) > MAX_SIZE:
        raise BadTensorError(f"a tensor's shape must not hold numbers above {MAX_SIZE:,}")
    if not isinstance(data, list):
        raise BadTensorError(f"the tensor's data is {json_type(data)}, not a list")
    if datatype == "BYTES":
        return _strings(shape, data)
    if not (isinstance(datatype, str) and datatype in DATATYPES):
        raise BadTensorError(f"the tensor's datatype must be BYTES or one of {', '.join(DATATYPES)}")
    numbers, got = flatten(data)
    pixels = scale(numbers, DATATYPES[datatype], datatype)
    count = _count(shape, len(pixels))
    if len(got) > 1 and got != (count, *shape[1:]) and got != tuple(shape):
        raise BadTensorError(f"the tensor's shape is {shape}, but its data has the shape {list(got)}")
    return list(pixels.reshape(count, SIDE, SIDE))


def format_tensor(name: str, values: Sequence[Any]) -> dict[str, object]:
    """An output tensor of one value or one list of values for each picture: N first, the data flat."""
    array = np.asarray(values)
    datatype = {"i": "INT64", "U": "BYTES"}.get(array.dtype.kind, "FP32")
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}


def flatten(value: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """Flatten nested lists to their elements and shape. Raises BadNumbersError if the rows differ in length."""
    shape = [len(value)]
    while len(shape) < 4 and list in set(map(type, value)):
        lengths = {len(row) if isinstance(row, list) else -1 for row in value}
        if len(lengths) > 1:
            raise BadNumbersError("the rows of numbers are not all of the same length")
        shape.append(lengths.pop())
        value = list(chain.from_iterable(value))
    return value, tuple(shape)


def scale(numbers: list[Any], allowed: frozenset[type], what: str = "numbers") -> Bytes:
    """Convert numbers to pixels, uint8: from 0 to 255, or from 0 to 1 if none is larger and they are not all integers.

    A picture from 0 to 255 whose largest number is 1 would have no ink.

    Args:
        numbers: of one picture or of several, which have the same scale.
        allowed: their types.
        what: their name in messages, or a tensor's datatype.

    Raises BadNumbersError, naming the first number outside 0 to 255, or that they are normalized otherwise.
    """
    types = set(map(type, numbers))
    if invalid := types - allowed:
        index, found = next((i, n) for i, n in enumerate(numbers) if type(n) in invalid)
        raise BadNumbersError(f"only {what} are allowed, but value {index} is {json_type(found)}")
    try:
        array = np.asarray(numbers, dtype=np.float64)
    except OverflowError as error:
        raise BadNumbersError("every number must be from 0 to 255, but one is too large for a float") from error
    if len(array) and abs(array.min() + MEAN / DEVIATION) < 1e-3 and array.max() <= (1 - MEAN) / DEVIATION + 1e-3:
        raise BadNumbersError(
            f"the numbers are normalized by the mean {MEAN} and the deviation {DEVIATION}; "
            f"send x * {DEVIATION} + {MEAN} instead"
        )
    if not (inside := (array >= 0) & (array <= 255)).all():
        index = int(inside.argmin())
        raise BadNumbersError(f"every number must be from 0 to 255, but value {index} is {array[index]:g}")
    if 0 < array.max(initial=0) <= 1:
        if what not in FLOATS and float not in types:
            raise BadNumbersError("the largest number is 1, but the scale of integers is 0 to 255; multiply by 255")
        array = array * 255
    return array.round().astype(np.uint8)


def json_type(value: object) -> str:
    """A description of a value's JSON type."""
    return JSON_NAMES.get(type(value), f"the number {str(value)[:20]}" if isinstance(value, float) else "a number")


def _strings(shape: list[int], data: list[Any]) -> list[str]:
    strings, _ = flatten(data)
    if invalid := [string for string in strings if not isinstance(string, str)]:
        raise BadTensorError(f"BYTES must be base64 strings, but the tensor's data holds {json_type(invalid[0])}")
    if shape != [-1] and math.prod(shape) != len(strings):
        raise BadTensorError(f"the tensor's shape is {shape}, but its data holds {len(strings)} strings")
    return strings


def _count(shape: list[int], size: int) -> int:
    """How many pictures a numeric tensor of this shape and number of values holds."""
    single = tuple(shape) in PICTURE_SHAPES
    count = 1 if single else size // SIDE**2 if shape[0] == -1 else shape[0]
    if not (single or tuple(shape[1:]) in PICTURE_SHAPES):
        raise BadTensorError(
            f"the tensor's shape is {shape}; [N, 784], [N, 28, 28], [N, 1, 28, 28] and [N, 28, 28, 1] are accepted"
        )
    if count < 1 or count * SIDE**2 != size:
        raise BadTensorError(f"the tensor's shape is {shape}, but its data holds {size} numbers")
    return count
