"""The handler's contract without a server: batches in the form that TorchServe passes them."""

import base64
import gc
import io
import json
import sys
import time
import zipfile
from collections.abc import Container, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ts.context import Context, RequestProcessor
from ts.protocol import otf_message_handler
from ts.service import Service

from handlers import digit_handler
from handlers.digit_handler import DigitHandler
from mnist_lightning.datasets import mnist
from mnist_lightning.inference import protocols
from mnist_lightning.inference.attribution import MAX_PICTURES
from mnist_lightning.inference.open_inference import HEADER_LENGTH
from mnist_lightning.models import digitnet
from mnist_lightning.preprocessing.errors import BadPictureError
from tests.pictures import bars, encode_png, lines_of_digits

Item = dict[str, Any]


@pytest.fixture(scope="module")
def handler(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DigitHandler]:
    folder = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(small_store / "mnist.mar") as archive:
        archive.extractall(folder)
    made = DigitHandler()
    manifest = json.loads((folder / "MAR-INF/MANIFEST.json").read_text())
    with pytest.MonkeyPatch.context() as patch:  # undo the handler's changes to its worker's process
        patch.setenv("TS_DECODE_INPUT_REQUEST", "true")
        patch.setattr(Service, "retrieve_data_for_inference", Service.retrieve_data_for_inference)
        patch.setattr(otf_message_handler, "_retrieve_buffer", otf_message_handler._retrieve_buffer)
        made.initialize(SimpleNamespace(system_properties={"model_dir": str(folder)}, manifest=manifest))
        yield made


@pytest.fixture(scope="module")
def pictures(mnist_folder: Path) -> list[bytes]:
    images, _ = mnist.load(mnist_folder, train=False)
    return [png(image[0].numpy()) for image in images[:8]]


@pytest.fixture(scope="module")
def number(mnist_folder: Path) -> bytes:
    """The number 721 above 04."""
    images = mnist.load(mnist_folder, train=False)[0][:5, 0].numpy()
    return encode_png(lines_of_digits([images[:3], images[3:]]))


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def answers(handler: DigitHandler, items: list[Item], explained: Container[int] = ()) -> list[tuple[int, Any]]:
    """Status and body of each item, through TorchServe's own context."""
    context = Context("mnist", ".", {}, len(items), None, "0")
    context.request_processor = [RequestProcessor({"explain": str(n in explained)}) for n in range(len(items))]
    bodies = handler.handle(items, context)
    assert len(bodies) == len(items)
    for index in range(len(items)):
        assert context.get_response_content_type(index) == "application/json"
    return [(context.get_response_status(index)[0], json.loads(body)) for index, body in enumerate(bodies)]


