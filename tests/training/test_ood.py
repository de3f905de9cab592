"""What is no digit: told beside the ten, which it leaves as they are."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
import torch
from sklearn.metrics import roc_auc_score

from mnist_lightning.datasets import mnist, outliers, sketches
from mnist_lightning.inference import prediction
from mnist_lightning.models import archive
from mnist_lightning.models.digitnet import DigitNet
from mnist_lightning.models.ood import OODHead
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import normalize, normalize_with_count
from mnist_lightning.serving.torchserve import Server
from tests.support import Trained, verb

UNKNOWN_FONTS = ("cmb10", "STIXGeneralBol", "DejaVuSansMono-Bold")  # the network learnt from others
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def network(trained: Trained) -> DigitNet:
    return archive.load_network(trained.store / "mnist.mar")


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Bytes:
    return mnist.load(mnist_folder, train=False)[0][:1000, 0].numpy()


def is_digit(network: DigitNet, pictures: np.ndarray) -> np.ndarray:
    return prediction.predict(network, pictures.astype(np.float32), max_batch=100)[1]


def row(digits: Bytes, gap: int = 6) -> Bytes:
    """Digits side by side, dark on a light canvas, each four times as large."""
    parts = [cv2.copyMakeBorder(digit[:, digit.any(axis=0)], 4, 4, gap, gap, cv2.BORDER_CONSTANT) for digit in digits]
    sheet = np.concatenate(parts, axis=1)
    return np.asarray(255 - cv2.resize(sheet, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def png(array: Bytes) -> bytes:
    return cv2.imencode(".png", array)[1].tobytes()


def test_the_ten_logits_are_what_they_were(network: DigitNet, digits: Bytes) -> None:
    images = torch.from_numpy(digits[:200, None].astype(np.float32) / 255)
    for one in (network, network.optimized_for_inference()):
        with torch.inference_mode():
            assert torch.equal(one(images), one.predict_with_ood(images)[0])
    without = {name: value for name, value in network.state_dict().items() if not name.startswith("judge.")}
    with torch.inference_mode():
        assert torch.equal(DigitNet.from_state_dict(without)(images), network(images))


def test_a_temperature_changes_the_ten_and_not_whether_it_is_one() -> None:
    network, images = DigitNet().eval(), torch.rand(8, 1, 28, 28)
    network.ood_head = OODHead(network.head.in_features, 4)
    with torch.inference_mode():
        logits, odds = network.predict_with_ood(images)
        cooled = network.with_temperature(0.5).predict_with_ood(images)
    torch.testing.assert_close(cooled[0], 2 * logits)
    torch.testing.assert_close(cooled[1], odds)


def test_without_a_judge_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="train it again"):
        DigitNet().predict_with_ood(torch.zeros(1, 1, 28, 28))


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        (outliers.typed(outliers.LETTERS, UNKNOWN_FONTS), 0.85),
        (sketches.scribble, 0.95),
        (sketches.texture, 0.95),
    ],
    ids=["letters of other fonts", "scribbles", "textures"],
)
def test_digits_are_told_from_other_things(kind: sketches.Make, least: float, network: DigitNet, digits: Bytes) -> None:
    """By a network that saw 6,000 digits once; all of MNIST does much better."""
    others = is_digit(network, outliers.made({"kind": kind}, 200, 5)[0])
    real = is_digit(network, digits / 255)
    assert (real < network.threshold).mean() < 0.03
    assert roc_auc_score(np.repeat([1, 0], [len(real), len(others)]), np.concatenate([real, others])) > least


def test_what_is_made_is_the_same_every_time() -> None:
    kinds = {name: outliers.DRAWN[name] for name in ("letter", "scribble")}
    first, second = outliers.made(kinds, 5, 3), outliers.made(kinds, 5, 3)
    assert np.array_equal(first[0], second[0])
    assert first[1] == ["letter"] * 5 + ["scribble"] * 5
    assert not np.array_equal(first[0], outliers.made(kinds, 5, 4)[0])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_digits_side_by_side_are_counted(count: int, digits: Bytes) -> None:
    told = [normalize_with_count(row(digits[n : n + count])).digits for n in range(0, 100, count)]
    assert np.mean(np.array(told) == count) > 0.9


def test_one_digit_is_one(digits: Bytes) -> None:
    dice = np.random.default_rng(0)
    redrawn = [outliers.as_sent(outliers.redrawn(digits)(dice), dice) for _ in range(300)]
    assert np.mean([normalize_with_count(picture).digits for picture in redrawn] == np.ones(300)) > 0.995


def drawn(*strokes: "list[tuple[int, int]]") -> Bytes:
    sheet = np.full((200, 200), 255, np.uint8)
    for stroke in strokes:
        cv2.polylines(sheet, [np.array(stroke, np.int32)], False, 0, 9, cv2.LINE_AA)
    return sheet


BELLY = [(80, 50), (76, 90), (110, 86), (128, 110), (118, 145), (80, 150)]
ONE_DIGIT = {
    "a 5 with its bar apart": drawn(BELLY, [(95, 40), (140, 36)]),
    "an open 4": drawn([(70, 50), (64, 100), (110, 100)], [(122, 45), (120, 160)]),
    "a digit in a frame": cv2.rectangle(drawn(BELLY, [(80, 50), (125, 48)]), (5, 5), (194, 194), 0, 3),
    "a digit and a speck": cv2.circle(drawn(BELLY, [(80, 50), (125, 48)]), (170, 100), 4, 0, -1),
    "a digit on ruled paper": np.minimum(
        drawn(BELLY, [(80, 50), (125, 48)]), np.where(np.arange(200) % 40 == 5, 150, 255).astype(np.uint8)[:, None]
    ),
}


@pytest.mark.parametrize("picture", ONE_DIGIT.values(), ids=ONE_DIGIT.keys())
def test_what_belongs_to_a_digit_or_to_none_is_not_another(picture: Bytes) -> None:
    assert normalize_with_count(picture).digits == 1


@pytest.fixture(scope="module")
def noted(network: DigitNet, digits: Bytes) -> dict[int, bytes]:
    """A picture of three digits and one of something else, both such as this network refuses."""
    dice = np.random.default_rng(1)
    three = [row(digits[n : n + 3]) for n in range(0, 60, 3)]
    other = [np.asarray(255 - sketches.scribble(dice), np.uint8) for _ in range(20)]
    found = {}
    for count, sheets in ((3, three), (1, other)):
        counted = [sheet for sheet in sheets if normalize_with_count(sheet).digits == count]
        found[count] = png(min(counted, key=lambda sheet: is_digit(network, normalize(sheet)[None])[0]))
    return found


def test_the_server_says_so_in_every_protocol(server: Server, noted: dict[int, bytes], digits: Bytes) -> None:
    def posted(path: str, **body: object) -> dict[str, object]:
        answer = requests.post(f"{server.url}/{path}", timeout=30, **body)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    three = posted("predictions/mnist", data=noted[3], headers=RAW)
    other = posted("explanations/mnist", data=noted[1], headers=RAW)
    assert three["note"] == "I see 3 digits; send one"
    assert other["note"] == "this does not look like a digit"
    numbers = digits[0].tolist()
    (one,) = posted("v1/models/mnist:predict", json={"instances": [numbers]})["predictions"]  # type: ignore[misc]
    assert "note" not in one
    assert one["is_digit"] > 0.9 > 0.5 > max(three["is_digit"], other["is_digit"])  # type: ignore[type-var]
    tensor = {"name": "x", "shape": [28, 28], "datatype": "UINT8", "data": numbers}
    outputs = posted("v2/models/mnist/infer", json={"inputs": [tensor]})["outputs"]
    (told,) = [output for output in outputs if output["name"] == "is_digit"]  # type: ignore[attr-defined]
    assert (told["shape"], told["datatype"]) == ([1], "FP32")
    assert told["data"] == pytest.approx([one["is_digit"]], abs=1e-3)


def test_the_client_prints_the_note(server: Server, noted: dict[int, bytes], tmp_path: Path) -> None:
    path = tmp_path / "three.png"
    path.write_bytes(noted[3])
    done = verb("client", "--url", server.url, str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "  note: I see 3 digits; send one"
    told = json.loads(verb("client", "--url", server.url, "--json", str(path)).stdout)
    assert told["note"] == "I see 3 digits; send one"
    assert 0 <= told["is_digit"] < 0.5


def test_the_evaluation_tells_how_many_were_refused(trained: Trained, noted: dict[int, bytes], tmp_path: Path) -> None:
    (tmp_path / "3-three.png").write_bytes(noted[3])
    (tmp_path / "7.png").write_bytes((Path(__file__).parent / "seven.png").read_bytes())
    flags = ("--store", str(trained.store), "--out", str(tmp_path / "out"), "--json")
    told = json.loads(verb("evaluate", "pictures", str(tmp_path), *flags).stdout)
    assert (told["no_digit"], told["notes"]) == (0.5, {"3-three.png": "I see 3 digits; send one"})
