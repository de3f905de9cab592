"""Valid and invalid requests for `benchmarks.fuzz`, in every form that the server reads.

Functions that take a random generator use it for all choices. By chance, a request that is meant to be invalid may be
valid; the server has to answer it in any case, and not with a 5xx.
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

from mnist_lightning.evaluation.presentations import PRESENTATIONS, encode

Generator = np.random.Generator
Digits = NDArray[np.uint8]  # (N, 28, 28)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
FILE_TYPES = ("image/png", "image/jpeg", "application/octet-stream", "text/plain", "application/x-www-form-urlencoded")
CONTENT_TYPES = (
    *(*FILE_TYPES, "application/json", "application/json; charset=utf-16", "text/html", "multipart/form-data"),
    *("multipart/form-data; boundary=b", "multipart/mixed; boundary=b", "application/octet-stream; x", "/", ";", "é"),
)
PATHS = (
    *("/explanations/mnist", "/v1/models/mnist:predict", "/v2/models/mnist/infer", "/predictions/mnist?%zz"),
    *("/predictions/nobody", "/predictions", "/predictions/mnist/9", "/%zz", "/v2/models//infer", "/nowhere"),
)
UNEXPECTED_VALUES: Sequence[Any] = (
    *(None, True, -1, 256, 0.5, 10**30, -(10**400), float("nan"), float("inf"), "", "7", "é\u0000", "data:,", "=="),
    *([], {}, [[]], [{}], [None] * 784, [1] * 783, [[0] * 28] * 27, [0] * 784, ["a"] * 784, [[[[[[0]]]]]], {"b64": 1}),
)


@dataclass(frozen=True)
class FuzzRequest:
    """A POST request."""

    body: bytes
    content_type: str | None
    path: str = "/predictions/mnist"


RequestFactory = Callable[[Generator], FuzzRequest]


def image_files(digits: Digits, seed: int) -> list[bytes]:
    """Image files of digits, in every presentation and in every file format."""
    rng = np.random.default_rng(seed)
    files = [present(digits[n % len(digits)], rng) for n, present in enumerate(PRESENTATIONS.values())]
    for n, file_format in enumerate(FORMATS):
        image = np.asarray(Image.open(io.BytesIO(files[n])).convert("RGB"))
        files.append(encode(image, file_format))
    return files


def valid_requests(files: Sequence[bytes], digits: Digits, seed: int, count: int = 60) -> list[FuzzRequest]:
    """Requests that the server has to answer with 200."""
    rng = np.random.default_rng(seed)
    return [_valid_request(files, digits, rng) for _ in range(count)]


def _valid_request(files: Sequence[bytes], digits: Digits, rng: Generator) -> FuzzRequest:
    content = files[int(rng.integers(len(files)))]
    return [
        lambda: FuzzRequest(content, str(rng.choice(FILE_TYPES))),
        lambda: FuzzRequest(content, None),
        lambda: multipart_request([content] * int(rng.integers(1, 4))),
        lambda: _json_request(json_payload(content, digits, rng)),
    ][rng.integers(4)]()


def json_payload(content: bytes, digits: Digits, rng: Generator) -> dict[str, Any]:
    """An image file, or one of the digits, in the JSON of a random protocol."""
    text, pixels = base64.b64encode(content).decode(), digits[rng.integers(len(digits))]
    tensors = [
        {"name": "a", "shape": [2], "datatype": "BYTES", "data": [text, text]},
        {"name": "a", "shape": [1, 28, 28], "datatype": "FP32", "data": pixels.ravel().tolist()},
    ]
    image = [text, f"data:image/png;base64,{text}", pixels.tolist(), pixels.ravel().tolist()][rng.integers(4)]
    return [
        {"image": image},
        {"instances": [image, {"image_bytes": {"b64": text}}]},
        {"id": "a", "inputs": [tensors[rng.integers(2)]]},
    ][rng.integers(3)]


def multipart_request(contents: Sequence[bytes]) -> FuzzRequest:
    """Files as the fields of a form; all fields have the same name."""
    head = b'--b\r\nContent-Disposition: form-data; name="data"; filename="a"\r\nContent-Type: image/png\r\n\r\n'
    body = b"".join(head + content + b"\r\n" for content in contents) + b"--b--\r\n"
    return FuzzRequest(body, "multipart/form-data; boundary=b")


def invalid_requests(files: Sequence[bytes], digits: Digits) -> Mapping[str, RequestFactory]:
    """Factories of invalid requests, by kind."""

    def file(rng: Generator) -> bytes:
        return files[int(rng.integers(len(files)))]

    def payload(rng: Generator) -> dict[str, Any]:
        return json_payload(file(rng), digits, rng)

    def with_mutated_body(request: FuzzRequest, rng: Generator) -> FuzzRequest:
        return replace(request, body=mutate_bytes(request.body, rng))

    blank, oversized = encode(np.full((90, 90), 255, np.uint8)), _oversized_png()
    return {
        "mutated file": lambda rng: FuzzRequest(mutate_bytes(file(rng), rng), "image/png"),
        "truncated file": lambda rng: FuzzRequest((content := file(rng))[: rng.integers(len(content))], "image/jpeg"),
        "mutated file in base64": lambda rng: _json_request(json_payload(mutate_bytes(file(rng), rng), digits, rng)),
        "mutated JSON value": lambda rng: _json_request(mutate_json(payload(rng), rng)),
        "mutated JSON text": lambda rng: with_mutated_body(_json_request(payload(rng)), rng),
        "deep JSON": lambda rng: FuzzRequest(b'{"image": ' + b"[" * int(rng.integers(1, 100_000)), "application/json"),
        "other Content-Type": lambda rng: replace(
            _valid_request(files, digits, rng), content_type=str(rng.choice(CONTENT_TYPES))
        ),
        "other path": lambda rng: replace(_valid_request(files, digits, rng), path=str(rng.choice(PATHS))),
        "mutated multipart": lambda rng: with_mutated_body(
            multipart_request([file(rng)] * int(rng.integers(1, 4))), rng
        ),
        "form": lambda rng: FuzzRequest(b"a=%&" * int(rng.integers(400)) + rng.bytes(9), FILE_TYPES[-1]),
        "too many pictures": lambda rng: _json_request({"instances": [1] * int(rng.integers(65, 5000))}),
        "random bytes": lambda rng: FuzzRequest(rng.bytes(int(rng.integers(300))), str(rng.choice(CONTENT_TYPES))),
        "empty body": lambda rng: FuzzRequest(b"", str(rng.choice(CONTENT_TYPES))),
        "blank picture": lambda rng: FuzzRequest(blank, "image/png"),
        "too many pixels": lambda rng: FuzzRequest(oversized, "image/png"),
        "too many bytes": lambda rng: FuzzRequest(bytes(11 * 2**20), "image/png"),
    }


def mutate_bytes(content: bytes, rng: Generator) -> bytes:
    """Replace, insert, double or delete one to five pieces, preferably near the start, where headers are."""
    mutated = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        start = int(len(mutated) * rng.random() ** 3)
        length = int(rng.integers(1, 20))
        piece = [rng.bytes(length), b"", bytes(mutated[start : start + length]) * 2, b"\xff" * 4][rng.integers(4)]
        mutated[start : start + [1, length, 0][rng.integers(3)]] = piece
    return bytes(mutated)


def mutate_json(value: Any, rng: Generator) -> Any:
    """Replace one random value of a JSON document by one of UNEXPECTED_VALUES, or delete it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        rest = {name: part for name, part in value.items() if name != key}
        return rest if rng.random() < 0.1 else {**rest, key: mutate_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        index = int(rng.integers(len(value)))
        kept = [] if rng.random() < 0.1 else [mutate_json(value[index], rng)]
        return [*value[:index], *kept, *value[index + 1 :]]
    return UNEXPECTED_VALUES[int(rng.integers(len(UNEXPECTED_VALUES)))]


def _oversized_png() -> bytes:
    """A PNG file of 100 kB whose header declares 50,000×50,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 100_000) + b"IDAT" + bytes(100_004)


def _json_request(value: object) -> FuzzRequest:
    return FuzzRequest(json.dumps(value).encode(), "application/json")
