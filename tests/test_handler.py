"""The handler's whole contract, without a server: batches as TorchServe makes them."""

import base64
import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Trained
from PIL import Image
from ts.context import Context, RequestProcessor

from handlers.digit_handler import DigitHandler
from mnist_lightning import mnist

Item = dict[str, Any]


@pytest.fixture(scope="module")
def handler(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> DigitHandler:
    folder = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(trained.store / "mnist.mar") as archive:
        archive.extractall(folder)
    made = DigitHandler()
    manifest = json.loads((folder / "MAR-INF/MANIFEST.json").read_text())
    made.initialize(SimpleNamespace(system_properties={"model_dir": str(folder)}, manifest=manifest))
    return made


@pytest.fixture(scope="module")
def pictures(mnist_folder: Path) -> list[bytes]:
    images, _ = mnist.load(mnist_folder, train=False)
    return [png(image[0].numpy()) for image in images[:8]]


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def answers(handler: DigitHandler, items: list[Item]) -> list[tuple[int, dict[str, Any]]]:
    """Status and body of each item, by way of TorchServe's own context."""
    context = Context("mnist", ".", {}, len(items), None, "0")
    context.request_processor = [RequestProcessor({}) for _ in items]
    bodies = handler.handle(items, context)
    assert len(bodies) == len(items)
    for index in range(len(items)):
        assert context.get_response_content_type(index) == "application/json"
    return [(context.get_response_status(index)[0], json.loads(body)) for index, body in enumerate(bodies)]


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


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({}, "0 parts"),
        ({"body": None}, "0 parts"),
        ({"body": bytearray()}, "0 parts"),
        ({"body": bytearray(b"hello")}, "not a picture"),
        ({"body": "text"}, "str"),
        ({"body": {}}, "0 parts"),
        ({"body": {"picture": "x"}}, '"image"'),
        ({"body": {"image": "?"}}, "base64"),
        ({"body": {"image": [1, 2, 3]}}, "784"),
        ({"body": {"image": [[0] * 28] * 27}}, "784"),
        ({"body": {"image": [300] * 784}}, "from 0 to 255"),
        ({"body": {"image": [-1.0] * 784}}, "from 0 to 255"),
        ({"body": {"image": [float("nan")] * 784}}, "from 0 to 255"),
        ({"body": {"image": ["a"] * 784}}, "numbers only"),
        ({"body": {"image": [0] * 784}}, "no ink"),
        ({"a": bytearray(b"x"), "b": bytearray(b"y")}, "2 parts"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_picture_gets_a_400_that_says_so(item: Item, said: str, handler: DigitHandler) -> None:
    ((status, body),) = answers(handler, [item])
    assert (status, body["code"]) == (400, 400)
    assert set(body) == {"code", "type", "message"}
    assert said in body["message"]
    assert "multipart" in body["message"]


def test_a_batch_of_nothing_but_broken_ones(handler: DigitHandler) -> None:
    assert [status for status, _ in answers(handler, [{"body": b"x"}, {"body": b"y"}])] == [400, 400]
