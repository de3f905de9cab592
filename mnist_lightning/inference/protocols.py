"""Parse requests in every supported form into pictures, and format answers in the form of the request.

    a picture file               -> {"prediction", "confidence", "probabilities", "is_digit", "number"}, maybe
                                    "rotation", "note", and for several digits "digits", "lines"
    multipart, a picture a field -> the same, or a list of them in the order of the fields
    {"image": PICTURE}           -> the same
    {"instances": [PICTURE, …]}  -> {"predictions": [the same, …]}          KServe's V1 protocol
    {"inputs": [TENSOR]}         -> {"model_name", "outputs": [TENSOR, …]}  the Open Inference Protocol, KServe's V2

PICTURE is base64 of a picture file (or a data: URL), 784 numbers from 0 to 255 or to 1, flat or as 28 rows, or one of
these as {"b64": …}, {"image_bytes": …}, {"image": …} or {"data": …}, as clients of TensorFlow Serving and KServe do.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from mnist_lightning.inference.compression import decompress
from mnist_lightning.inference.errors import (
    BadBase64Error,
    BadJSONError,
    EmptyBodyError,
    FormEncodedError,
    TooManyPicturesError,
    UnknownFormError,
    shorten,
)
from mnist_lightning.inference.forms import MULTIPART, parse_form
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.inference.tensors import format_tensor, json_type, parse_pixels, parse_tensor
from mnist_lightning.preprocessing.errors import BadPictureError, NotAPictureError, TooManyDigitsError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count, read_picture

MODEL = "mnist"
MAX_PICTURES = 64  # of one request
MAX_DIGITS = 512  # of all pictures of a request that show several
MAX_ID_LENGTH = 256  # characters of a V2 request's id, which the response repeats
MAX_JSON_VALUES = 100_000  # 64 pictures as numbers are 50,176; a list of empty lists takes twenty times its text
FORM_ENCODED = "application/x-www-form-urlencoded"
FORM_TYPE = "mnist-form-type"  # the Content-Type of a form that frontend/HttpRequestHandler.java passes on unparsed
WRAPPERS = ("b64", "image_bytes", "image", "data")
JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]")  # no picture file starts like this
MISSING = {"rotation": 0, "note": ""}  # values in a tensor for pictures whose answers lack these fields
RAGGED = ("digits", "lines")  # fields that have a length of their own for each picture
Formatter = Callable[[Sequence[Answer]], object]


@dataclass(frozen=True, slots=True)
class Request:
    """The normalized pictures of one request, and the formatter of its response's body."""

    images: list[NormalizedImage]
    format: Formatter


def parse_request(parts: Mapping[str, object], headers: Mapping[str, object]) -> Request:
    """Parse a request as TorchServe passes it: a raw body as the part `body`.

    TorchServe's own front end parses multipart, and passes one part for each field.

    Raises BadPictureError, whose message names the fault.
    """
    if len(parts) == 1 and (body := parts.get("body")):
        if isinstance(body, bytes | bytearray):
            body = decompress(body, _header(headers, "content-encoding"))
        form_type = _header(headers, FORM_TYPE)
        if form_type.lower().startswith(MULTIPART) and isinstance(body, bytes | bytearray):
            return _parse_fields(parse_form(body, form_type, MAX_PICTURES), headers)
        return _parse_body(body, headers)
    if _header(headers, "content-type").lower().startswith(FORM_ENCODED) and _header(headers, "content-length") != "0":
        raise FormEncodedError(
            "the body is form-encoded, which is what curl declares by default: add the header "
            "'Content-Type: application/octet-stream' for a picture, 'Content-Type: application/json' for JSON"
        )
    return _parse_fields(list(parts.items()), headers)


def format_plain(answers: Sequence[Answer]) -> object:
    """One answer as an object, several as a list."""
    return answers[0] if len(answers) == 1 else answers


def _parse_fields(fields: Sequence[tuple[str, object]], headers: Mapping[str, object]) -> Request:
    if not any(value for _, value in fields):
        raise EmptyBodyError("the body is empty")
    if len(fields) == 1:
        return _parse_body(fields[0][1], headers)
    return Request(_parse_pictures("fields", fields, len(fields)), format_plain)


def _parse_body(body: object, headers: Mapping[str, object]) -> Request:
    if isinstance(body, str):  # text/*, which TorchServe decodes without loss
        body = body.encode()
    if not isinstance(body, bytes | bytearray):
        return _parse_json(body)
    if JSON_START.match(body):
        return _parse_json(_load_json(body))
    try:
        return Request([_parse_picture(body)], format_plain)
    except NotAPictureError as error:
        if "json" in _header(headers, "content-type").lower():
            raise BadJSONError(f"the body is declared as JSON and does not parse: {len(body):,} bytes") from error
        raise


def _load_json(body: bytes | bytearray) -> object:
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise BadJSONError(f"the JSON holds more than {MAX_JSON_VALUES:,} values")
    try:
        return json.loads(body)
    except RecursionError as error:
        raise BadJSONError("the JSON is nested too deeply") from error
    except ValueError as error:  # also for invalid UTF-8 and integers of more digits than Python reads
        raise BadJSONError(f"the JSON does not parse: {str(error)[:120]}") from error


