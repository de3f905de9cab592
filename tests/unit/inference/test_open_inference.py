"""The Open Inference Protocol without network or server: binary data in both directions, outputs that are asked for."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_lightning.inference.errors import error_response
from mnist_lightning.inference.open_inference import (
    EXPLANATIONS,
    HEADER_LENGTH,
    MODEL_METADATA,
    OUTPUTS,
    BinaryBody,
    encode,
)
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.inference.protocols import RESOURCE, Request, parse_request
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import from_bytes
from tests.support import SEVEN

PNG = SEVEN.read_bytes()
BAR = np.zeros((28, 28), np.uint8)
BAR[4:24, 13:16] = 255
ANSWER: Answer = {
    "prediction": 1,
    "confidence": 0.9,
    "probabilities": [0.0, 0.9] + [0.0125] * 8,
    "is_digit": 0.8,
    "number": "1",
}
DIGIT: Answer = {**{name: ANSWER[name] for name in ANSWER if name != "number"}, "box": [1, 2, 3, 4]}
NUMBER: Answer = {
    **ANSWER,
    "number": "1\n1",
    "lines": ["1", "1"],
    "digits": [DIGIT, DIGIT],
    "note": "several digits: é",
}


def message(request: Mapping[str, Any], content: bytes = b"", length: str | None = None) -> Request:
    """The request whose JSON is followed by `content`; `length` replaces its JSON's in the header."""
    header = json.dumps(request).encode()
    return parse_request({"body": bytearray(header + content)}, {HEADER_LENGTH: length or str(len(header))})


def inputs(datatype: str, shape: list[int], content: bytes, **changed: object) -> dict[str, Any]:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(content)}}
    return {"inputs": [{**tensor, **changed}]}


