"""Every form of a request, and every fault of one, without network or server."""

import base64
import gzip
import io
import json
import re
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mnist_lightning.inference import errors
from mnist_lightning.inference.errors import error_response
from mnist_lightning.inference.prediction import Answer
from mnist_lightning.inference.protocols import Request, parse_request
from mnist_lightning.preprocessing.errors import BadPictureError, NoDigitError, NotAPictureError, TooManyPixelsError
from mnist_lightning.preprocessing.normalize import from_bytes
from tests.pictures import bars, encode_png

FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}
# An 8 of rings, drawn at MNIST's own size but not in its form: every way to read it goes through the preprocessing.
ROWS, COLUMNS = np.mgrid[:28, :28]
RINGS = [abs(np.hypot(ROWS - middle, COLUMNS - 12) - 4) < 1.3 for middle in (8, 16)]
PIXELS = np.where(RINGS[0] | RINGS[1], 250, 0).astype(np.uint8)


def file(form: str = "PNG", pixels: np.ndarray = PIXELS) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


PNG = file()
BASE64 = base64.b64encode(PNG).decode()
READ = from_bytes(PNG)  # the model's input for it
FLAT, NESTED = PIXELS.ravel().tolist(), PIXELS.tolist()
WHITE = (255 * (PIXELS.ravel() > 127)).tolist()  # black and white
NORMALIZED = ((PIXELS.ravel() / 255 - 0.1307) / 0.3081).tolist()  # as PyTorch's examples do


def assert_images(request: Request, count: int) -> None:
    """The request holds `count` pictures, each of which is READ."""
    assert len(request.images) == count
    for normalized in request.images:
        assert np.array_equal(normalized.image, READ)


def tensor(datatype: str, shape: list[int], data: list[Any]) -> dict[str, object]:
    return {"inputs": [{"name": "any", "shape": shape, "datatype": datatype, "data": data}]}


def body(value: object) -> dict[str, object]:
    return {"body": bytearray(json.dumps(value).encode())}


ONE: dict[str, Mapping[str, object]] = {
    "raw": {"body": bytearray(PNG)},
    "raw, a data: URL": {"body": bytearray(b"data:image/png;base64," + BASE64.encode())},
    "multipart": {"anything": bytearray(PNG)},
    "multipart, JSON": {"anything": bytearray(json.dumps({"image": BASE64}).encode())},
    "text/*, as TorchServe decodes it": {"body": json.dumps({"image": BASE64})},
    "JSON, as TorchServe decodes it": {"body": {"image": BASE64}},
    "JSON with a byte order mark": {"body": b"\xef\xbb\xbf " + json.dumps({"image": BASE64}).encode()},
    "image, base64": body({"image": BASE64}),
    "image, base64 in lines": body({"image": base64.encodebytes(PNG).decode()}),
    "image, a data: URL": body({"image": f"data:image/png;base64,{BASE64}"}),
    "image, b64": body({"image": {"b64": BASE64}}),
    "image, 784": body({"image": FLAT}),
    "image, 28×28": body({"image": NESTED}),
    "image, floats": body({"image": [float(n) for n in FLAT]}),
}
SEVERAL: dict[str, Mapping[str, object]] = {
    "multipart": {"a": bytearray(PNG), "b": bytearray(PNG)},
    "multipart, files and texts": {"a": bytearray(PNG), "b": bytearray(b"data:;base64," + BASE64.encode())},
    "v1, numbers": body({"instances": [FLAT, NESTED]}),
    "v1, channels first and last": body({"instances": [[NESTED], PIXELS[..., None].tolist()]}),
    "v1, texts": body({"instances": [BASE64, f"data:image/png;base64,{BASE64}"]}),
    "v1, TensorFlow Serving": body({"instances": [{"b64": BASE64}, {"image_bytes": {"b64": BASE64}}]}),
    "v1, KServe's TorchServe": body({"instances": [{"data": BASE64, "target": 0}, {"image": NESTED}]}),
    "v2, BYTES": body(tensor("BYTES", [2], [BASE64, BASE64])),
    "v2, BYTES, KServe's TorchServe": body(tensor("BYTES", [-1], [BASE64, BASE64])),
    "v2, BYTES in rows": body(tensor("BYTES", [2, 1], [[BASE64], [BASE64]])),
    "v2, [N, 784]": body(tensor("UINT8", [2, 784], FLAT * 2)),
    "v2, [N, 28, 28]": body(tensor("FP32", [2, 28, 28], FLAT * 2)),
    "v2, [N, 1, 28, 28]": body(tensor("FP32", [2, 1, 28, 28], FLAT * 2)),
    "v2, [-1, 28, 28, 1]": body(tensor("INT64", [-1, 28, 28, 1], FLAT * 2)),
    "v2, data in rows": body(tensor("UINT8", [2, 28, 28], [NESTED, NESTED])),
}


