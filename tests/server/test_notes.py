"""Rejected pictures get a note in every protocol, in the client and in the evaluation."""

import json
import shutil
from collections.abc import Callable, Mapping
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
SEVERAL, OTHER = "I see 3 digits; send one", "this does not look like a digit"


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Bytes:
    images: Bytes = mnist.load(mnist_folder, train=False)[0][:60, 0].numpy()
    return images


@pytest.fixture(scope="module")
def rejected(small_store: Path, digits: Bytes) -> Mapping[int, bytes]:
    """A picture of three digits and one of something else; of several, those that the network rejects most clearly."""
    network, rng = archive.load_network(small_store / "mnist.mar"), np.random.default_rng(1)

    def score(picture: Bytes) -> float:
        batch = torch.from_numpy(normalize(picture))[None, None]
        return float(network.predict_with_ood(batch)[1].detach())

    rows = [row_of_digits(digits[n : n + 3]) for n in range(0, 60, 3)]
    others = [np.asarray(255 - sketches.scribble(rng), np.uint8) for _ in range(20)]
    counted = {
        count: [picture for picture in pictures if normalize_with_count(picture).digits == count]
        for count, pictures in ((3, rows), (1, others))
    }
    return {count: encode_png(min(pictures, key=score)) for count, pictures in counted.items()}


@pytest.fixture
def post(server: Server) -> Callable[..., dict[str, Any]]:
    def posted(path: str, **body: Any) -> dict[str, Any]:
        answer = requests.post(f"{server.url}/{path}", timeout=30, **body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return posted


def test_every_protocol_has_the_note(
    post: Callable[..., dict[str, Any]], rejected: Mapping[int, bytes], digits: Bytes
) -> None:
    several = post("predictions/mnist", data=rejected[3], headers=RAW)
    other = post("explanations/mnist", data=rejected[1], headers=RAW)
    assert (several["note"], other["note"]) == (SEVERAL, OTHER)
    numbers = digits[0].tolist()
    (one,) = post("v1/models/mnist:predict", json={"instances": [numbers]})["predictions"]
    assert "note" not in one
    assert one["is_digit"] > 0.9 > 0.5 > max(several["is_digit"], other["is_digit"])
    tensor = {"name": "x", "shape": [28, 28], "datatype": "UINT8", "data": numbers}
    outputs = post("v2/models/mnist/infer", json={"inputs": [tensor]})["outputs"]
    (output,) = [output for output in outputs if output["name"] == "is_digit"]
    assert (output["shape"], output["datatype"]) == ([1], "FP32")
    assert output["data"] == pytest.approx([one["is_digit"]], abs=1e-3)


def test_the_client_prints_the_note(
    server: Server, rejected: Mapping[int, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "three.png"
    path.write_bytes(rejected[3])
    assert client.main(["--url", server.url, str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"  note: {SEVERAL}"
    assert client.main(["--url", server.url, "--json", str(path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["note"] == SEVERAL
    assert 0 <= answer["is_digit"] < 0.5


def test_the_evaluation_counts_rejected_pictures(
    small_store: Path, rejected: Mapping[int, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "3-three.png").write_bytes(rejected[3])
    shutil.copy(SEVEN, pictures / "7.png")
    flags = ["--store", str(small_store), "--out", str(tmp_path / "out"), "--json"]
    assert evaluate.main(["pictures", str(pictures), *flags]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["no_digit"], report["notes"]) == (0.5, {"3-three.png": SEVERAL})
