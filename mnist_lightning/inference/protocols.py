"""What a request says, in every form that is understood -> pictures; and answers in the form of the request.

    a picture file               -> {"prediction", "confidence", "probabilities", "is_digit"}, and a "note" if need be
    multipart, a field a picture -> the same, or a list of them in the order of the fields
    {"image": PICTURE}           -> the same
    {"instances": [PICTURE, …]}  -> {"predictions": [the same, …]}          KServe's V1 protocol
    {"inputs": [TENSOR]}         -> {"model_name", "outputs": [TENSOR, …]}  the Open Inference Protocol, KServe's V2

PICTURE is base64 of a picture file (a data: URL too), 784 numbers from 0 to 255, flat or as 28 rows, or one of these
as {"b64": …}, {"image_bytes": …}, {"image": …} or {"data": …}, as clients of TensorFlow Serving and KServe send it.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mnist_lightning.inference.errors import (
    BadBase64Error,
    BadJSONError,
    EmptyBodyError,
    FormEncodedError,
    TooManyPicturesError,
    UnknownFormError,
)
from mnist_lightning.inference.tensors import named, pictures_of, pixels_of, tensor_of
from mnist_lightning.preprocessing.decode import BadPictureError, NotAPictureError, decode
from mnist_lightning.preprocessing.normalize import Floats, Seen, look

MODEL = "mnist"
MAX_PICTURES = 64  # of one request
FORM_ENCODED = "application/x-www-form-urlencoded"
WRAPPERS = ("b64", "image_bytes", "image", "data")
JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*[{\[]")  # no picture file starts so
Answer = Mapping[str, Any]  # prediction, confidence, probabilities, is_digit; a note where there is one to make
Write = Callable[[Sequence[Answer]], object]


@dataclass(frozen=True, slots=True)
class Request:
    """What is seen in the pictures of one request, and what makes its body of as many answers."""

    seen: list[Seen]
    write: Write

    @property
    def pictures(self) -> list[Floats]:
        """(28, 28) floats in [0, 1] each."""
        return [seen.picture for seen in self.seen]


def read(parts: Mapping[str, object], headers: Mapping[str, object]) -> Request:
    """One request as TorchServe hands it over: a raw body as the part `body`, multipart as a part a field.

    Raises BadPictureError, which says what is wrong.
    """
    if len(parts) == 1 and (body := parts.get("body")):
        return _read_body(body, headers)
    if _header(headers, "content-type").startswith(FORM_ENCODED) and _header(headers, "content-length") != "0":
        raise FormEncodedError(
            "the body is form-encoded, which curl declares where no type is named: add the header "
            "'Content-Type: application/octet-stream' for a picture, 'Content-Type: application/json' for JSON"
        )
    if not any(parts.values()):
        raise EmptyBodyError("the body is empty")
    if len(parts) == 1:
        return _read_body(next(iter(parts.values())), headers)
    return Request(_each("fields", parts.items(), len(parts)), plain)


def plain(answers: Sequence[Answer]) -> object:
    """One answer as it is, several as a list."""
    return answers[0] if len(answers) == 1 else answers


def _read_body(body: object, headers: Mapping[str, object]) -> Request:
    if isinstance(body, str):  # text/*, as TorchServe decoded it: nothing is lost
        body = body.encode()
    if not isinstance(body, bytes | bytearray):
        return _read_json(body)
    if JSON_START.match(body):
        return _read_json(_parsed(body))
    try:
        return Request([_picture(body)], plain)
    except NotAPictureError as error:
        if "json" in _header(headers, "content-type"):
            raise BadJSONError(f"the body is declared as JSON and does not parse: {len(body):,} bytes") from error
        raise


def _parsed(body: bytes | bytearray) -> object:
    try:
        return json.loads(body)
    except RecursionError as error:
        raise BadJSONError("the JSON is nested too deeply") from error
    except ValueError as error:  # of UTF-8 and of integers of more digits than Python reads, too
        raise BadJSONError(f"the JSON does not parse: {str(error)[:120]}") from error


def _read_json(body: object) -> Request:
    if not isinstance(body, dict):
        raise UnknownFormError(f"the JSON is {named(body)}, not an object")
    if len(found := [key for key in PROTOCOLS if key in body]) != 1:
        raise UnknownFormError(
            f"exactly one of the keys {', '.join(PROTOCOLS)} is expected, but the JSON has {found or 'none'}"
        )
    return PROTOCOLS[found[0]](body)


def _read_image(body: dict[str, Any]) -> Request:
    return Request([_picture(body["image"])], plain)


def _read_v1(body: dict[str, Any]) -> Request:
    if not isinstance(instances := body["instances"], list):
        raise UnknownFormError(f'"instances" is {named(instances)}, not a list of pictures')
    return Request(_each("instances", enumerate(instances), len(instances)), lambda answers: {"predictions": answers})


def _read_v2(body: dict[str, Any]) -> Request:
    inputs, identity = body["inputs"], body.get("id")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise UnknownFormError('"inputs" must hold one tensor; several pictures go into it by its shape, say [N, 784]')
    if not (identity is None or isinstance(identity, str)):
        raise UnknownFormError(f'"id" is {named(identity)}, not a text')
    pictures = pictures_of(inputs[0])
    return Request(_each("data", enumerate(pictures), len(pictures)), partial(_written_v2, identity))


def _written_v2(identity: str | None, answers: Sequence[Answer]) -> object:
    """The answers as tensors; the request's id comes back with them."""
    names = {name: None for answer in answers for name in answer}  # not each answer has a note
    outputs = [tensor_of(name, [answer.get(name, "") for answer in answers]) for name in names]
    return {"model_name": MODEL, **({} if identity is None else {"id": identity}), "outputs": outputs}


