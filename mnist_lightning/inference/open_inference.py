"""The Open Inference Protocol (KServe's V2): its tensors, their binary data, and what the server says about itself.

A request's body is JSON, or JSON followed by the binary data of its tensor; the header
`Inference-Header-Content-Length` then says where the JSON ends. Answers have the form that the request asks for.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from mnist_lightning.common.constants import MODEL_NAME, MODEL_VERSION
from mnist_lightning.inference.errors import BadTensorError, UnknownFormError, shorten
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.inference.tensors import DTYPES, LENGTH_BYTES, json_type

HEADER_LENGTH = "Inference-Header-Content-Length"
INPUT = "images"  # the input tensor's name; a request may use another
MAX_ID_LENGTH = 256  # characters of a request's id, which the response repeats
MAX_OUTPUTS = 64  # tensors that a request asks for
RAGGED = ("digits", "lines")  # fields of an answer that have a length of their own for each picture
MISSING = {"rotation": 0, "note": ""}  # values in a tensor for pictures whose answers lack these fields
DIGIT = "digit_"  # begins the names of the tensors of a number's digits
# What other servers do with these parameters cannot be left out without a wrong answer.
REFUSED_PARAMETERS = ("classification", "shared_memory_region")


class Output(NamedTuple):
    """A kind of output tensor: its datatype, and its shape without the first axis, which counts pictures or digits."""

    datatype: str
    shape: tuple[int, ...] = ()


OUTPUTS: Mapping[str, Output] = {
    "prediction": Output("INT64"),
    "confidence": Output("FP32"),
    "probabilities": Output("FP32", (10,)),
    "is_digit": Output("FP32"),
    "number": Output("BYTES"),
    "rotation": Output("INT64"),
    "note": Output("BYTES"),
    "digit_count": Output("INT64"),
    "digit_prediction": Output("INT64"),
    "digit_confidence": Output("FP32"),
    "digit_probabilities": Output("FP32", (10,)),
    "digit_is_digit": Output("FP32"),
    "digit_box": Output("INT64", (4,)),
}
EXPLANATIONS: Mapping[str, Output] = {
    f"{prefix}{name}": output
    for prefix in ("", DIGIT)
    for name, output in (("seen", Output("INT64", (28, 28))), ("explanation", Output("FP32", (28, 28))))
}
MODEL_METADATA = {
    "name": MODEL_NAME,
    "versions": [MODEL_VERSION],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
    "outputs": [
        {"name": name, "datatype": output.datatype, "shape": [-1, *output.shape]} for name, output in OUTPUTS.items()
    ],
}


class BinaryBody(NamedTuple):
    """A response's JSON, and the binary data of its tensors, which follow it."""

    header: Mapping[str, object]
    contents: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Form:
    """What a request says about its response.

    Args:
        request_id: returned in the response; None if there is none.
        outputs: the tensors that are asked for, and whether each is binary; None for all that have a value.
        binary: whether tensors are binary that are not asked for by name.
    """

    request_id: str | None = None
    outputs: Mapping[str, bool] | None = None
    binary: bool = False


def split_body(body: bytes | bytearray, length: str) -> tuple[bytes, bytes]:
    """The JSON and the binary data of a body, by the value of the header HEADER_LENGTH. Raises BadTensorError."""
    if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > len(body):
        raise BadTensorError(f"{HEADER_LENGTH} is {shorten(length)!r}, but the body has {len(body):,} bytes")
    return bytes(body[: int(length)]), bytes(body[int(length) :])


def parse_form(body: Mapping[str, Any]) -> Form:
    """What a request's JSON says about its response. Raises UnknownFormError."""
    request_id = body.get("id")
    if not (request_id is None or isinstance(request_id, str)):
        raise UnknownFormError(f'"id" is {json_type(request_id)}, not a string')
    if request_id and len(request_id) > MAX_ID_LENGTH:
        raise UnknownFormError(f'"id" has {len(request_id):,} characters; the limit is {MAX_ID_LENGTH}')
    binary = parse_parameters(body).get("binary_data_output") is True
    outputs = body.get("outputs") or None
    return Form(request_id, None if outputs is None else _parse_outputs(outputs, binary=binary), binary)


