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


def binary(shape: list[int], datatype: str, content: bytes, **changed: object) -> tuple[bytes, str]:
    """A request of the Open Inference Protocol with binary data, as its body and the length of its JSON."""
    tensor = {"shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(content)}}
    header = json.dumps({"inputs": [{"name": "x", **tensor, **changed}]}).encode()
    return header + content, str(len(header))


# Bodies with binary data, and the header that says where their JSON ends.
BINARY: Mapping[str, Callable[[], tuple[bytes, str]]] = {
    "ten megabytes of numbers": lambda: binary([-1, 784], "UINT8", bytes(784 * 13_000)),
    "ten megabytes of floats": lambda: binary([-1, 784], "FP64", bytes(784 * 8 * 1_600)),
    "ten megabytes of empty strings": lambda: binary([-1], "BYTES", bytes(10_000_000)),
    "ten megabytes of one string": lambda: binary([1], "BYTES", struct.pack("<I", 10_000_000) + bytes(10_000_000)),
    "a string longer than the body": lambda: binary([1], "BYTES", b"\xff" * 1_000_000),
    "a size that lies": lambda: (binary([1, 784], "UINT8", bytes(784))[0] + bytes(9_000_000), "200"),
    "a long size": lambda: binary([1], "UINT8", b"1", parameters={"binary_data_size": 10**4000}),
    "a long length": lambda: (bytes(100), "9" * 4000),
    "a huge shape": lambda: binary([2**62, 784], "FP32", bytes(3136)),
    "a negative shape": lambda: binary([-(2**62), -784], "FP32", bytes(3136)),
    "many outputs": lambda: (
        (body := json.dumps({"inputs": [], "outputs": [{"name": "note"}] * 300_000}).encode()),
        str(len(body)),
    ),
    "a bomb of NaN": lambda: binary([64, 784], "FP16", b"\xff" * 2 * 64 * 784),
}


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that has a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A whole number of a protobuf message."""
    head, value = value & 127, value >> 7
    return bytes([head | 128]) + varint(value) if value else bytes([head])


def infer(tensor: bytes = b"", raw: bytes = b"", *, shape: tuple[int, ...] = (28, 28), rest: bytes = b"") -> bytes:
    """A ModelInferRequest with a tensor of FP32, `tensor` further fields of it, and raw_input_contents."""
    sizes = b"".join(varint(size % 2**64) for size in shape)
    described = field(1, b"x") + field(2, b"FP32") + field(3, sizes) + tensor
    return field(1, b"mnist") + field(5, described) + (field(7, raw) if raw else b"") + rest


# Messages for the method ModelInfer of the gRPC service inference.GRPCInferenceService.
MESSAGES: Mapping[str, Callable[[], bytes]] = {
    "ten megabytes": lambda: infer(raw=bytes(10_000_000)),
    "many inputs": lambda: infer(rest=field(5, b"") * 4_000_000),
    "some inputs": lambda: infer(rest=field(5, b"") * 200_000),
    "many outputs": lambda: infer(rest=field(6, b"") * 4_000_000),
    "many raw contents": lambda: infer(rest=field(7, b"") * 4_000_000),
    "many numbers": lambda: infer(field(5, field(3, b"\x01" * 9_000_000))),
    "some numbers": lambda: infer(field(5, field(6, bytes(400_000)))),
    "some strings": lambda: field(1, b"mnist") + field(5, field(2, b"BYTES") + field(5, field(8, b"") * 200_000)),
    "many parameters": lambda: infer(rest=b"".join(field(4, field(1, b"%d" % n)) for n in range(500_000))),
    "a huge shape": lambda: infer(raw=bytes(3136), shape=(2**62, 784)),
    "a negative shape": lambda: infer(raw=bytes(3136), shape=(-1, -784)),
    "a long id": lambda: infer(raw=bytes(3136), rest=field(3, "é".encode() * 100_000)),
    "invalid UTF-8": lambda: infer(raw=bytes(3136), rest=field(3, b"\xff\xfe")),
    "no protobuf": lambda: b"\xff" * 1000,
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
