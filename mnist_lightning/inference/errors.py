"""The errors of requests, and the HTTP responses that report them. Their class names are the `type` in a response."""

import json
import logging
import traceback
from collections.abc import Mapping

from mnist_lightning.preprocessing.errors import (
    BadPictureError,
    BusyDecoderError,
    TooManyDigitsError,
    TooManyPixelsError,
)

ACCEPTED = (
    "accepted: a picture file as the raw body (any Content-Type) or as multipart fields, or "
    'JSON {"image": PICTURE}, {"instances": [PICTURE, ...]} or {"inputs": [TENSOR]}, '
    "where PICTURE is the base64 of a file or 784 numbers from 0 to 255 or from 0 to 1"
)


class EmptyBodyError(BadPictureError):
    """The request holds no picture."""


class BadFormError(BadPictureError):
    """The multipart body does not parse."""


class BadEncodingError(BadPictureError):
    """The body does not decompress as its Content-Encoding says."""


class UnknownEncodingError(BadPictureError):
    """The body has a Content-Encoding that is not supported."""


class TooManyBytesError(BadPictureError):
    """The decompressed body is larger than the limit."""


class FormEncodedError(BadPictureError):
    """The body was declared and parsed as an HTML form."""


class BadJSONError(BadPictureError):
    """The body is declared as JSON or starts as JSON does, and does not parse."""


class UnknownFormError(BadPictureError):
    """The JSON follows none of the supported protocols."""


class BadBase64Error(BadPictureError):
    """A string is not base64."""


class BadNumbersError(BadPictureError):
    """Numbers are not the pixels of one picture: their count, range or type is wrong."""


class BadTensorError(BadPictureError):
    """A tensor's shape, datatype and data do not match, or do not form pictures."""


class TooManyPicturesError(BadPictureError):
    """The request holds more pictures than the limit."""


class TooSlowError(BadPictureError):
    """The request exceeds its limit of processor time."""


class TooLargeAnswerError(BadPictureError):
    """The response would be larger than the limit."""


class UnexplainedError(RuntimeError):
    """Explanations are requested, but Captum is not installed."""


class InternalError(RuntimeError):
    """The server failed; its log has the place."""


MAX_QUOTED = 40  # characters of a client's value in an error message
MAX_MESSAGE = 500  # characters of an error message; JSON writes some characters as six bytes

HTTP_STATUS: Mapping[type[Exception], int] = {  # 400 for every other type
    FormEncodedError: 415,
    UnknownEncodingError: 415,
    TooManyBytesError: 413,
    TooManyPicturesError: 413,
    TooManyDigitsError: 413,
    TooManyPixelsError: 413,
    TooSlowError: 413,
    TooLargeAnswerError: 413,
    InternalError: 500,
    UnexplainedError: 501,
    BusyDecoderError: 503,
}


def http_status(error: Exception) -> int:
    """The HTTP status that reports an error."""
    return HTTP_STATUS.get(type(error), 400)


def error_response(error: Exception) -> tuple[int, bytes]:
    """The status and JSON body that report an error. The body repeats the status, because gRPC drops it."""
    status = http_status(error)
    text = shorten(error, MAX_MESSAGE)
    message = f"{text}; {ACCEPTED}" if status < 500 else text
    return status, json.dumps({"code": status, "type": type(error).__name__, "message": message}).encode()


def shorten(value: object, limit: int = MAX_QUOTED) -> str:
    """A value's text for an error message, cut to `limit` characters."""
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def strip_traceback(error: Exception) -> Exception:
    """The error without its traceback, whose frames hold the picture and, through their caller, the error itself.

    Python collects such a cycle only occasionally; thousands of rejected pictures would stay in memory until then.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def internal_error(error: Exception) -> InternalError:
    """Log where an unexpected error occurred, without its message, which may quote the request's body."""
    place = "".join(traceback.format_tb(error.__traceback__))
    logging.getLogger(__name__).error("%s in a request:\n%s", type(error).__name__, place)
    return InternalError("the server failed on this request; its log says where")
