"""A process that answers pictures as the server does: python -m mnist_lightning.offline.worker ARCHIVE

It reads requests on standard input and writes responses to standard output, as `frames` describes, until its input
ends: also when the process that started it is killed.
"""

import contextlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import cv2

from mnist_lightning.inference.errors import error_response, internal_error, strip_traceback
from mnist_lightning.inference.loader import Model
from mnist_lightning.inference.protocols import Request, parse_request
from mnist_lightning.inference.timeout import REQUEST_SECONDS, CpuBudget, install_handler
from mnist_lightning.offline.archive import load_archive
from mnist_lightning.offline.frames import Response, read_frame, to_frame
from mnist_lightning.preprocessing.errors import BadPictureError


def main() -> None:
    """Answer requests until there are no more."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no frame
    cv2.setNumThreads(1)
    install_handler()
    try:
        model = load_archive(Path(sys.argv[1]))
    except RuntimeError as error:
        _write(output, str(error))
        return
    with contextlib.suppress(BrokenPipeError):
        _write(output, [])
        while count := read_frame(sys.stdin.buffer):
            pictures = [read_frame(sys.stdin.buffer) for _ in range(int(count))]
            _write(output, answer(model, pictures))


def answer(model: Model, pictures: Sequence[bytes]) -> list[Response]:
    """The server's responses to requests with one of the pictures each."""
    requests = [_parse(picture) for picture in pictures]
    images = [request.images if isinstance(request, Request) else [] for request in requests]
    return [
        (200, request.format([reading.answer for reading in own])) if isinstance(request, Request) else _refuse(request)
        for request, own in zip(requests, model.read(images), strict=True)
    ]


def _write(file: IO[bytes], value: object) -> None:
    file.write(to_frame(json.dumps(value).encode()))
    file.flush()


def _parse(picture: bytes) -> Request | Exception:
    try:
        with CpuBudget(REQUEST_SECONDS).spend(CpuBudget(math.inf)):
            return parse_request({"body": picture}, {})
    except BadPictureError as error:
        return strip_traceback(error)
    except Exception as error:  # the boundary: one picture's failure must not reach the others
        return internal_error(error)


def _refuse(error: Exception) -> Response:
    status, body = error_response(error)
    return status, json.loads(body)


if __name__ == "__main__":
    main()
