"""Pictures as numbers in JSON, and as the tensors of the Open Inference Protocol."""

import math
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lightning.inference.errors import BadNumbersError, BadTensorError, TooManyPicturesError
from mnist_lightning.preprocessing.decode import Bytes

SIDE = 28
PICTURE_SHAPES = (
    *((SIDE * SIDE,), (SIDE, SIDE), (1, SIDE, SIDE), (SIDE, SIDE, 1)),
    *((1, SIDE * SIDE), (1, 1, SIDE, SIDE), (1, SIDE, SIDE, 1)),
)
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels from 0 to 1, by which PyTorch's examples normalize them
MAX_PICTURES = 64  # of one request
MAX_DIMENSIONS, MAX_SIZE = 4, 1_000_000  # of a tensor's shape
INTEGERS, NUMBERS = frozenset({int}), frozenset({int, float})  # JSON's 7.0 is not an integer
DTYPES = {  # NumPy's names of the numbers that a tensor may hold, as binary data has them
    **{f"{kind}{8 * size}": f"<{kind[0].lower()}{size}" for kind in ("UINT", "INT") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
FLOATS = ("FP16", "FP32", "FP64")  # 1 stands for 1.0 in their data, because JavaScript writes it so
LENGTH_BYTES = 4  # before each string of a tensor's binary data, little-endian
BASE64_START = re.compile(rb"[A-Za-z0-9+/]{32}|data:")  # no picture file starts like this
JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def parse_pixels(value: list[Any]) -> Bytes:
    """Convert 784 numbers, flat or in one of PICTURE_SHAPES, to (28, 28) uint8. Raises BadNumbersError as `scale`."""
    numbers, shape = flatten(value)
    if shape not in PICTURE_SHAPES:
        raise BadNumbersError(f"784 numbers or 28 rows of 28 are expected, got the shape {list(shape)}")
    return scale(numbers, NUMBERS).reshape(SIDE, SIDE)


def parse_tensor(tensor: Mapping[str, Any], content: bytes | None = None) -> list[str | bytes] | list[Bytes]:
    """The pictures in an input tensor: strings if its datatype is BYTES, (28, 28) uint8 otherwise.

    The shape is that of one picture or of N pictures, N first; N may be -1, as in KServe's examples.

    Args:
        tensor: its JSON.
        content: its binary data, which is then in place of `data`.

    Raises BadTensorError, BadNumbersError as `scale`, or TooManyPicturesError.
    """
    if missing := [name for name in ("shape", "datatype", "data") if name not in tensor]:
        if missing != ["data"] or content is None:
            raise BadTensorError(f"the input tensor has no {' and no '.join(missing)}")
    elif content is not None:
        raise BadTensorError("the input tensor has data both in the JSON and after it")
    shape, datatype = tensor["shape"], tensor["datatype"]
    if not (isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS and set(map(type, shape)) == INTEGERS):
        raise BadTensorError(
            f"the tensor's shape must be a list of at most {MAX_DIMENSIONS} integers, for example [1, 784]"
        )
    if max(map(abs, shape)) > MAX_SIZE:
        raise BadTensorError(f"a tensor's shape must not hold numbers above {MAX_SIZE:,}")
    if not (isinstance(datatype, str) and datatype in ("BYTES", *DTYPES)):
        raise BadTensorError(f"the tensor's datatype must be BYTES or one of {', '.join(DTYPES)}")
    if content is not None:
        return _split_strings(shape, content) if datatype == "BYTES" else _read_numbers(shape, datatype, content)
    if not isinstance(data := tensor["data"], list):
        raise BadTensorError(f"the tensor's data is {json_type(data)}, not a list")
    if datatype == "BYTES":
        return _strings(shape, data)
    numbers, got = flatten(data)
    pixels = scale(numbers, NUMBERS if datatype in FLOATS else INTEGERS, datatype)
    count = _count(shape, len(pixels))
    if len(got) > 1 and got != (count, *shape[1:]) and got != tuple(shape):
        raise BadTensorError(f"the tensor's shape is {shape}, but its data has the shape {list(got)}")
    return list(pixels.reshape(count, SIDE, SIDE))


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
    return _scale_array(array, has_floats=what in FLOATS or float in types)


def _scale_array(array: NDArray[np.float64], *, has_floats: bool) -> Bytes:
    """Convert numbers to pixels as `scale` does."""
    if len(array) and abs(array.min() + MEAN / DEVIATION) < 1e-3 and array.max() <= (1 - MEAN) / DEVIATION + 1e-3:
        raise BadNumbersError(
            f"the numbers are normalized by the mean {MEAN} and the deviation {DEVIATION}; "
            f"send x * {DEVIATION} + {MEAN} instead"
        )
    if not (inside := (array >= 0) & (array <= 255)).all():
        index = int(inside.argmin())
        raise BadNumbersError(f"every number must be from 0 to 255, but value {index} is {array[index]:g}")
    if 0 < array.max(initial=0) <= 1:
        if not has_floats:
            raise BadNumbersError("the largest number is 1, but the scale of integers is 0 to 255; multiply by 255")
        array = array * 255
    return array.round().astype(np.uint8)


def json_type(value: object) -> str:
    """A description of a value's JSON type."""
    return JSON_NAMES.get(type(value), f"the number {str(value)[:20]}" if isinstance(value, float) else "a number")


def _strings(shape: list[int], data: list[Any]) -> list[str | bytes]:
    strings, _ = flatten(data)
    if invalid := [string for string in strings if not isinstance(string, str)]:
        raise BadTensorError(f"BYTES must be base64 strings, but the tensor's data holds {json_type(invalid[0])}")
    _check_strings(shape, len(strings))
    return strings


def _check_strings(shape: list[int], count: int) -> None:
    if shape != [-1] and (min(shape) < 0 or math.prod(shape) != count):
        raise BadTensorError(f"the tensor's shape is {shape}, but its data holds {count} strings")


def _split_strings(shape: list[int], content: bytes) -> list[str | bytes]:
    """The strings in a tensor's binary data, each after its length: picture files, or base64 as text."""
    strings: list[str | bytes] = []
    at = 0
    while at < len(content):
        if len(strings) == MAX_PICTURES:
            raise TooManyPicturesError(f"more than {MAX_PICTURES} pictures in one request")
        if at + LENGTH_BYTES > len(content):
            raise BadTensorError(f"the binary data ends within the length of data[{len(strings)}]")
        size = int.from_bytes(content[at : at + LENGTH_BYTES], "little")
        string = content[at + LENGTH_BYTES : at + LENGTH_BYTES + size]
        at += LENGTH_BYTES + size
        if at > len(content):
            raise BadTensorError(
                f"data[{len(strings)}] has {size:,} bytes by its length, but {len(string):,} follow in the binary data"
            )
        strings.append(string.decode("ascii", "replace") if BASE64_START.match(string) else string)
    _check_strings(shape, len(strings))
    return strings


def _read_numbers(shape: list[int], datatype: str, content: bytes) -> list[Bytes]:
    """The pictures in a numeric tensor's binary data."""
    dtype = np.dtype(DTYPES[datatype])
    size, rest = divmod(len(content), dtype.itemsize)
    if rest:
        raise BadTensorError(
            f"the binary data has {len(content):,} bytes, no multiple of {datatype}'s {dtype.itemsize}"
        )
    count = _count(shape, size)
    if count > MAX_PICTURES:
        raise TooManyPicturesError(f"{count:,} pictures in one request; the limit is {MAX_PICTURES}")
    with np.errstate(invalid="ignore"):  # NaN, which is refused as out of range
        pixels = _scale_array(np.frombuffer(content, dtype).astype(np.float64), has_floats=datatype in FLOATS)
    return list(pixels.reshape(count, SIDE, SIDE))


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
