"""The verb `evaluate` with an archive: its report, and its errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from mnist_lightning import evaluate
from mnist_lightning.common.constants import ARCHIVE
from mnist_lightning.datasets import mnist
from mnist_lightning.datasets.samples import mnist_test_set
from mnist_lightning.evaluation import presentations
from mnist_lightning.models.archive import load_network
from mnist_lightning.models.digitnet import predict_logits
from mnist_lightning.serving.torchserve import free_port
from tests.pages import stub_model_server
from tests.support import PROJECT, SEVEN

BLANK = presentations.sketchpad(np.zeros((28, 28), np.uint8), np.random.default_rng(0))


def test_a_folder_of_pictures(small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    for name, content in {"7.png": SEVEN.read_bytes(), "board/7/a.png": SEVEN.read_bytes(), "3.png": BLANK}.items():
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(content)
    flags = ["pictures", str(pictures), "--store", str(small_store), "--out", str(out)]
    assert evaluate.main([*flags, "--json"]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert set(report) == {
        *("pictures", "accuracy", "calibration_error", "by_digit", "by_folder", "confusion"),
        *("misread", "no_digit", "notes", "refused"),
    }
    assert report["by_digit"] == {"3": 0.0, "7": 1.0}
    assert report["by_folder"] == {".": 0.5, "board": 1.0}
    assert list(report["refused"]) == ["3.png"]
    assert f"see {out}/misread.png" in output.err
    assert sorted(path.name for path in out.iterdir()) == ["confusion_matrix.png", "misread.png"]
    assert evaluate.main(flags) == 0
    table = capsys.readouterr().out
    assert "3 pictures, accuracy 66.67 %" in table
    assert "no ink" in table


def test_the_test_set(
    small_store: Path,
    mnist_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first of MNIST's test digits; tests/accuracy takes all of them."""
    monkeypatch.setattr(evaluate, "mnist_test_set", lambda folder: mnist_test_set(folder)[:300])
    images, labels = (part[:300] for part in mnist.load(mnist_folder, train=False))
    correct = predict_logits(load_network(small_store / ARCHIVE), images).argmax(dim=1) == labels
    flags = ["--store", str(small_store), "--data", str(mnist_folder), "--out", str(tmp_path)]
    assert evaluate.main(["test", *flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 300
    assert report["misread"].keys() == {f"test-{index}" for index in (~correct).nonzero()[:, 0].tolist()}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["pictures", "nowhere"], "nowhere is not a folder"),
        (["pictures", str(PROJECT / "config")], "holds no picture"),
        (["pictures", "odd"], "a.png: neither"),
        (["numbers", "odd"], "a.png: the file's name is not that of a number"),
        (["pictures", "good", "--store", "empty"], "create it with: python -m mnist_lightning.package"),
        (["pictures", "good", "--url", f"http://127.0.0.1:{free_port()}"], "no server at"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_errors_are_one_line(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("odd/a.png", "good/3.png"):
        Path(name).parent.mkdir()
        Path(name).write_bytes(BLANK)
    assert evaluate.main(flags) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert message in output.err
    assert output.err.count("\n") == 1


def test_a_folder_of_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a server that reads every picture as the same two digits."""
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    for name in ("77-a.png", "7.png", "board/7_7.png", "board/771.png"):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(SEVEN.read_bytes())
    digit = {"prediction": 7, "confidence": 1.0, "probabilities": [0.0] * 7 + [1.0, 0.0, 0.0], "is_digit": 0.99}
    digits = [{**digit, "box": [left, 20, 100, 200]} for left in (20, 150)]
    with stub_model_server(lambda: (200, {**digit, "number": "77", "digits": digits})) as url:
        flags = ["numbers", str(pictures), "--url", url, "--out", str(out)]
        assert evaluate.main([*flags, "--json"]) == 0
        output = capsys.readouterr()
        assert evaluate.main(flags) == 0
    report = json.loads(output.out)
    assert report["total"] == {"pictures": 4, "exact_match_rate": 0.25, "digit_error_rate": 3 / 8}
    assert report["misread"] == {"7.png": "77", "board/771.png": "77", "board/7_7.png": "77"}
    assert f"see {out}/misread_numbers.png" in output.err
    assert [path.name for path in out.iterdir()] == ["misread_numbers.png"]
    assert "4 pictures, exact matches 25.00 %, digit errors 37.50 %" in capsys.readouterr().out


def test_the_archive_reads_numbers_of_one_digit(
    small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "7-a.png").write_bytes(SEVEN.read_bytes())
    flags = ["--store", str(small_store), "--out", str(tmp_path / "out"), "--json"]
    assert evaluate.main(["numbers", str(tmp_path), *flags]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["exact_match_rate"] == 1.0


def test_figures_that_cannot_be_written_are_one_error(
    small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "7.png").write_bytes(SEVEN.read_bytes())
    flags = ["pictures", str(tmp_path), "--store", str(small_store), "--out", str(tmp_path / "7.png")]
    assert evaluate.main(flags) == 1
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert "7.png" in output.err


def test_started_in_any_folder_it_writes_only_its_figures(
    small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    Path("pictures/7.png").write_bytes(SEVEN.read_bytes())
    assert evaluate.main(["pictures", "pictures", "--store", str(small_store)]) == 0
    assert {str(path) for path in Path().rglob("*")} == {
        *("build", "build/evaluate", "build/evaluate/confusion_matrix.png", "build/evaluate/misread.png"),
        *("pictures", "pictures/7.png"),
    }
