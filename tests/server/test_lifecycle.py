"""The lifecycle in one command, after its training."""

from pathlib import Path

import pytest

from mnist_lightning import lifecycle
from mnist_lightning.packaging import pipeline


def test_the_archive_is_served_and_classifies_a_digit(
    small_store: Path,
    mnist_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "train_and_promote", lambda request: 0)
    assert lifecycle.main(["--data_dir", str(mnist_folder), "--model_store", str(small_store)]) == 0
    output = capsys.readouterr().out
    assert output.startswith("data/example-7.png: 7\n")
    assert "mnist_lightning.client data/example-7.png" in output
    assert (tmp_path / "data/example-7.png").is_file()


def test_without_an_archive_there_is_nothing_to_serve(
    mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "train_and_promote", lambda request: 0)
    assert lifecycle.main(["--data_dir", str(mnist_folder)]) == 1
    captured = capsys.readouterr()
    assert "error: model_store/mnist.mar" in captured.err
    assert captured.out == ""
