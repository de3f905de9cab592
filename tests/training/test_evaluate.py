"""The evaluation as a user runs it: offline and against a server, with the labels in the names or the folders."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import presentations
from mnist_lightning.datasets import mnist
from mnist_lightning.serving.torchserve import Server, free_port
from tests.support import PROJECT, Trained, verb


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Path:
    """Forty digits: half named by their label, half in folders named by it; one blank."""
    folder = tmp_path_factory.mktemp("pictures")
    images, labels = mnist.load(mnist_folder, train=False)
    dice = np.random.default_rng(0)
    for index in range(40):
        label = int(labels[index])
        path = folder / f"paper/{label}-{index}.png" if index % 2 else folder / f"board/{label}/{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        make = presentations.sketchpad if index % 2 else presentations.jpeg
        path.write_bytes(make(images[index, 0].numpy(), dice))
    (folder / "paper/3-blank.png").write_bytes(presentations.sketchpad(np.zeros((28, 28), np.uint8), dice))
    return folder


def report(*flags: str) -> "dict[str, object]":
    done = verb("evaluate", *flags, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_offline_and_by_the_server_are_the_same(
    pictures: Path, trained: Trained, server: Server, tmp_path: Path
) -> None:
    offline = report("pictures", str(pictures), "--store", str(trained.store), "--out", str(tmp_path))
    asked = report("pictures", str(pictures), "--url", server.url, "--out", str(tmp_path / "asked"))
    assert offline["pictures"] == 41
    assert set(offline["by_folder"]) == {"paper", "board"}  # type: ignore[call-overload]
    assert list(offline["refused"]) == ["paper/3-blank.png"]  # type: ignore[call-overload]
    assert np.sum(offline["confusion"]) == 40  # type: ignore[arg-type]
    for name in ("accuracy", "by_digit", "by_folder", "confusion", "misread"):
        assert asked[name] == offline[name]
    assert asked["calibration_error"] == pytest.approx(offline["calibration_error"], abs=1e-3)
    for folder in (tmp_path, tmp_path / "asked"):
        for name in ("misread.png", "confusion_matrix.png"):
            assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_people_get_a_table(pictures: Path, trained: Trained, tmp_path: Path) -> None:
    done = verb("evaluate", "pictures", str(pictures), "--store", str(trained.store), "--out", str(tmp_path))
    assert "41 pictures, accuracy" in done.stdout
    assert "expected calibration error" in done.stdout
    assert "board" in done.stdout
    assert "no ink" in done.stdout


def test_the_test_set(trained: Trained, mnist_folder: Path, tmp_path: Path) -> None:
    told = report("test", "--store", str(trained.store), "--data", str(mnist_folder), "--out", str(tmp_path))
    described = json.loads((trained.store / "mnist.json").read_text())
    assert told["pictures"] == 10_000
    assert told["accuracy"] == pytest.approx(described["final_test_accuracy"], abs=5e-4)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["pictures", "nowhere"], "nowhere is not a folder"),
        (["pictures", str(PROJECT / "config")], "holds no picture"),
        (["pictures", "odd"], "a.png: neither"),
        (["pictures", "good", "--store", "empty"], "mnist_lightning.package"),
        (["pictures", "good", "--url", f"http://127.0.0.1:{free_port()}"], "no server at"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_evaluated_is_one_clear_error(flags: list[str], said: str, tmp_path: Path) -> None:
    for folder, name in (("odd", "a.png"), ("good", "3.png")):
        (tmp_path / folder).mkdir()
        blank = presentations.sketchpad(np.zeros((28, 28), np.uint8), np.random.default_rng(0))
        (tmp_path / folder / name).write_bytes(blank)
    done = verb("evaluate", *flags, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
