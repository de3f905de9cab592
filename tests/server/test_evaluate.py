"""The evaluation by a server agrees with the evaluation by the archive that it serves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_lightning import evaluate
from mnist_lightning.datasets import mnist
from mnist_lightning.evaluation import presentations
from mnist_lightning.serving.torchserve import Server


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, mnist_folder: Path) -> Path:
    """Forty digits, half labelled by their file names, half by their folders' names; and one blank picture."""
    folder = tmp_path_factory.mktemp("pictures")
    images, labels = mnist.load(mnist_folder, train=False)
    rng = np.random.default_rng(0)
    for index in range(40):
        label = int(labels[index])
        path = folder / f"paper/{label}-{index}.png" if index % 2 else folder / f"board/{label}/{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        present = presentations.sketchpad if index % 2 else presentations.jpeg
        path.write_bytes(present(images[index, 0].numpy(), rng))
    (folder / "paper/3-blank.png").write_bytes(presentations.sketchpad(np.zeros((28, 28), np.uint8), rng))
    return folder


def test_the_archive_and_the_server_give_the_same_report(
    pictures: Path, small_store: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def report(*flags: str) -> dict[str, Any]:
        assert evaluate.main(["pictures", str(pictures), *flags, "--json"]) == 0
        parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return parsed

    by_archive = report("--store", str(small_store), "--out", str(tmp_path / "archive"))
    by_server = report("--url", server.url, "--out", str(tmp_path / "server"))
    assert by_archive["pictures"] == 41
    assert set(by_archive["by_folder"]) == {"paper", "board"}
    assert list(by_archive["refused"]) == list(by_server["refused"]) == ["paper/3-blank.png"]
    assert "no ink" in by_archive["refused"]["paper/3-blank.png"]
    assert "no ink" in by_server["refused"]["paper/3-blank.png"]
    assert np.sum(by_archive["confusion"]) == 40
    for name in ("accuracy", "by_digit", "by_folder", "confusion", "misread", "no_digit", "notes"):
        assert by_server[name] == by_archive[name]
    assert by_server["calibration_error"] == pytest.approx(by_archive["calibration_error"], abs=1e-3)
    for folder in ("archive", "server"):
        for name in ("misread.png", "confusion_matrix.png"):
            assert (tmp_path / folder / name).read_bytes().startswith(b"\x89PNG")
