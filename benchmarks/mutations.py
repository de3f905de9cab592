"""Requests to a digit server: good ones in every form, and ones that went wrong in every way.

A maker takes a random generator and gives a request. What went wrong may by chance still be a request that can be
answered; that it is answered at all, and with no 5xx, is what counts.
"""

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import presentations

Generator = np.random.Generator
Digits = NDArray[np.uint8]  # (N, 28, 28)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
FILE_TYPES = ("image/png", "image/jpeg", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded")
TYPES = (
    *(*FILE_TYPES, "application/json", "application/json; charset=utf-16", "text/html", "multipart/form-data"),
    *("multipart/form-data; boundary=b", "multipart/mixed; boundary=b", "application/octet-stream; x", "/", ";", "é"),
)
PATHS = (
    *("/explanations/mnist", "/v1/models/mnist:predict", "/v2/models/mnist/infer", "/predictions/mnist?%zz"),
    *("/predictions/nobody", "/predictions", "/predictions/mnist/9", "/%zz", "/v2/models//infer", "/nowhere"),
)
STRANGE: Sequence[Any] = (
    *(None, True, -1, 256, 0.5, 10**30, -(10**400), float("nan"), float("inf"), "", "7", "é\u0000", "data:,", "=="),
    *([], {}, [[]], [{}], [None] * 784, [1] * 783, [[0] * 28] * 27, [0] * 784, ["a"] * 784, [[[[[[0]]]]]], {"b64": 1}),
)


@dataclass(frozen=True)
class Ask:
    """One request."""

    body: bytes
    content_type: str | None
    path: str = "/predictions/mnist"


Maker = Callable[[Generator], Ask]


def files(digits: Digits, seed: int) -> list[bytes]:
    """Pictures of digits: every presentation, and every format."""
    dice = np.random.default_rng(seed)
    shown = [kind(digits[n % len(digits)], dice) for n, kind in enumerate(presentations.KINDS.values())]
    for n, form in enumerate(FORMATS):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(shown[n])).convert("RGB").save(buffer, form)
        shown.append(buffer.getvalue())
    return shown


def good(files: Sequence[bytes], digits: Digits, seed: int, count: int = 60) -> list[Ask]:
    """Requests that must be answered, in every form that is understood."""
    dice = np.random.default_rng(seed)
    return [_good(files, digits, dice) for _ in range(count)]


def _good(files: Sequence[bytes], digits: Digits, dice: Generator) -> Ask:
    content = files[dice.integers(len(files))]
    return [
        lambda: Ask(content, str(dice.choice(FILE_TYPES))),
        lambda: Ask(content, None),
        lambda: multipart([content] * int(dice.integers(1, 4))),
        lambda: _json(spoken(content, digits, dice)),
    ][dice.integers(4)]()


def spoken(content: bytes, digits: Digits, dice: Generator) -> dict[str, Any]:
    """A picture in the JSON of one of the protocols."""
    text, pixels = base64.b64encode(content).decode(), digits[dice.integers(len(digits))]
    tensors = [
        {"name": "a", "shape": [2], "datatype": "BYTES", "data": [text, text]},
        {"name": "a", "shape": [1, 28, 28], "datatype": "FP32", "data": pixels.ravel().tolist()},
    ]
    picture = [text, f"data:image/png;base64,{text}", pixels.tolist(), pixels.ravel().tolist()][dice.integers(4)]
    return [
        {"image": picture},
        {"instances": [picture, {"image_bytes": {"b64": text}}]},
        {"id": "a", "inputs": [tensors[dice.integers(2)]]},
    ][dice.integers(3)]


def multipart(contents: Sequence[bytes]) -> Ask:
    """Files as the fields of a form, all of one name."""
    head = b'--b\r\nContent-Disposition: form-data; name="data"; filename="a"\r\nContent-Type: image/png\r\n\r\n'
    return Ask(b"".join(head + c + b"\r\n" for c in contents) + b"--b--\r\n", "multipart/form-data; boundary=b")


def bad(files: Sequence[bytes], digits: Digits) -> Mapping[str, Maker]:
    """Makers of requests that went wrong, by what went wrong."""

    def file(dice: Generator) -> bytes:
        return files[dice.integers(len(files))]

    blank = io.BytesIO()
    Image.new("L", (90, 90), 255).save(blank, "PNG")
    size = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    checked = struct.pack(">I", 13) + size + struct.pack(">I", zlib.crc32(size))
    huge = b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 100_000) + b"IDAT" + bytes(100_004)
    return {
        "a damaged file": lambda dice: Ask(damaged(file(dice), dice), "image/png"),
        "a cut file": lambda dice: Ask((content := file(dice))[: dice.integers(len(content))], "image/jpeg"),
        "a damaged file in base64": lambda dice: _json(spoken(damaged(file(dice), dice), digits, dice)),
        "a value of JSON": lambda dice: _json(twisted(spoken(file(dice), digits, dice), dice)),
        "the text of JSON": lambda dice: (lambda ask: replace(ask, body=damaged(ask.body, dice)))(
            _json(spoken(file(dice), digits, dice))
        ),
        "deep JSON": lambda dice: Ask(b'{"image": ' + b"[" * int(dice.integers(1, 100_000)), "application/json"),
        "another Content-Type": lambda dice: replace(_good(files, digits, dice), content_type=str(dice.choice(TYPES))),
        "another address": lambda dice: replace(_good(files, digits, dice), path=str(dice.choice(PATHS))),
        "damaged multipart": lambda dice: (lambda ask: replace(ask, body=damaged(ask.body, dice)))(
            multipart([file(dice)] * int(dice.integers(1, 4)))
        ),
        "a form": lambda dice: Ask(b"a=%&" * int(dice.integers(400)) + dice.bytes(9), FILE_TYPES[-1]),
        "too many pictures": lambda dice: _json({"instances": [1] * int(dice.integers(65, 5000))}),
        "any bytes": lambda dice: Ask(dice.bytes(int(dice.integers(300))), str(dice.choice(TYPES))),
        "nothing": lambda dice: Ask(b"", str(dice.choice(TYPES))),
        "a blank picture": lambda dice: Ask(blank.getvalue(), "image/png"),
        "too many pixels": lambda dice: Ask(huge, "image/png"),
        "too many bytes": lambda dice: Ask(bytes(11 * 2**20), "image/png"),
    }


def damaged(content: bytes, dice: Generator) -> bytes:
    """Some bytes changed, doubled, moved or left out, rather at the start, where headers are."""
    damaged = bytearray(content)
    for _ in range(int(dice.integers(1, 6))):
        place = int(len(damaged) * dice.random() ** 3)
        length = int(dice.integers(1, 20))
        piece = [dice.bytes(length), b"", bytes(damaged[place : place + length]) * 2, b"\xff" * 4][dice.integers(4)]
        damaged[place : place + [1, length, 0][dice.integers(3)]] = piece
    return bytes(damaged)


def twisted(value: Any, dice: Generator) -> Any:
    """One value of a JSON document, anywhere in it, replaced by a strange one or left out."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = list(value)[dice.integers(len(value))]
        rest = {name: part for name, part in value.items() if name != key}
        return rest if dice.random() < 0.1 else {**rest, key: twisted(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.7:
        place = int(dice.integers(len(value)))
        left = [] if dice.random() < 0.1 else [twisted(value[place], dice)]
        return [*value[:place], *left, *value[place + 1 :]]
    return STRANGE[dice.integers(len(STRANGE))]


def _json(value: object) -> Ask:
    return Ask(json.dumps(value).encode(), "application/json")