def strings(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def outputs(request: Request, answers: Sequence[Answer]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The response's JSON, and its outputs' values, of which binary ones are read as a client does."""
    body, length = encode(request.format(answers))
    if length is None:
        response = json.loads(body)
        return response, {output["name"]: output["data"] for output in response["outputs"]}
    response, rest, values = json.loads(body[:length]), body[length:], {}
    for output in response["outputs"]:
        if "data" in output:
            values[output["name"]] = output["data"]
            continue
        size = output["parameters"]["binary_data_size"]
        values[output["name"]], rest = read(output["datatype"], output["shape"], rest[:size]), rest[size:]
    assert rest == b""
    return response, values


def read(datatype: str, shape: list[int], content: bytes) -> Any:
    if datatype != "BYTES":
        return np.frombuffer(content, {"INT64": "<i8", "FP32": "<f4"}[datatype]).reshape(shape).tolist()
    found = []
    while content:
        size = struct.unpack_from("<I", content)[0]
        found.append(content[4 : 4 + size].decode())
        content = content[4 + size :]
    assert shape == [len(found)]
    return found


DTYPES = {
    **{"UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT16": "<i2", "INT32": "<i4"},
    **{"INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"},
}


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("shape", [[2, 784], [2, 28, 28], [-1, 1, 28, 28], [2, 28, 28, 1]])
def test_binary_numbers_are_pictures(datatype: str, shape: list[int]) -> None:
    content = np.stack([BAR, BAR.T]).astype(DTYPES[datatype]).tobytes()
    upright, lying = message(inputs(datatype, shape, content), content).images
    listed = {
        "inputs": [{"shape": [2, 784], "datatype": "UINT8", "data": [*BAR.ravel().tolist(), *BAR.T.ravel().tolist()]}]
    }
    expected = parse_request({"body": json.dumps(listed).encode()}, {}).images
    assert np.array_equal(upright.image, expected[0].image)
    assert np.array_equal(lying.image, expected[1].image)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_binary_floats_may_be_from_0_to_1(datatype: str) -> None:
    content = (BAR / 255).astype(DTYPES[datatype]).tobytes()
    scaled = BAR.tobytes()
    [one] = message(inputs(datatype, [28, 28], content), content).images
    [other] = message(inputs("UINT8", [28, 28], scaled), scaled).images
    assert np.array_equal(one.image, other.image)


@pytest.mark.parametrize("shape", [[4], [4, 1], [-1]])
def test_binary_strings_are_files_or_base64(shape: list[int]) -> None:
    text = base64.b64encode(PNG)
    content = strings(PNG, text, b"data:image/png;base64," + text, PNG)
    images = message(inputs("BYTES", shape, content), content).images
    assert len(images) == 4
    for image in images:
        assert np.array_equal(image.image, from_bytes(PNG))


def test_a_file_without_json_is_a_picture() -> None:
    request = parse_request({"body": bytearray(PNG)}, {HEADER_LENGTH: "0"})
    assert np.array_equal(request.images[0].image, from_bytes(PNG))
    assert outputs(request, [ANSWER])[1]["prediction"] == [1]


def test_the_header_is_found_in_any_case() -> None:
    content = strings(PNG)
    header = json.dumps(inputs("BYTES", [1], content)).encode()
    body = {"body": bytearray(header + content)}
    assert len(parse_request(body, {HEADER_LENGTH.upper(): str(len(header))}).images) == 1


def test_json_alone_may_declare_its_length() -> None:
    request = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(PNG).decode()]}]}
    assert len(message(request).images) == 1


def ask(**fields: object) -> Request:
    content = strings(PNG)
    return message({**inputs("BYTES", [1], content), **fields}, content)


def test_without_a_wish_the_outputs_are_json() -> None:
    response, values = outputs(ask(id="é"), [ANSWER])
    assert response["id"] == "é"
    assert list(values) == list(ANSWER)
    assert values["probabilities"] == ANSWER["probabilities"]


@pytest.mark.parametrize("answers", [[ANSWER], [ANSWER, NUMBER], [NUMBER]])
def test_binary_outputs_have_the_values_of_the_json(answers: list[Answer]) -> None:
    response, binary = outputs(ask(parameters={"binary_data_output": True, "priority": 1}), answers)
    plain_response, plain = outputs(ask(), answers)
    assert list(binary) == list(plain)
    shapes = {output["name"]: (output["shape"], output["datatype"]) for output in response["outputs"]}
    assert shapes == {output["name"]: (output["shape"], output["datatype"]) for output in plain_response["outputs"]}
    for name, values in plain.items():
        if isinstance(values[0], str):
            assert binary[name] == values
        else:
            assert np.ravel(binary[name]).tolist() == pytest.approx(values, abs=1e-6)


def test_outputs_are_those_that_are_asked_for_in_their_order() -> None:
    wish: list[dict[str, Any]] = [{"name": "number"}, {"name": "prediction", "parameters": {"binary_data": True}}]
    response, values = outputs(ask(outputs=wish), [ANSWER])
    assert values == {"number": ["1"], "prediction": [1]}
    assert ["data" in output for output in response["outputs"]] == [True, False]
    wish[0]["parameters"] = {"binary_data": False}
    response, _ = outputs(ask(outputs=wish, parameters={"binary_data_output": True}), [ANSWER])
    assert ["data" in output for output in response["outputs"]] == [True, False]


@pytest.mark.parametrize("binary", [False, True])
def test_outputs_without_a_value_may_be_asked_for(binary: bool) -> None:
    wish = [{"name": name, "parameters": {"binary_data": binary}} for name in OUTPUTS]
    response, values = outputs(ask(outputs=wish), [ANSWER])
    assert list(values) == list(OUTPUTS)
    assert (values["rotation"], values["note"], values["digit_count"]) == ([0], [""], [0])
    shapes = {output["name"]: output["shape"] for output in response["outputs"]}
    assert (shapes["digit_prediction"], shapes["digit_box"]) == ([0], [0, 4])


def test_the_metadata_are_those_of_the_outputs() -> None:
    """Of a number in two lines; the first axis, which counts pictures or digits, is -1."""
    response, _ = outputs(ask(outputs=[{"name": name} for name in OUTPUTS]), [NUMBER])
    found = [
        {"name": output["name"], "datatype": output["datatype"], "shape": [-1, *output["shape"][1:]]}
        for output in response["outputs"]
    ]
    assert MODEL_METADATA["outputs"] == found
    assert MODEL_METADATA["inputs"] == [{"name": "images", "datatype": "BYTES", "shape": [-1]}]


@pytest.mark.parametrize(("resource", "pictures"), [("ready", 1), ("model-ready", 1), ("model", 0), ("models", 0)])
def test_resources(resource: str, pictures: int) -> None:
    request = parse_request({"body": b""}, {RESOURCE: resource})
    assert (len(request.images), request.is_probe) == (pictures, pictures == 1)
    body, length = encode(request.format([ANSWER] * pictures))
    assert length is None
    answer = json.loads(body)
    assert answer.get("ready") is (True if pictures else None)


PIXELS = BAR.astype("<f4").tobytes()
FAULTS: dict[str, tuple[dict[str, Any], bytes, str | None, str]] = {
    "no number": (inputs("FP32", [28, 28], PIXELS), PIXELS, "ten", "Content-Length is 'ten', but the body has"),
    "other digits": (inputs("FP32", [28, 28], PIXELS), PIXELS, "١٢", "Content-Length is '١٢'"),
    "negative": (inputs("FP32", [28, 28], PIXELS), PIXELS, "-1", "Content-Length is '-1'"),
    "beyond the end": (inputs("FP32", [28, 28], PIXELS), PIXELS, "99999", "'99999', but the body has"),
    "huge": (inputs("FP32", [28, 28], PIXELS), PIXELS, "9" * 5000, "Content-Length is '999"),
    "within the JSON": (inputs("FP32", [28, 28], PIXELS), PIXELS, "9", "the JSON does not parse"),
    "after the JSON": (inputs("FP32", [28, 28], PIXELS), b"[" + PIXELS, "200", "the JSON does not parse"),
    "no size": (
        inputs("FP32", [28, 28], PIXELS, parameters={}),
        PIXELS,
        None,
        "binary_data_size is missing, but 3,136",
    ),
    "a size too small": (inputs("FP32", [28, 28], b"1"), PIXELS, None, "is 1, but 3,136 bytes follow"),
    "a size too large": (inputs("FP32", [28, 28], PIXELS), PIXELS[1:], None, "is 3136, but 3,135 bytes follow"),
    "a negative size": (
        inputs("FP32", [28, 28], PIXELS, parameters={"binary_data_size": -1}),
        PIXELS,
        None,
        "is -1, but 3,136",
    ),
    "a size of true": (
        inputs("UINT8", [1], b"", parameters={"binary_data_size": True}),
        b"1",
        None,
        "is true or false, not an integer",
    ),
    "both": (inputs("FP32", [28, 28], PIXELS, data=[1]), PIXELS, None, "data both in the JSON and after it"),
    "half a number": (inputs("FP32", [28, 28], PIXELS[1:]), PIXELS[1:], None, "no multiple of FP32's 4"),
    "another shape": (inputs("FP32", [2, 784], PIXELS), PIXELS, None, "its data holds 784 numbers"),
    "a negative shape": (inputs("FP32", [-5, 784], PIXELS), PIXELS, None, "the tensor's shape is [-5, 784]"),
    "a huge shape": (inputs("FP32", [2**62, 784], PIXELS), PIXELS, None, "must not hold numbers above"),
    "NaN": (inputs("FP32", [28, 28], PIXELS), b"\xff" * 3136, None, "value 0 is nan"),
    "infinity": (inputs("FP32", [28, 28], PIXELS), b"\x00\x00\x80\x7f" * 784, None, "value 0 is inf"),
    "too many pictures": (inputs("UINT8", [-1, 784], bytes(784 * 65)), bytes(784 * 65), None, "the limit is 64"),
    "too many strings": (inputs("BYTES", [-1], bytes(4 * 65)), bytes(4 * 65), None, "more than 64 pictures"),
    "a long string": (inputs("BYTES", [1], b"\xff" * 8), b"\xff" * 8, None, "data[0] has 4,294,967,295 bytes"),
    "half a length": (inputs("BYTES", [1], b"\x00\x00"), b"\x00\x00", None, "ends within the length of data[0]"),
    "strings of negative shape": (inputs("BYTES", [-1, -1], strings(PNG)), strings(PNG), None, "shape is [-1, -1]"),
    "fewer strings": (inputs("BYTES", [2], strings(PNG)), strings(PNG), None, "its data holds 1 strings"),
    "an unknown datatype": (inputs("BOOL", [28, 28], PIXELS), PIXELS, None, "must be BYTES or one of UINT8"),
    "a list": ([], b"", None, 'no object with "inputs"'),  # type: ignore[dict-item] # that is the fault
    "V1": ({"instances": []}, b"", None, 'no object with "inputs"'),
    "parameters": ({"inputs": [], "parameters": [1]}, b"", None, '"parameters" is a list'),
    "outputs": ({"inputs": [], "outputs": {"name": "x"}}, b"", None, '"outputs" must be a list'),
    "an output": ({"inputs": [], "outputs": ["x"]}, b"", None, "an output is a string, not an object"),
    "an output's name": ({"inputs": [], "outputs": [{"name": "é" * 999}]}, b"", None, "no output is named 'éé"),
    "a classification": (
        {"inputs": [], "outputs": [{"name": "prediction", "parameters": {"classification": 3}}]},
        b"",
        None,
        "the parameter classification is not supported",
    ),
    "shared memory": (
        inputs("FP32", [28, 28], PIXELS, parameters={"shared_memory_region": "r"}),
        b"",
        None,
        "the parameter shared_memory_region is not supported",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault: str) -> None:
    request, content, length, expected = FAULTS[fault]
    with pytest.raises(BadPictureError) as raised:
        message(request, content, length)
    status, body = error_response(raised.value)
    assert status == (413 if "limit is 64" in expected or "more than 64" in expected else 400)
    assert expected in json.loads(body)["message"]
    assert len(body) < 4000


def test_binary_data_without_the_header_is_refused() -> None:
    with pytest.raises(BadPictureError, match=f"no header {HEADER_LENGTH}"):
        parse_request({"body": json.dumps(inputs("FP32", [28, 28], PIXELS, data=[])).encode()}, {})


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_explanations_are_refused_where_there_are_none(name: str) -> None:
    request = ask(outputs=[{"name": name}])
    with pytest.raises(BadPictureError, match=f"/explain have the output {name}"):
        request.format([ANSWER])


@given(
    shape=st.lists(st.integers(-2, 800), min_size=1, max_size=4),
    datatype=st.sampled_from(["BYTES", *DTYPES]),
    content=st.binary(max_size=4000),
    length=st.none() | st.text(max_size=5),
)
def test_any_binary_data_are_read_or_refused(
    shape: list[int], datatype: str, content: bytes, length: str | None
) -> None:
    try:
        request = message(inputs(datatype, shape, content), content, length)
    except BadPictureError:
        return
    assert isinstance(request.format([ANSWER] * len(request.images)), dict | BinaryBody)