def test_a_probe_is_a_prediction_that_is_not_counted(
    handler: DigitHandler, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context("mnist", ".", {}, 2, None, "0")
    context.request_processor = [RequestProcessor({protocols.RESOURCE: "ready"}), RequestProcessor({})]
    inferred, counted = [], []
    original = handler.inference

    def inference(images: np.ndarray) -> Any:
        inferred.append(len(images))
        return original(images)

    monkeypatch.setattr(handler, "inference", inference)
    monkeypatch.setattr(handler.metrics, "batch", lambda size, found: counted.append((size, len(found))))
    bodies = handler.handle([{"body": b""}, {"body": bytearray(pictures[0])}], context)
    assert json.loads(bodies[0]) == {"ready": True}
    assert inferred[0] == 2
    assert counted == [(2, 1)]


def test_binary_outputs_follow_the_json(handler: DigitHandler, pictures: list[bytes]) -> None:
    wish = {"name": "prediction", "parameters": {"binary_data": True}}
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(pictures[0]).decode()]}
    body = json.dumps({"inputs": [tensor], "outputs": [wish]}).encode()
    context = Context("mnist", ".", {}, 1, None, "0")
    context.request_processor = [RequestProcessor({})]
    [answer] = handler.handle([{"body": body}], context)
    length = int(context.get_response_headers(0)[HEADER_LENGTH])
    assert context.get_response_content_type(0) == "application/octet-stream"
    assert json.loads(answer[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert int.from_bytes(answer[length:], "little") == 7


def test_a_batch_with_one_broken_picture(handler: DigitHandler, pictures: list[bytes]) -> None:
    whole = answers(handler, [{"body": bytearray(picture)} for picture in pictures])
    items: list[Item] = [{"body": bytearray(picture)} for picture in pictures]
    items[3] = {"body": bytearray(pictures[3][:60])}
    got = answers(handler, items)
    assert [status for status, _ in got] == [200, 200, 200, 400, 200, 200, 200, 200]
    assert got[3][1]["type"] == "NotAPictureError"
    for index in {0, 1, 2, 4, 5, 6, 7}:
        assert got[index][1]["prediction"] == whole[index][1]["prediction"]
        assert got[index][1]["probabilities"] == pytest.approx(whole[index][1]["probabilities"], abs=2e-5)


def test_every_form_of_a_picture_gets_the_same_answer(handler: DigitHandler, pictures: list[bytes]) -> None:
    numbers = np.asarray(Image.open(io.BytesIO(pictures[0])))
    text = base64.b64encode(pictures[0]).decode()
    forms: list[Item] = [
        {"body": bytearray(pictures[0])},
        {"data": bytearray(pictures[0])},
        {"body": {"image": text}},
        {"body": {"image": f"data:image/png;base64,{text}"}},
        {"body": {"image": numbers.ravel().tolist()}},
        {"body": {"image": numbers.tolist()}},
    ]
    bodies = [body for status, body in answers(handler, forms) if status == 200]
    assert len(bodies) == len(forms)
    for body in bodies:
        assert body["probabilities"] == pytest.approx(bodies[0]["probabilities"], abs=2e-5)
        assert body["confidence"] == max(body["probabilities"])
        assert body["probabilities"][body["prediction"]] == body["confidence"]
        assert sum(body["probabilities"]) == pytest.approx(1, abs=1e-4)


def test_a_batch_of_all_forms_is_one_inference(
    handler: DigitHandler, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [base64.b64encode(picture).decode() for picture in pictures]
    tensor = {"name": "x", "shape": [2], "datatype": "BYTES", "data": texts[5:7]}
    items: list[Item] = [
        {"body": bytearray(pictures[0])},
        {"a": bytearray(pictures[1]), "b": bytearray(pictures[2])},
        {"body": b"no picture"},
        {"body": json.dumps({"instances": texts[3:5]}).encode()},
        {"body": json.dumps({"id": "mine", "inputs": [tensor]}).encode()},
        {"body": bytearray(pictures[7])},
    ]
    alone = [body["prediction"] for _, body in answers(handler, [{"body": picture} for picture in pictures])]
    sizes: list[int] = []
    inference = handler.inference

    def counted(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(batch))
        return inference(batch)

    monkeypatch.setattr(handler, "inference", counted)
    got = answers(handler, items)
    assert sizes == [8]
    assert [status for status, _ in got] == [200, 200, 400, 200, 200, 200]
    first, fields, _, v1, v2, last = (body for _, body in got)
    read = [first, *fields, *v1["predictions"]]
    assert [answer["prediction"] for answer in read] == alone[:5]
    assert v2["outputs"][0] == {"name": "prediction", "shape": [2], "datatype": "INT64", "data": alone[5:7]}
    assert (v2["id"], last["prediction"]) == ("mine", alone[7])


def test_an_error_names_the_fault_and_the_accepted_forms(handler: DigitHandler) -> None:
    ((status, body),) = answers(handler, [{"body": b"hello"}])
    assert (status, body["code"], body["type"]) == (400, 400, "NotAPictureError")
    assert set(body) == {"code", "type", "message"}
    assert "not a picture" in body["message"]
    assert "multipart" in body["message"]


def test_an_internal_error_is_one_items_500_and_the_log_has_no_body(
    handler: DigitHandler, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(parts: Item, headers: object) -> protocols.Request:
        if parts["body"] == b"secret":
            raise ZeroDivisionError(f"cannot divide {parts['body']!r}")
        return protocols.parse_request(parts, {})

    monkeypatch.setattr(digit_handler, "parse_request", faulty)
    got = answers(handler, [{"body": pictures[0]}, {"body": b"secret"}, {"body": pictures[1]}])
    assert [status for status, _ in got] == [200, 500, 200]
    assert got[1][1]["type"] == "InternalError"
    assert "ZeroDivisionError" in caplog.text
    assert "in faulty" in caplog.text
    assert "secret" not in caplog.text


def test_a_request_that_takes_too_long_is_rejected_and_its_neighbours_are_not(
    handler: DigitHandler, pictures: list[bytes]
) -> None:
    """Each of the large pictures is accepted alone; together they would delay the whole batch by seconds."""
    paper = np.full((2880, 2880), 255, np.uint8)
    paper[600:2600, 1400:1700] = 0
    large = png(paper)
    started = time.process_time()
    got = answers(handler, [{"body": pictures[0]}, {str(n): large for n in range(64)}, {"body": pictures[1]}])
    assert [status for status, _ in got] == [200, 413, 200]
    assert got[1][1]["type"] == "TooSlowError"
    assert time.process_time() - started < 3


def test_predictions_and_explanations_of_one_batch_are_kept_apart(handler: DigitHandler, pictures: list[bytes]) -> None:
    """TorchServe's own handlers look at the first item of a batch only."""
    items: list[Item] = [{"body": picture} for picture in pictures]
    alone = answers(handler, items)
    for explained in ({0, 3}, {5}):
        got = answers(handler, items, explained)
        assert [body["prediction"] for _, body in got] == [body["prediction"] for _, body in alone]
        assert {n for n, (_, body) in enumerate(got) if "explanation" in body} == explained


def test_an_explanation_accounts_for_the_answer(handler: DigitHandler, pictures: list[bytes]) -> None:
    ((_, body),) = answers(handler, [{"body": pictures[0]}], {0})
    seen, shares = np.array(body["seen"]), np.array(body["explanation"])
    assert seen.shape == shares.shape == (28, 28)
    assert np.array_equal(seen, np.asarray(Image.open(io.BytesIO(pictures[0]))))
    assert not shares[seen == 0].any()
    with torch.inference_mode():
        read = digitnet.load(handler.model.weights)(
            torch.from_numpy(np.stack([seen, 0 * seen])[:, None].astype(np.float32) / 255)
        )
    difference = float(read[0, body["prediction"]] - read[1, body["prediction"]])
    assert shares.sum() == pytest.approx(difference, abs=max(0.5, abs(difference) / 10))


def test_explanations_of_many_pictures_are_rejected(handler: DigitHandler, pictures: list[bytes]) -> None:
    fields = {str(n): pictures[n % len(pictures)] for n in range(MAX_PICTURES + 1)}
    (status, body), (other, _) = answers(handler, [fields, {"body": pictures[0]}], {0})
    assert (status, body["type"], other) == (413, "TooManyPicturesError", 200)


def test_a_number_is_read_beside_single_digits(handler: DigitHandler, pictures: list[bytes], number: bytes) -> None:
    (_, alone), (_, mixed), (_, one) = answers(
        handler, [{"body": number}, {"a": pictures[0], "b": number, "c": pictures[1]}, {"body": pictures[0]}]
    )
    assert (alone["number"], alone["lines"]) == ("721\n04", ["721", "04"])
    assert alone["note"] == "several digits: 721 / 04"
    assert [digit["prediction"] for digit in alone["digits"]] == [7, 2, 1, 0, 4]
    assert [part["number"] for part in mixed] == [one["number"], "721\n04", str(mixed[2]["prediction"])]
    assert mixed[1]["digits"] == alone["digits"]
    height, width = np.asarray(Image.open(io.BytesIO(number))).shape
    for digit in alone["digits"]:
        left, top, across, down = digit["box"]
        assert 0 <= left < left + across <= width
        assert 0 <= top < top + down <= height
    lefts = [digit["box"][0] for digit in alone["digits"]]
    assert lefts[:3] == sorted(lefts[:3])
    assert alone["digits"][3]["box"][1] > height / 2


def test_each_digit_of_a_number_has_its_explanation(
    handler: DigitHandler, pictures: list[bytes], number: bytes
) -> None:
    fields = {"a": pictures[0], "b": number, "c": pictures[1]}
    (_, plain), (status, explained), (_, first) = answers(handler, [fields, fields, {"body": pictures[0]}], {1, 2})
    assert status == 200
    assert explained[0]["seen"] == first["seen"]
    for part, without in zip(explained, plain, strict=True):
        assert {name: part[name] for name in without if name != "digits"} == {
            name: without[name] for name in without if name != "digits"
        }
        assert np.shape(part["seen"]) == np.shape(part["explanation"]) == (28, 28)
    assert ["digits" in part for part in explained] == [False, True, False]
    for digit, without in zip(explained[1]["digits"], plain[1]["digits"], strict=True):
        assert {name: digit[name] for name in without} == without
        seen, shares = np.array(digit["seen"]), np.array(digit["explanation"])
        assert seen.shape == shares.shape == (28, 28)
        assert seen.max() > 100
        assert shares.any()
        assert not shares[seen == 0].any()
    read = [{"body": {"image": digit["seen"]}} for digit in explained[1]["digits"]]
    assert [body["prediction"] for _, body in answers(handler, read)] == [7, 2, 1, 0, 4]


def test_explanations_of_many_digits_are_rejected(
    handler: DigitHandler, pictures: list[bytes], mnist_folder: Path
) -> None:
    images = mnist.load(mnist_folder, train=False)[0][:14, 0].numpy()
    many = encode_png(lines_of_digits([images[:7], images[7:]]))
    (status, body), (other, _) = answers(handler, [{"body": many}, {"body": pictures[0]}], {0, 1})
    assert (status, body["type"], other) == (413, "TooManyPicturesError", 200)
    assert body["message"].startswith("15 pictures and digits of numbers; the limit for explanations is 12")


def test_too_many_digits_are_one_request_s_error(handler: DigitHandler, number: bytes) -> None:
    got = answers(handler, [{"body": number}, {"body": encode_png(bars(7, 10))}, {"body": number}])
    assert [status for status, _ in got] == [200, 413, 200]
    assert got[1][1]["type"] == "TooManyDigitsError"
    assert got[0][1]["number"] == got[2][1]["number"] == "721\n04"


def test_without_captum_only_explanations_fail(
    handler: DigitHandler, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mnist_lightning.inference.attribution", raising=False)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    (status, body), (other, _) = answers(handler, [{"body": pictures[0]}, {"body": pictures[1]}], {0})
    assert (status, body["type"], other) == (501, "UnexplainedError", 200)
    assert "pip install captum" in body["message"]


def test_fields_of_one_name_are_all_kept(handler: DigitHandler, pictures: list[bytes]) -> None:
    """As the worker converts a batch; unpatched, it keeps the last file only."""
    parts = [{"name": "data", "contentType": "image/png", "value": bytearray(picture)} for picture in pictures[:3]]
    _, batch, _ = Service.retrieve_data_for_inference([{"requestId": b"1", "headers": [], "parameters": parts}])
    ((status, several),) = answers(handler, batch)
    alone = [body["prediction"] for _, body in answers(handler, [{"body": picture} for picture in pictures[:3]])]
    assert (status, [answer["prediction"] for answer in several]) == (200, alone)


def test_rejected_requests_are_freed_at_once(handler: DigitHandler, pictures: list[bytes]) -> None:
    """Tracebacks hold frames, and those hold pictures, megabytes of a large one."""
    gc.collect()
    gc.disable()  # which would free a cycle of them eventually
    try:
        answers(handler, [{"body": picture[:200]} for picture in pictures])
        answers(handler, [{"data": b"{}", "more": pictures[0]}, {"body": b'{"instances": []}'}], explained={0, 1})
        kept = [thing for thing in gc.get_objects() if isinstance(thing, BadPictureError)]
    finally:
        gc.enable()
    assert kept == []


def test_a_batch_of_broken_pictures_only(handler: DigitHandler) -> None:
    assert [status for status, _ in answers(handler, [{"body": b"x"}, {"body": b"y"}])] == [400, 400]
