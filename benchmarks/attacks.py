"""Requests that are made to hurt a server: by its time, by its memory, or by what it repeats of them.

Each is refused or answered, and no other request notices. tests/server/test_attacks.py sends each of them beside
ordinary requests, and benchmarks/endurance.py all of them for hours.
"""

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

MULTIPART = {"Content-Type": "multipart/form-data; boundary=abc"}
JSON = {"Content-Type": "application/json"}
RAW = {"Content-Type": "application/octet-stream"}


def part(headers: str, content: bytes = b"x") -> bytes:
    """A part of a multipart body."""
    return f"--abc\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"


END = b"--abc--\r\n"
FIELD = 'Content-Disposition: form-data; name="a"'

FORMS: Mapping[str, Callable[[], bytes]] = {
    "spaces in a name": lambda: part(f'Content-Disposition: form-data; name="{" " * 60_000}x"') + END,
    "spaces around a name": lambda: part(f'Content-Disposition: form-data; {" " * 900}name{" " * 900}="a"') + END,
    "a long header": lambda: part(f"{FIELD}\r\nX-Long: {'x' * 5_000_000}") + END,
    "many headers": lambda: part(f"{FIELD}\r\n" + "\r\n".join(["X-Many: x"] * 200_000)) + END,
    "many fields": lambda: part(FIELD, b"") * 100_000 + END,
    "many names": lambda: (
        b"".join(part(f'Content-Disposition: form-data; name="{n}"', b"x") for n in range(100_000)) + END
    ),
    "nearly boundaries": lambda: part(FIELD, b"\r\n--ab" * 1_500_000) + END,
    "no end": lambda: part(FIELD, bytes(9_000_000)),
}


def numbers(**changed: object) -> bytes:
    """A request of the Open Inference Protocol with one tensor of 784 zeros, and what is changed of it."""
    tensor = {"name": "x", "shape": [1, 784], "datatype": "UINT8", "data": [0] * 784}
    return json.dumps({"inputs": [{**tensor, **changed}]}, ensure_ascii=False).encode()


BODIES: Mapping[str, Callable[[], bytes]] = {
    "a long id": lambda: json.dumps(
        {"id": "é" * 2_000_000, "inputs": [json.loads(numbers())["inputs"][0]]}, ensure_ascii=False
    ).encode(),
    "a long shape": lambda: numbers(shape=[1] * 1_000_000),
    "a shape of long numbers": lambda: numbers(shape=[10**4000, 784]),
    "a long datatype": lambda: numbers(datatype="é" * 2_000_000),
    "a long key": lambda: json.dumps({"é" * 2_000_000: 1}, ensure_ascii=False).encode(),
    "empty lists": lambda: b'{"instances": [' + b",".join([b"[]"] * 3_000_000) + b"]}",
    "empty objects": lambda: b'{"instances": [' + b",".join([b"{}"] * 3_000_000) + b"]}",
    "floats": lambda: b'{"image": [' + b",".join([b"1.5"] * 2_000_000) + b"]}",
    "deep lists": lambda: b'{"image": ' + b"[" * 5_000_000,
    "long base64": lambda: json.dumps({"image": "é" * 4_000_000}, ensure_ascii=False).encode(),
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(side: int) -> Image.Image:
    """A square of random colors."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def tiled_tiff(side: int, tile: int) -> bytes:
    """A gray TIFF of side×side pixels in one tile of tile×tile; the tile's data are missing after the first rows."""
    data = zlib.compress(bytes(tile * min(tile, 1000)))
    # ImageWidth, ImageLength, BitsPerSample, Compression, PhotometricInterpretation, SamplesPerPixel and the tile's.
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 0, 325: len(data)}
    tags[324] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


PICTURES: Mapping[str, Callable[[], bytes]] = {
    "a large WebP": lambda: encoded(Image.new("RGB", (7071, 7071), "white"), "WEBP"),
    "the largest WebP": lambda: encoded(Image.new("RGB", (3160, 3160), "white"), "WEBP"),
    "a large PNG of 16 bits": lambda: encoded(Image.new("I;16", (7000, 7000)), "PNG"),
    "the largest PNG of 16 bits": lambda: encoded(Image.new("I;16", (2880, 2880), 1), "PNG"),
    "the largest PNG": lambda: encoded(Image.new("RGB", (2880, 2880), "white"), "PNG"),
    "the largest PNG with alpha": lambda: encoded(Image.new("RGBA", (2880, 2880), "white"), "PNG"),
    "the largest GIF": lambda: encoded(Image.new("P", (2880, 2880)), "GIF"),
    "the largest TIFF": lambda: encoded(Image.new("CMYK", (2880, 2880)), "TIFF", compression="tiff_lzw"),
    "a TIFF with a large tile": lambda: tiled_tiff(28, 30_000),
    "a large progressive JPEG": lambda: encoded(Image.new("RGB", (7000, 7000), "white"), "JPEG", progressive=True),
    "the largest progressive JPEG": lambda: encoded(Image.new("RGB", (3530, 3530)), "JPEG", progressive=True),
    "the largest JPEG": lambda: encoded(Image.new("RGB", (7070, 7070), "white"), "JPEG"),
    "the largest AVIF": lambda: encoded(Image.new("RGB", (5000, 5000), "white"), "AVIF", speed=10),
    "a JPEG of noise": lambda: encoded(noise(3000), "JPEG", quality=70),
}
