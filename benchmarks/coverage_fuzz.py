"""Fuzz what a worker does with a request's bytes, guided by the lines that they reach.

    .venv/bin/python -m pip install atheris==3.0.0
    .venv/bin/python -m benchmarks.coverage_fuzz build/corpus tests/corpus -max_total_time=3600 -max_len=20000

The arguments are libFuzzer's: a folder for new inputs, folders of given ones, flags. It ends with the first input that
raises anything but BadPictureError, whose answer is too long, or that takes more than TIMEOUT seconds.
"""

import importlib
import json
import sys

from benchmarks.common import make_parser

TIMEOUT = 10  # seconds for one input
MAX_ANSWER = 100_000  # bytes; 64 pictures take 20,000
# By the first byte of an input: the headers of a request.
HEADERS = (
    {"Content-Type": "application/octet-stream"},
    {"Content-Type": "application/json"},
    {"mnist-form-type": "multipart/form-data; boundary=abc"},
    {"mnist-form-type": "application/x-www-form-urlencoded"},
)


def check_request(data: bytes) -> None:
    """Do what the handler does with one request, whose headers are chosen by the first byte. Raises on a fault."""
    from mnist_lightning.inference.errors import error_response
    from mnist_lightning.inference.protocols import parse_request
    from mnist_lightning.preprocessing.errors import BadPictureError

    answer = {"prediction": 7, "confidence": 0.9, "probabilities": [0.1] * 10, "is_digit": 0.9}
    try:
        request = parse_request({"body": bytearray(data[1:])}, HEADERS[data[0] % len(HEADERS)] if data else {})
        body = json.dumps(request.format([answer] * len(request.images))).encode()
    except BadPictureError as error:
        _, body = error_response(error)
    if len(body) > MAX_ANSWER:
        raise AssertionError(f"an answer of {len(body):,} bytes")


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    make_parser(__doc__).parse_known_args()  # for --help; all other arguments are libFuzzer's
    atheris = importlib.import_module("atheris")  # no dependency of the project
    with atheris.instrument_imports(include=["mnist_lightning", "multipart"]):
        import mnist_lightning.inference.protocols  # noqa: F401
    atheris.Setup([*sys.argv, f"-timeout={TIMEOUT}"], check_request)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
