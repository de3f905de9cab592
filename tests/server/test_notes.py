"""Rejected pictures and numbers get a note in every protocol, in the client and in the evaluation."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from mnist_lightning import evaluate
from mnist_lightning.client import __main__ as client
from mnist_lightning.datasets import mnist, sketches
from mnist_lightning.models import archive
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import normalize, normalize_with_count
from mnist_lightning.serving.torchserve import Server
from tests.pictures import encode_png, row_of_digits
from tests.support import SEVEN

RAW = {"Content-Type": "application/octet-stream"}
SEVERAL, OTHER = "several digits: 721", "this does not look like a digit"


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Bytes:
    images: Bytes = mnist.load(mnist_folder, train=False)[0][:60, 0].numpy()
    return images


@pytest.fixture(scope="module")
def several(digits: Bytes) -> bytes:
    """A picture of the number 721."""
    return encode_png(row_of_digits(digits[:3]))


@pytest.fixture(scope="module")
def other(small_store: Path) -> bytes:
    """A picture of no digit: of several, the one that the network rejects most clearly."""
    network, rng = archive.load_network(small_store / "mnist.mar"), np.random.default_rng(1)

    def score(picture: Bytes) -> float:
        batch = torch.from_numpy(normalize(picture))[None, None]
        return float(network.predict_with_ood(batch)[1].detach())

    scribbles = [np.asarray(255 - sketches.scribble(rng), np.uint8) for _ in range(20)]
    single = [picture for picture in scribbles if normalize_with_count(picture).number is None]
    return encode_png(min(single, key=score))


@pytest.fixture
def post(server: Server) -> Callable[..., dict[str, Any]]:
    def posted(path: str, **body: Any) -> dict[str, Any]:
        answer = requests.post(f"{server.url}/{path}", timeout=30, **body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return posted


def test_every_protocol_has_the_note(
    post: Callable[..., dict[str, Any]], several: bytes, other: bytes, digits: Bytes
) -> None:
    number = post("predictions/mnist", data=several, headers=RAW)
    rejected = post("explanations/mnist", data=other, headers=RAW)
    assert (number["note"], rejected["note"]) == (SEVERAL, OTHER)
    assert (number["number"], rejected["number"]) == ("721", "?")
    pixels = digits[0].tolist()
    (one,) = post("v1/models/mnist:predict", json={"instances": [pixels]})["predictions"]
    assert "note" not in one
    assert one["is_digit"] > 0.9 > 0.5 > rejected["is_digit"]
    files = [base64.b64encode(picture).decode() for picture in (encode_png(digits[0]), several, other)]
    tensor = {"name": "x", "shape": [3], "datatype": "BYTES", "data": files}
    outputs = post("v2/models/mnist/infer", json={"inputs": [tensor]})["outputs"]
    tensors = {output["name"]: output for output in outputs}
    assert tensors["note"] == {"name": "note", "shape": [3], "datatype": "BYTES", "data": ["", SEVERAL, OTHER]}
    assert tensors["number"]["data"] == [one["number"], "721", "?"]
    assert (tensors["is_digit"]["shape"], tensors["is_digit"]["datatype"]) == ([3], "FP32")
    certainties = [one["is_digit"], number["is_digit"], rejected["is_digit"]]
    assert tensors["is_digit"]["data"] == pytest.approx(certainties, abs=1e-3)


def test_the_client_prints_the_note(
    server: Server, other: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scribble.png"
    path.write_bytes(other)
    assert client.main(["--url", server.url, str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"  note: {OTHER}"
    assert client.main(["--url", server.url, "--json", str(path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["note"], answer["number"]) == (OTHER, "?")
    assert 0 <= answer["is_digit"] < 0.5


def test_the_client_prints_the_number(
    server: Server, several: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "three.png"
    path.write_bytes(several)
    assert client.main(["--url", server.url, str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: 721"
    assert [line.split()[0] for line in lines[-3:]] == ["7", "2", "1"]


def test_the_evaluation_counts_rejected_pictures(
    small_store: Path, other: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "3-scribble.png").write_bytes(other)
    shutil.copy(SEVEN, pictures / "7.png")
    flags = ["--store", str(small_store), "--out", str(tmp_path / "out"), "--json"]
    assert evaluate.main(["pictures", str(pictures), *flags]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["no_digit"], report["notes"]) == (0.5, {"3-scribble.png": OTHER})