@pytest.mark.parametrize("way", ONE)
def test_one_picture_in_every_form_is_the_same_picture(way: str) -> None:
    assert_images(parse_request(ONE[way], {}), 1)


@pytest.mark.parametrize("way", SEVERAL)
def test_several_pictures_in_every_form_are_the_same_pictures(way: str) -> None:
    assert_images(parse_request(SEVERAL[way], {}), 2)


SHAPES = [[784], [28, 28], [1, 28, 28], [28, 28, 1], [1, 784], [1, 1, 28, 28], [1, 28, 28, 1]]


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("shape", SHAPES)
def test_one_picture_of_any_shape_and_scale(shape: list[int], scale: int) -> None:
    numbers = (np.array(FLAT) * scale / 255).reshape(shape).tolist()
    requests = [{"image": numbers}, {"instances": [numbers]}, tensor("FP32", shape, numbers)]
    for request in [*requests, tensor("FP64", shape, (np.array(FLAT) * scale / 255).tolist())]:
        assert_images(parse_request(body(request), {}), 1)


def test_a_tensor_has_one_scale() -> None:
    faint = [n / 255 for n in FLAT]
    with pytest.raises(NoDigitError):
        parse_request(body(tensor("FP32", [2, 784], [*FLAT, *faint])), {})