PROTOCOLS = {"image": _read_image, "instances": _read_v1, "inputs": _read_v2}


def _each(name: str, values: Iterable[tuple[object, object]], count: int) -> list[Seen]:
    """Every picture of a request; an error tells which it is about."""
    if count > MAX_PICTURES:
        raise TooManyPicturesError(f"{count:,} pictures in one request; at most {MAX_PICTURES} are read")
    if not count:
        raise EmptyBodyError(f"{name}: there is no picture in the request")
    pictures = []
    for key, value in values:
        try:
            pictures.append(_picture(value))
        except BadPictureError as error:
            raise type(error)(f"{name}[{key}]: {error}") from error
    return pictures


def _picture(value: object) -> Seen:
    """Anything that may stand for one picture -> what is seen in it. Raises BadPictureError."""
    if isinstance(value, bytes | bytearray):
        return _picture(value.decode("ascii", "replace")) if value.startswith(b"data:") else look(decode(bytes(value)))
    for _ in range(2):  # {"image_bytes": {"b64": …}} is the deepest that clients send
        if isinstance(value, dict):
            value = _unwrapped(value)
    if isinstance(value, np.ndarray):
        return look(value)
    if isinstance(value, list):
        return look(pixels_of(value))
    if isinstance(value, str):
        return look(decode(_decoded(value)))
    raise UnknownFormError(f"a picture is a text or a list, not {named(value)}")


def _unwrapped(value: dict[str, object]) -> object:
    if len(found := [key for key in WRAPPERS if key in value]) != 1:
        raise UnknownFormError(f"a picture that is an object must have one of {', '.join(WRAPPERS)}")
    return value[found[0]]


def _decoded(text: str) -> bytes:
    """Base64, with line breaks or as a data: URL, -> bytes. Raises BadBase64Error."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not (comma and head.endswith(";base64")):
            raise BadBase64Error("a data: URL must be of the form data:image/png;base64,...")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise BadBase64Error(f"a text must be the base64 of a picture file: {str(error)[:80]}") from error


def _header(headers: Mapping[str, object], name: str) -> str:
    """In lower case, as is its name, which TorchServe keeps as it was written."""
    return next((str(headers[found]).lower() for found in headers if found.lower() == name), "")