def parse_parameters(owner: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a request or of one of its tensors. Raises UnknownFormError."""
    parameters = owner.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise UnknownFormError(f'"parameters" is {json_type(parameters)}, not an object')
    if refused := [name for name in REFUSED_PARAMETERS if parameters.get(name)]:
        raise UnknownFormError(f"the parameter {refused[0]} is not supported")
    return parameters


def binary_data(tensor: Mapping[str, Any], content: bytes | None) -> bytes | None:
    """The binary data of a request's only tensor; None if its data are in the JSON.

    `content` is what follows the JSON; None if the request does not say where the JSON ends. Raises BadTensorError.
    """
    size = parse_parameters(tensor).get("binary_data_size")
    if size is None and not content:
        return None
    if content is None:
        raise BadTensorError(f"the tensor has binary_data_size, but the request has no header {HEADER_LENGTH}")
    if size is not None and type(size) is not int:
        raise BadTensorError(f"the tensor's binary_data_size is {json_type(size)}, not an integer")
    if size != len(content):
        found = "missing" if size is None else shorten(size)
        raise BadTensorError(f"the tensor's binary_data_size is {found}, but {len(content):,} bytes follow the JSON")
    return content


def format_tensors(form: Form, answers: Sequence[Answer]) -> object:
    """The answers as tensors, with the request's id: an object for JSON, or a BinaryBody.

    Raises UnknownFormError if explanations are asked for where there are none.
    """
    digits = list(chain.from_iterable(answer.get("digits", []) for answer in answers))
    wanted = form.outputs or dict.fromkeys(_present(answers, digits), form.binary)
    if not answers[0].get("seen") and (absent := [name for name in wanted if name in EXPLANATIONS]):
        raise UnknownFormError(f"only answers of /v2/models/{MODEL_NAME}/explain have the output {absent[0]}")
    outputs, contents = [], []
    for name, binary in wanted.items():
        output, content = _format_tensor(name, _values(name, answers, digits), binary=binary)
        outputs.append(output)
        contents += [content] if binary else []
    request_id = {} if form.request_id is None else {"id": form.request_id}
    header = {"model_name": MODEL_NAME, **request_id, "outputs": outputs}
    return BinaryBody(header, contents) if contents else header


def encode(answer: object) -> tuple[bytes, int | None]:
    """A response's body, and the length of its JSON if binary data follow."""
    if not isinstance(answer, BinaryBody):
        return json.dumps(answer).encode(), None
    header = json.dumps(answer.header).encode()
    return b"".join([header, *answer.contents]), len(header)


def _parse_outputs(outputs: object, *, binary: bool) -> dict[str, bool]:
    if not (isinstance(outputs, list) and len(outputs) <= MAX_OUTPUTS):
        raise UnknownFormError(f'"outputs" must be a list of at most {MAX_OUTPUTS} tensors')
    wanted = {}
    for output in outputs:
        if not isinstance(output, dict):
            raise UnknownFormError(f'an output is {json_type(output)}, not an object with a "name"')
        name = output.get("name")
        if not (isinstance(name, str) and name in {**OUTPUTS, **EXPLANATIONS}):
            raise UnknownFormError(f"no output is named {shorten(name)!r}; the names are {', '.join(OUTPUTS)}")
        wanted[name] = parse_parameters(output).get("binary_data", binary) is True
    return wanted


def _present(answers: Sequence[Answer], digits: Sequence[Answer]) -> list[str]:
    """The names of the tensors that have a value for some picture."""
    names = [name for name in dict.fromkeys(chain.from_iterable(answers)) if name not in RAGGED]
    return [*names, f"{DIGIT}count", *(f"{DIGIT}{name}" for name in digits[0])] if digits else names


def _values(name: str, answers: Sequence[Answer], digits: Sequence[Answer]) -> Iterable[object]:
    """A tensor's values: one for each picture, or one for each digit of all pictures, one after another."""
    if name == f"{DIGIT}count":
        return [len(answer.get("digits", [])) for answer in answers]
    if name.startswith(DIGIT):
        return [digit[name.removeprefix(DIGIT)] for digit in digits]
    return [answer.get(name, MISSING.get(name)) for answer in answers]


def _format_tensor(name: str, values: Iterable[object], *, binary: bool) -> tuple[dict[str, object], bytes]:
    """An output tensor's JSON, N or M first, and its binary data; its data are in the JSON unless it is binary."""
    datatype, shape = OUTPUTS.get(name) or EXPLANATIONS[name]
    array = np.asarray(values, dtype=object if datatype == "BYTES" else None).reshape(-1, *shape)
    tensor: dict[str, object] = {"name": name, "shape": list(array.shape), "datatype": datatype}
    if not binary:
        return {**tensor, "data": array.ravel().tolist()}, b""
    content = _join_strings(array) if datatype == "BYTES" else array.astype(DTYPES[datatype]).tobytes()
    return {**tensor, "parameters": {"binary_data_size": len(content)}}, content


def _join_strings(strings: Iterable[str]) -> bytes:
    """Strings as a tensor's binary data has them, each after its length."""
    encoded = (string.encode() for string in strings)
    return b"".join(len(string).to_bytes(LENGTH_BYTES, "little") + string for string in encoded)