def test_floats_may_be_written_as_integers() -> None:
    """As JavaScript does with 0.0 and 1.0."""
    black_and_white = [n // 255 for n in WHITE]
    (written,) = parse_request(body(tensor("FP32", [784], black_and_white)), {}).images
    assert np.array_equal(written.image, parse_request(body({"image": WHITE}), {}).images[0].image)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_the_content_type_is_ignored(form: str) -> None:
    content = file(form)
    for declared in ({}, JSON, {"Content-Type": "text/plain"}, {"content-type": "nonsense/;"}):
        assert np.array_equal(parse_request({"body": content}, declared).images[0].image, from_bytes(content))


def test_pictures_keep_their_order() -> None:
    other = file(pixels=np.rot90(PIXELS).copy())
    pictures = [each.image for each in parse_request({"b": PNG, "a": other, "c": PNG}, {}).images]
    assert np.array_equal(pictures[0], READ)
    assert np.array_equal(pictures[1], from_bytes(other))
    assert not np.array_equal(pictures[0], pictures[1])


def scores(digit: int) -> dict[str, object]:
    probabilities = [float(n == digit) for n in range(10)]
    return {"prediction": digit, "confidence": 1.0, "probabilities": probabilities, "is_digit": 0.5}


def number(*lines: str) -> Answer:
    """An answer for several digits, the n-th of which, from 1, has a box of n pixels."""
    digits = [{**scores(int(digit)), "box": [n] * 4} for n, digit in enumerate("".join(lines), 1)]
    several = {"lines": list(lines)} if len(lines) > 1 else {}
    note = f"several digits: {' / '.join(lines)}"
    return {**scores(8), "number": "\n".join(lines), **several, "digits": digits, "note": note}


ANSWERS: list[Answer] = [{**scores(digit), "number": str(digit)} for digit in (3, 5)]
MIXED: list[Answer] = [ANSWERS[0], number("12", "7"), ANSWERS[1], number("90")]


def test_answers_in_the_form_of_the_request() -> None:
    assert parse_request(ONE["raw"], {}).format(ANSWERS[:1]) == ANSWERS[0]
    assert parse_request(SEVERAL["multipart"], {}).format(ANSWERS) == ANSWERS
    assert parse_request(body({"instances": [FLAT]}), {}).format(ANSWERS[:1]) == {"predictions": ANSWERS[:1]}
    assert parse_request(ONE["raw"], {}).format(MIXED[1:2]) == MIXED[1]
    assert parse_request(SEVERAL["multipart"], {}).format(MIXED) == MIXED
    assert parse_request(body({"instances": [FLAT]}), {}).format(MIXED) == {"predictions": MIXED}


def test_answers_as_tensors() -> None:
    asked = {"id": "a request's own name", **tensor("BYTES", [2], [BASE64] * 2)}
    answer = parse_request(body(asked), {}).format(ANSWERS)
    assert isinstance(answer, dict)
    assert (answer["model_name"], answer["id"]) == ("mnist", asked["id"])
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert list(outputs) == ["prediction", "confidence", "probabilities", "is_digit", "number"]
    assert outputs["number"] == {"name": "number", "shape": [2], "datatype": "BYTES", "data": ["3", "5"]}
    assert outputs["prediction"] == {"name": "prediction", "shape": [2], "datatype": "INT64", "data": [3, 5]}
    assert (outputs["confidence"]["shape"], outputs["confidence"]["datatype"]) == ([2], "FP32")
    assert outputs["probabilities"]["shape"] == [2, 10]
    assert outputs["probabilities"]["data"] == ANSWERS[0]["probabilities"] + ANSWERS[1]["probabilities"]
    assert outputs["is_digit"] == {"name": "is_digit", "shape": [2], "datatype": "FP32", "data": [0.5, 0.5]}
    noted = parse_request(body(asked), {}).format([ANSWERS[0], {**ANSWERS[1], "note": "none"}])
    turned = parse_request(body(asked), {}).format([{**ANSWERS[0], "rotation": -30}, ANSWERS[1]])
    assert turned["outputs"][-1] == {"name": "rotation", "shape": [2], "datatype": "INT64", "data": [-30, 0]}  # type: ignore[index]
    assert noted["outputs"][-1] == {"name": "note", "shape": [2], "datatype": "BYTES", "data": ["", "none"]}  # type: ignore[index]
    assert "id" not in parse_request(SEVERAL["v2, BYTES"], {}).format(ANSWERS)  # type: ignore[operator]


def as_tensors(answers: list[Answer]) -> dict[str, tuple[str, list[int], list[Any]]]:
    """The output tensors of these answers by name: datatype, shape and data."""
    body_of = parse_request(body(tensor("BYTES", [1], [BASE64])), {}).format(answers)
    outputs = json.loads(json.dumps(body_of))["outputs"]
    return {output["name"]: (output["datatype"], output["shape"], output["data"]) for output in outputs}


def test_numbers_as_tensors() -> None:
    """The digits of all pictures follow one another; a picture that is read as one digit has none."""
    tensors = as_tensors(MIXED)
    assert tensors["number"] == ("BYTES", [4], ["3", "12\n7", "5", "90"])
    assert tensors["note"] == ("BYTES", [4], ["", "several digits: 12 / 7", "", "several digits: 90"])
    assert tensors["prediction"] == ("INT64", [4], [3, 8, 5, 8])
    assert tensors["digit_count"] == ("INT64", [4], [0, 3, 0, 2])
    assert tensors["digit_prediction"] == ("INT64", [5], [1, 2, 7, 9, 0])
    assert tensors["digit_confidence"] == ("FP32", [5], [1.0] * 5)
    assert tensors["digit_is_digit"] == ("FP32", [5], [0.5] * 5)
    datatype, shape, data = tensors["digit_probabilities"]
    assert (datatype, shape) == ("FP32", [5, 10])
    assert np.reshape(data, shape).argmax(axis=1).tolist() == [1, 2, 7, 9, 0]
    assert tensors["digit_box"] == ("INT64", [5, 4], [n for box in (1, 2, 3, 1, 2) for n in [box] * 4])
    assert not {"digits", "lines"} & set(tensors)


def test_one_number_as_tensors() -> None:
    tensors = as_tensors(MIXED[1:2])
    assert tensors["number"] == ("BYTES", [1], ["12\n7"])
    assert (tensors["digit_count"], tensors["digit_box"][1]) == (("INT64", [1], [3]), [3, 4])


def test_explained_numbers_as_tensors() -> None:
    def explained(part: Mapping[str, Any]) -> dict[str, Any]:
        fields = {"seen": [[255] * 28] * 28, "explanation": [[0.5] * 28] * 28}
        return {
            **part,
            **fields,
            **({"digits": [explained(one) for one in part["digits"]]} if "digits" in part else {}),
        }

    tensors = as_tensors([explained(answer) for answer in MIXED])
    shapes = {name: tensors[name][:2] for name in ("seen", "explanation", "digit_seen", "digit_explanation")}
    assert shapes == {
        "seen": ("INT64", [4, 28, 28]),
        "explanation": ("FP32", [4, 28, 28]),
        "digit_seen": ("INT64", [5, 28, 28]),
        "digit_explanation": ("FP32", [5, 28, 28]),
    }


def test_numbers_are_read_in_every_form() -> None:
    picture = encode_png(bars(2, 3))
    text = base64.b64encode(picture).decode()
    for request in ({"body": picture}, body({"image": text}), body({"instances": [text]}), {"a": picture, "b": PNG}):
        images = parse_request(request, {}).images
        assert images[0].number is not None
        assert images[0].number.texts == ["111", "111"]
        assert all(image.number is None for image in images[1:])


def changed(value: object, place: int = 3) -> list[object]:
    """The numbers of a picture, one of them something else."""
    return [*FLAT[:place], value, *FLAT[place + 1 :]]


def header_only(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100_000))),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BAD: dict[str, tuple[Mapping[str, object], str, int, str]] = {
    "nothing": ({}, "EmptyBodyError", 400, "empty"),
    "an empty body": ({"body": bytearray()}, "EmptyBodyError", 400, "empty"),
    "null": ({"body": None}, "EmptyBodyError", 400, "empty"),
    "an empty field": ({"a": PNG, "b": b""}, "NotAPictureError", 400, "fields[b]: the picture is empty"),
    "no picture": ({"body": b"hello"}, "NotAPictureError", 400, "not a picture (PNG, JPEG"),
    "a cut picture": ({"body": PNG[:-30]}, "NotAPictureError", 400, "damaged or cut"),
    "a cut picture in JSON": (body({"image": base64.b64encode(PNG[:-30]).decode()}), "NotAPictureError", 400, "cut"),
    "one bad field of two": ({"a": PNG, "b": PNG[:40]}, "NotAPictureError", 400, "fields[b]"),
    "a blank picture": ({"body": file(pixels=np.full((90, 90), 255, np.uint8))}, "NoDigitError", 400, "no ink"),
    "blank numbers": (body({"image": [0] * 784}), "NoDigitError", 400, "no ink"),
    "too many scans": ({"body": file("JPEG") + b"\xff\xda" * 101}, "NotAPictureError", 400, "102 scans"),
    "too many pixels": ({"body": header_only(50_000, 50_000)}, "TooManyPixelsError", 413, "50,000,000"),
    "too many fields": ({str(n): PNG for n in range(65)}, "TooManyPicturesError", 413, "65 pictures"),
    "too many instances": (body({"instances": [1] * 65}), "TooManyPicturesError", 413, "the limit is 64"),
    "too many rows": (body(tensor("UINT8", [65, 784], FLAT * 65)), "TooManyPicturesError", 413, "the limit is 64"),
    "too many digits": ({"body": encode_png(bars(7, 10))}, "TooManyDigitsError", 413, "70 digits; the limit is 64"),
    "too many digits of one": ({"a": PNG, "b": encode_png(bars(10, 7))}, "TooManyDigitsError", 413, "fields[b]: "),
    "too many digits in all": (
        {str(n): encode_png(bars(6, 10)) for n in range(10)},
        "TooManyDigitsError",
        413,
        "fields[8]: the request shows over 512 digits",
    ),
    "JSON, cut": ({"body": b'{"image": '}, "BadJSONError", 400, "does not parse"),
    "JSON, deep": ({"body": b"[" * 100_000}, "BadJSONError", 400, "too deeply"),
    "JSON, not UTF-8": ({"body": b'{"image": "\xff"}'}, "BadJSONError", 400, "utf-8"),
    "JSON, 5,000 digits": ({"body": b'{"image": [' + b"9" * 5000 + b"]}"}, "BadJSONError", 400, "does not parse"),
    "JSON, a list": (body(FLAT), "UnknownFormError", 400, "a list, not an object"),
    "JSON, another key": (body({"picture": BASE64}), "UnknownFormError", 400, "image, instances, inputs"),
    "JSON, nothing": (body({}), "UnknownFormError", 400, "image, instances, inputs"),
    "JSON, two keys": (body({"image": FLAT, "inputs": []}), "UnknownFormError", 400, "exactly one"),
    "JSON, decoded to a number": ({"body": 5}, "UnknownFormError", 400, "a number"),
    "image, null": (body({"image": None}), "UnknownFormError", 400, "null"),
    "image, true": (body({"image": True}), "UnknownFormError", 400, "true or false"),
    "image, a number": (body({"image": 7}), "UnknownFormError", 400, "a number"),
    "image, an object": (body({"image": {"x": 1}}), "UnknownFormError", 400, "b64"),
    "image, deep objects": (body({"image": {"b64": {"b64": {"b64": BASE64}}}}), "UnknownFormError", 400, "an object"),
    "base64, none": (body({"image": "?"}), "BadBase64Error", 400, "base64"),
    "base64, cut": (body({"image": BASE64[:-3]}), "BadBase64Error", 400, "base64"),
    "base64, letters": (body({"image": "é" * 8}), "BadBase64Error", 400, "ASCII"),
    "base64, of nothing": (body({"image": ""}), "NotAPictureError", 400, "empty"),
    "a data: URL without base64": (
        body({"image": "data:image/png,abc"}),
        "BadBase64Error",
        400,
        "data:image/png;base64",
    ),
    "783": (body({"image": FLAT[1:]}), "BadNumbersError", 400, "[783]"),
    "27 rows": (body({"image": NESTED[1:]}), "BadNumbersError", 400, "[27, 28]"),
    "uneven rows": (body({"image": [NESTED[0][1:], *NESTED[1:]]}), "BadNumbersError", 400, "same length"),
    "rows and numbers": (body({"image": [0, *NESTED[1:]]}), "BadNumbersError", 400, "same length"),
    "deep rows": (body({"image": [[[[[[NESTED]]]]]]}), "BadNumbersError", 400, "shape"),
    "no numbers": (body({"image": []}), "BadNumbersError", 400, "[0]"),
    "256": (body({"image": changed(256)}), "BadNumbersError", 400, "value 3 is 256"),
    "-1": (body({"image": changed(-1)}), "BadNumbersError", 400, "value 3 is -1"),
    "NaN": (body({"image": changed(float("nan"))}), "BadNumbersError", 400, "value 3 is nan"),
    "Infinity": (body({"image": changed(float("-inf"))}), "BadNumbersError", 400, "value 3 is -inf"),
    "400 digits": (body({"image": changed(10**400)}), "BadNumbersError", 400, "too large for a float"),
    "true among numbers": (body({"image": changed(True)}), "BadNumbersError", 400, "value 3 is true or false"),
    "null among numbers": (body({"image": changed(None)}), "BadNumbersError", 400, "value 3 is null"),
    "a digit as text": (body({"image": changed("7")}), "BadNumbersError", 400, "value 3 is a string"),
    "an object among numbers": (body({"image": changed({})}), "BadNumbersError", 400, "value 3 is an object"),
    "integers from 0 to 1": (body({"image": [n // 255 for n in WHITE]}), "BadNumbersError", 400, "multiply by 255"),
    "normalized": (body({"image": NORMALIZED}), "BadNumbersError", 400, "send x * 0.3081 + 0.1307"),
    "v2, normalized": (body(tensor("FP32", [1, 784], NORMALIZED)), "BadNumbersError", 400, "mean 0.1307"),
    "v1, no list": (body({"instances": "x"}), "UnknownFormError", 400, "a string, not a list"),
    "v1, no instance": (body({"instances": []}), "EmptyBodyError", 400, "no picture"),
    "v1, one bad": (body({"instances": [FLAT, FLAT[1:]]}), "BadNumbersError", 400, "instances[1]: "),
    "v1, not in a list": (body({"instances": FLAT}), "TooManyPicturesError", 413, "the limit is 64"),
    "v2, no tensor": (body({"inputs": []}), "UnknownFormError", 400, "one tensor"),
    "v2, two": (body({"inputs": tensor("FP32", [784], FLAT)["inputs"] * 2}), "UnknownFormError", 400, "one tensor"),  # type: ignore[operator]
    "v2, of v1": (body({"inputs": [FLAT]}), "UnknownFormError", 400, "one tensor"),
    "v2, id": (body({"id": 3, **tensor("FP32", [784], FLAT)}), "UnknownFormError", 400, '"id" is a number'),
    "v2, parts": (body({"inputs": [{"name": "x", "shape": [784]}]}), "BadTensorError", 400, "no datatype and no data"),
    "v2, shape": (body(tensor("FP32", [True], FLAT)), "BadTensorError", 400, "integers"),
    "v2, no shape": (body(tensor("FP32", [], FLAT)), "BadTensorError", 400, "integers"),
    "v2, data": (body(tensor("FP32", [784], "x")), "BadTensorError", 400, "a string, not a list"),  # type: ignore[arg-type]
    "v2, datatype": (body(tensor("BOOL", [784], FLAT)), "BadTensorError", 400, "UINT8"),
    "v2, [28]": (body(tensor("FP32", [28], FLAT)), "BadTensorError", 400, "[N, 784]"),
    "v2, [2, 784] of one": (body(tensor("FP32", [2, 784], FLAT)), "BadTensorError", 400, "784 numbers"),
    "v2, [-1, 784] of a half": (body(tensor("FP32", [-1, 784], FLAT[:392])), "BadTensorError", 400, "392 numbers"),
    "v2, [-2, 784]": (body(tensor("FP32", [-2, 784], FLAT)), "BadTensorError", 400, "[-2, 784]"),
    "v2, [10**30, 784]": (body(tensor("FP32", [10**30, 784], FLAT)), "BadTensorError", 400, "784 numbers"),
    "v2, other rows": (body(tensor("FP32", [1, 784], NESTED)), "BadTensorError", 400, "[28, 28]"),
    "v2, UINT8 of halves": (body(tensor("UINT8", [784], changed(0.5))), "BadNumbersError", 400, "only UINT8"),
    "v2, 300": (body(tensor("FP32", [784], changed(300.0))), "BadNumbersError", 400, "value 3 is 300"),
    "v2, texts missing": (body(tensor("BYTES", [2], [BASE64])), "BadTensorError", 400, "1 strings"),
    "v2, BYTES of numbers": (body(tensor("BYTES", [784], FLAT)), "BadTensorError", 400, "a number"),
    "v2, an output as text": (
        body({**tensor("FP32", [784], FLAT), "outputs": ["number"]}),
        "UnknownFormError",
        400,
        'a string, not an object with a "name"',
    ),
    "too many digits in JSON": (
        {"body": b"[" + b"1" * 5000 + b"]"},
        "BadJSONError",
        400,
        "a number has too many digits",
    ),
    "v2, one bad": (body(tensor("BYTES", [2], [BASE64, "?"])), "BadBase64Error", 400, "data[1]: "),
}


@pytest.mark.parametrize("what", BAD)
def test_an_error_names_the_fault_and_the_accepted_forms(what: str) -> None:
    parts, kind, status, said = BAD[what]
    with pytest.raises(BadPictureError) as error:
        parse_request(parts, {})
    code, content = errors.error_response(error.value)
    answer = json.loads(content)
    assert (code, answer["code"], answer["type"]) == (status, status, kind)
    assert said in answer["message"]
    assert '{"instances": [PICTURE, ...]}' in answer["message"]
    assert len(answer["message"]) < 600


def test_a_form_encoded_body_is_answered_with_the_header_to_use() -> None:
    for parts in ({}, {"\x89PNG": b""}, {"a": b"1", "b": b"2"}):
        with pytest.raises(errors.FormEncodedError, match="Content-Type: application/octet-stream") as error:
            parse_request(parts, {"CONTENT-TYPE": "application/x-www-form-urlencoded; charset=utf-8"})
        assert errors.error_response(error.value)[0] == 415
    with pytest.raises(errors.EmptyBodyError):
        parse_request({}, {**FORM, "content-length": "0"})


def test_a_body_declared_as_json_that_is_not_json() -> None:
    with pytest.raises(errors.BadJSONError, match="declared as JSON"):
        parse_request({"body": b"hello"}, JSON)


def test_pixels_are_counted_before_decoding() -> None:
    """Decoding fails on this file, whose pixels are missing; its size is rejected first."""
    with pytest.raises(TooManyPixelsError, match="50,000,000"):
        parse_request({"body": header_only(50_000, 50_000)}, {})
    with pytest.raises(NotAPictureError):
        parse_request({"body": header_only(2_800, 2_800)}, {})


def test_halves_are_rounded_as_pixels_are() -> None:
    near = [n + 0.4 if n < 255 else n for n in FLAT]
    assert_images(parse_request(body({"image": near}), {}), 1)


def form(*fields: tuple[str, str | None, bytes]) -> tuple[dict[str, bytearray], dict[str, str]]:
    """A form as the front end passes it, of fields with name, file name and content; and its header."""
    parts = []
    for name, file_name, content in fields:
        described = f'; filename="{file_name}"' if file_name else ""
        parts.append(f'--b\r\nContent-Disposition: form-data; name="{name}"{described}\r\n\r\n'.encode() + content)
    content = b"\r\n".join([*parts, b"--b--\r\n"])
    return {"body": bytearray(content)}, {"mnist-form-type": "multipart/form-data; boundary=b"}


def test_text_fields_beside_files_are_ignored() -> None:
    assert_images(parse_request(*form(("comment", None, b"a seven"), ("data", "7.png", PNG), ("n", None, b"3"))), 1)
    assert_images(parse_request(*form(("a", "7.png", PNG), ("comment", None, b"two"), ("b", "8.png", PNG))), 2)


def test_without_file_names_every_field_is_a_picture() -> None:
    assert_images(parse_request(*form(("a", None, PNG), ("b", None, b"data:;base64," + BASE64.encode()))), 2)
    with pytest.raises(NotAPictureError):
        parse_request(*form(("a", None, PNG), ("comment", None, b"!")))


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", COMPRESSORS)
def test_compressed_bodies_are_read(encoding: str) -> None:
    compress, headers = COMPRESSORS[encoding], {"Content-Encoding": encoding}
    assert_images(parse_request({"body": bytearray(compress(PNG))}, headers), 1)
    several = json.dumps({"instances": [FLAT, FLAT]}).encode()
    assert_images(parse_request({"body": bytearray(compress(several))}, headers), 2)
    sent, declared = form(("a", "7.png", PNG), ("b", "8.png", PNG))
    assert_images(parse_request({"body": compress(bytes(sent["body"]))}, {**headers, **declared}), 2)


def test_deflate_without_zlib_s_header_is_read() -> None:
    compressor = zlib.compressobj(wbits=-15)
    content = compressor.compress(PNG) + compressor.flush()
    assert_images(parse_request({"body": content}, {"content-encoding": "deflate"}), 1)


@pytest.mark.parametrize(
    ("content", "encoding", "error", "status", "message"),
    [
        (gzip.compress(PNG)[:-9], "gzip", "BadEncodingError", 400, "damaged or cut"),
        (PNG, "gzip", "BadEncodingError", 400, "declared as gzip"),
        (gzip.compress(PNG) + b"more", "gzip", "BadEncodingError", 400, "damaged"),
        (PNG, "br", "UnknownEncodingError", 415, "'br'; gzip, x-gzip, deflate are supported"),
        (PNG, "gzip, gzip", "UnknownEncodingError", 415, "supported"),
        (gzip.compress(bytes(200_000_000)), "gzip", "TooManyBytesError", 413, "at most 10,485,760"),
    ],
)
def test_faults_of_compressed_bodies(content: bytes, encoding: str, error: str, status: int, message: str) -> None:
    started = time.thread_time()
    with pytest.raises(BadPictureError, match=re.escape(message)) as raised:
        parse_request({"body": content}, {"Content-Encoding": encoding})
    assert (type(raised.value).__name__, error_response(raised.value)[0]) == (error, status)
    assert time.thread_time() - started < 0.2  # a bomb is not inflated whole


WORDS = st.sampled_from(["image", "instances", "inputs", "shape", "datatype", "data", "b64", "BYTES", "FP32", BASE64])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
CHANGES = st.lists(st.tuples(st.integers(0, 783), st.integers(0, 255) | st.floats() | LEAVES), max_size=4)
NUMBERS = CHANGES.map(lambda changes: [dict(changes).get(index, number) for index, number in enumerate(FLAT)])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)


@given(VALUES | st.builds(lambda key, value: {key: value}, WORDS, VALUES | NUMBERS), st.binary(max_size=40))
def test_any_json_and_any_bytes_are_parsed_or_rejected(value: object, content: bytes) -> None:
    for parts in (body(value), {"body": value}, {"body": content}, {"a": content, "b": value}):
        try:
            assert parse_request(parts, {}).images
        except BadPictureError as error:
            assert errors.error_response(error)[0] in (400, 413)