def _parse_json(body: object) -> Request:
    if not isinstance(body, dict):
        raise UnknownFormError(f"the JSON is {json_type(body)}, not an object")
    if len(found := [key for key in PROTOCOLS if key in body]) != 1:
        raise UnknownFormError(
            f"exactly one of the keys {', '.join(PROTOCOLS)} is expected, but the JSON has {found or 'none'}"
        )
    return PROTOCOLS[found[0]](body)


def _parse_image(body: dict[str, Any]) -> Request:
    return Request([_parse_picture(body["image"])], format_plain)


def _parse_v1(body: dict[str, Any]) -> Request:
    if not isinstance(instances := body["instances"], list):
        raise UnknownFormError(f'"instances" is {json_type(instances)}, not a list of pictures')
    images = _parse_pictures("instances", enumerate(instances), len(instances))
    return Request(images, lambda answers: {"predictions": answers})


def _parse_v2(body: dict[str, Any]) -> Request:
    inputs, request_id = body["inputs"], body.get("id")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise UnknownFormError('"inputs" must hold one tensor; its shape holds several pictures, for example [N, 784]')
    if not (request_id is None or isinstance(request_id, str)):
        raise UnknownFormError(f'"id" is {json_type(request_id)}, not a string')
    if request_id and len(request_id) > MAX_ID_LENGTH:
        raise UnknownFormError(f'"id" has {len(request_id):,} characters; the limit is {MAX_ID_LENGTH}')
    pictures = parse_tensor(inputs[0])
    images = _parse_pictures("data", enumerate(pictures), len(pictures))
    return Request(images, partial(_format_v2, request_id))


def _format_v2(request_id: str | None, answers: Sequence[Answer]) -> object:
    """The answers as tensors, with the request's id."""
    names = [name for name in dict.fromkeys(chain.from_iterable(answers)) if name not in RAGGED]
    outputs = [format_tensor(name, [answer.get(name, MISSING.get(name)) for answer in answers]) for name in names]
    outputs += _format_digits([answer.get("digits", []) for answer in answers])
    return {"model_name": MODEL, **({} if request_id is None else {"id": request_id}), "outputs": outputs}


def _format_digits(pictures: Sequence[Sequence[Answer]]) -> list[dict[str, object]]:
    """The digits of all pictures, one after another, and how many each picture has; nothing if none has several."""
    digits = list(chain.from_iterable(pictures))
    if not digits:
        return []
    counts = format_tensor("digit_count", [len(own) for own in pictures])
    return [counts, *(format_tensor(f"digit_{name}", [digit[name] for digit in digits]) for name in digits[0])]


PROTOCOLS = {"image": _parse_image, "instances": _parse_v1, "inputs": _parse_v2}


def _parse_pictures(name: str, values: Iterable[tuple[object, object]], count: int) -> list[NormalizedImage]:
    """Parse every picture of a request; an error names the picture that it is about."""
    if count > MAX_PICTURES:
        raise TooManyPicturesError(f"{count:,} pictures in one request; the limit is {MAX_PICTURES}")
    if not count:
        raise EmptyBodyError(f"{name}: the request holds no picture")
    images: list[NormalizedImage] = []
    digits = 0
    for key, value in values:
        try:
            images.append(_parse_picture(value))
        except BadPictureError as error:
            raise type(error)(f"{name}[{shorten(key)}]: {error}") from error
        number = images[-1].number
        digits += len(number.digits) if number else 0
        if digits > MAX_DIGITS:
            raise TooManyDigitsError(f"{name}[{shorten(key)}]: the request shows over {MAX_DIGITS} digits; send fewer")
    return images


def _parse_picture(value: object) -> NormalizedImage:
    """Parse and normalize one picture in any of its forms. Raises BadPictureError."""
    if isinstance(value, bytes | bytearray):
        if value.startswith(b"data:"):
            return _parse_picture(value.decode("ascii", "replace"))
        return read_picture(bytes(value))
    for _ in range(2):  # {"image_bytes": {"b64": …}} is the deepest nesting that clients send
        if isinstance(value, dict):
            value = _unwrap(value)
    if isinstance(value, np.ndarray):
        return normalize_with_count(value)
    if isinstance(value, list):
        return normalize_with_count(parse_pixels(value))
    if isinstance(value, str):
        return read_picture(_decode_base64(value))
    raise UnknownFormError(f"a picture is a string or a list, not {json_type(value)}")


def _unwrap(value: dict[str, object]) -> object:
    if len(found := [key for key in WRAPPERS if key in value]) != 1:
        raise UnknownFormError(f"a picture that is an object must have one of {', '.join(WRAPPERS)}")
    return value[found[0]]


def _decode_base64(text: str) -> bytes:
    """Decode base64, with line breaks or as a data: URL. Raises BadBase64Error."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not (comma and head.endswith(";base64")):
            raise BadBase64Error("a data: URL must be of the form data:image/png;base64,...")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise BadBase64Error(f"a string must be the base64 of a picture file: {str(error)[:80]}") from error


def _header(headers: Mapping[str, object], name: str) -> str:
    """A header's value. TorchServe keeps the case in which names are sent."""
    return next((str(headers[found]) for found in headers if found.lower() == name), "")
