"""What can be wrong with a request, and how it is told: an HTTP status and a JSON body that names the remedy."""

import json
from collections.abc import Mapping

from mnist_lightning.preprocessing.decode import BadPictureError, TooManyPixelsError

ACCEPTED = (
    "accepted are a picture file as the raw body (any Content-Type) or as multipart fields, "
    'JSON {"image": PICTURE}, {"instances": [PICTURE, ...]} or {"inputs": [TENSOR]}, '
    "a PICTURE being base64 of a file or 784 numbers from 0 to 255"
)


class EmptyBodyError(BadPictureError):
    """No picture was sent."""


class FormEncodedError(BadPictureError):
    """The body was declared to be, and taken apart as, the fields of an HTML form."""


class BadJSONError(BadPictureError):
    """The body is declared as JSON or starts as JSON does, and is none."""


class UnknownFormError(BadPictureError):
    """JSON, but of no protocol that is understood."""


class BadBase64Error(BadPictureError):
    """A text that is not base64."""


class BadNumbersError(BadPictureError):
    """Numbers that are not those of one picture: their count, their range, or no numbers at all."""


class BadTensorError(BadPictureError):
    """A tensor whose shape, datatype and data do not go together, or do not make pictures."""


class TooManyPicturesError(BadPictureError):
    """More pictures than one request may hold."""


class TooSlowError(BadPictureError):
    """More work than one request may be."""


class UnexplainedError(RuntimeError):
    """Explanations were asked for, and what makes them is not installed."""


class InternalError(RuntimeError):
    """A fault of ours; the log has it."""


STATUS: Mapping[type[Exception], int] = {  # 400 where nothing else is said
    FormEncodedError: 415,
    TooManyPicturesError: 413,
    TooManyPixelsError: 413,
    TooSlowError: 413,
    InternalError: 500,
    UnexplainedError: 501,
}


def told(error: Exception) -> tuple[int, bytes]:
    """The status and the JSON body of an answer to what was wrong. gRPC drops the status, so the body has it too."""
    status = STATUS.get(type(error), 400)
    message = f"{error}; {ACCEPTED}" if status < 500 else str(error)
    return status, json.dumps({"code": status, "type": type(error).__name__, "message": message}).encode()
