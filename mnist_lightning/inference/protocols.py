"""Parse requests in every supported form into pictures, and format answers in the form of the request.

    a picture file               -> {"prediction", "confidence", "probabilities", "is_digit", "number"}, maybe
                                    "rotation", "note", and for several digits "digits", "lines"
    multipart, a picture a field -> the same, or a list of them in the order of the fields
    {"image": PICTURE}           -> the same
    {"instances": [PICTURE, …]}  -> {"predictions": [the same, …]}          KServe's V1 protocol
    {"inputs": [TENSOR]}         -> {"model_name", "outputs": [TENSOR, …]}  the Open Inference Protocol, KServe's V2
    JSON of it, binary data      -> the same, with binary data where it asks for them

PICTURE is base64 of a picture file (or a data: URL), 784 numbers from 0 to 255 or to 1, flat or as 28 rows, or one of
these as {"b64": …}, {"image_bytes": …}, {"image": …} or {"data": …}, as clients of TensorFlow Serving and KServe do.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mnist_lightning.common.constants import MODEL_NAME
from mnist_lightning.inference import open_inference
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
from mnist_lightning.inference.tensors import MAX_PICTURES, SIDE, json_type, parse_pixels, parse_tensor
from mnist_lightning.preprocessing.errors import BadPictureError, NotAPictureError, TooManyDigitsError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count, read_picture

MAX_DIGITS = 512  # of all pictures of a request that show several
MAX_JSON_VALUES = 100_000  # 64 pictures as numbers are 50,176; a list of empty lists takes twenty times its text
FORM_ENCODED = "application/x-www-form-urlencoded"
# Set by frontend/: the Content-Type of a form, which HttpRequestHandler.java passes on unparsed, and what a GET that
# Router.java passes on asks for.
FORM_TYPE, RESOURCE = "mnist-form-type", "mnist-resource"
WRAPPERS = ("b64", "image_bytes", "image", "data")
JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]")  # no picture file starts like this
Formatter = Callable[[Sequence[Answer]], object]


@dataclass(frozen=True, slots=True)
class Request:
    """The normalized pictures of one request, and the formatter of its response's body.

    Metrics leave out the answers to a probe, whose picture no client has sent.
    """

    images: list[NormalizedImage]
    format: Formatter
    is_probe: bool = False


def parse_request(parts: Mapping[str, object], headers: Mapping[str, object]) -> Request:
    """Parse a request as TorchServe passes it: a raw body as the part `body`.

    TorchServe's own front end parses multipart, and passes one part for each field.

    Raises BadPictureError, whose message names the fault.
    """
    named = {name.lower(): str(value) for name, value in headers.items()}  # TorchServe keeps the case of names
    if resource := named.get(RESOURCE):
        return RESOURCES[resource]()
    if len(parts) == 1 and (body := parts.get("body")):
        if isinstance(body, bytes | bytearray):
            body = decompress(body, named.get("content-encoding", ""))
            if (length := named.get(open_inference.HEADER_LENGTH.lower())) is not None:
                return _parse_binary(body, length)
        form_type = named.get(FORM_TYPE, "")
        if form_type.lower().startswith(MULTIPART) and isinstance(body, bytes | bytearray):
            return _parse_fields(parse_form(body, form_type, MAX_PICTURES), named)
        return _parse_body(body, named)
    if named.get("content-type", "").lower().startswith(FORM_ENCODED) and named.get("content-length") != "0":
        raise FormEncodedError(
            "the body is form-encoded, which is what curl declares by default: add the header "
            "'Content-Type: application/octet-stream' for a picture, 'Content-Type: application/json' for JSON"
        )
    return _parse_fields(list(parts.items()), named)


def format_plain(answers: Sequence[Answer]) -> object:
    """One answer as an object, several as a list."""
    return answers[0] if len(answers) == 1 else answers


def _parse_fields(fields: Sequence[tuple[str, object]], headers: Mapping[str, str]) -> Request:
    if not any(value for _, value in fields):
        raise EmptyBodyError("the body is empty")
    if len(fields) == 1:
        return _parse_body(fields[0][1], headers)
    return Request(_parse_pictures("fields", fields, len(fields)), format_plain)


def _parse_body(body: object, headers: Mapping[str, str]) -> Request:
    if isinstance(body, str):  # text/*, which TorchServe decodes without loss
        body = body.encode()
    if not isinstance(body, bytes | bytearray):
        return _parse_json(body)
    if JSON_START.match(body):
        return _parse_json(_load_json(body))
    try:
        return Request([_parse_picture(body)], format_plain)
    except NotAPictureError as error:
        if "json" in headers.get("content-type", "").lower():
            raise BadJSONError(
                f"the body is declared as JSON, but it is no object or list: {len(body):,} bytes"
            ) from error
        raise


def _load_json(body: bytes | bytearray) -> object:
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise BadJSONError(f"the JSON holds more than {MAX_JSON_VALUES:,} values")
    try:
        return json.loads(body)
    except RecursionError as error:
        raise BadJSONError("the JSON is nested too deeply") from error
    except ValueError as error:  # also for invalid UTF-8 and integers of more digits than Python reads
        reason = "a number has too many digits" if "sys.set_int" in str(error) else str(error)[:120]
        raise BadJSONError(f"the JSON does not parse: {reason}") from error


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


def _parse_v2(body: dict[str, Any], content: bytes | None = None) -> Request:
    """Parse a request of the Open Inference Protocol; `content` follows its JSON, None if nothing can."""
    form, inputs = open_inference.parse_form(body), body["inputs"]
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise UnknownFormError('"inputs" must hold one tensor; its shape holds several pictures, for example [N, 784]')
    pictures = parse_tensor(inputs[0], open_inference.binary_data(inputs[0], content))
    images = _parse_pictures("data", enumerate(pictures), len(pictures))
    return Request(images, partial(open_inference.format_tensors, form))


def _parse_binary(body: bytes | bytearray, length: str) -> Request:
    """Parse JSON and the binary data that follow it, or a picture file alone, before which there is no JSON."""
    header, content = open_inference.split_body(body, length)
    if not header:
        return Request([_parse_picture(content)], partial(open_inference.format_tensors, open_inference.Form()))
    request = _load_json(header)
    if not (isinstance(request, dict) and "inputs" in request):
        raise UnknownFormError('the JSON before the binary data is no object with "inputs"')
    return _parse_v2(request, content)


PROTOCOLS: Mapping[str, Callable[[dict[str, Any]], Request]] = {
    "image": _parse_image,
    "instances": _parse_v1,
    "inputs": _parse_v2,
}


def _probe(answer: object) -> Request:
    """A request that is answered as soon as a prediction is made, of a vertical bar."""
    bar = np.zeros((SIDE, SIDE), np.uint8)
    bar[4:24, 13:16] = 255
    return Request([normalize_with_count(bar)], lambda _: answer, is_probe=True)


def _document(answer: object) -> Request:
    """A request that needs no prediction."""
    return Request([], lambda _: answer)


RESOURCES: Mapping[str, Callable[[], Request]] = {
    "ready": partial(_probe, {"ready": True}),
    "model-ready": partial(_probe, {"name": MODEL_NAME, "ready": True}),
    "model": partial(_document, open_inference.MODEL_METADATA),
    "models": partial(_document, {"models": [MODEL_NAME]}),
}


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
