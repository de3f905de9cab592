"""A trained archive is served, or the shipped one where there is none."""

import json
from pathlib import Path
from unittest.mock import patch

import pytest

from mnist_lightning.serving import model_store
from mnist_lightning.serving.model_store import choose_store


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "mnist.mar").write_bytes(b"archive")
    model = {"optimizer": "SGD", "seed": 0, "final_test_accuracy": 0.9954}
    (folder / "mnist.json").write_text(json.dumps(model))
    monkeypatch.setattr(model_store, "resource", lambda name: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_shipped_archive_is_served_if_there_is_no_other(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_store(None) == shipped
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("model_store holds no model; the pretrained one (SGD, seed 0, 99.54 % on MNIST's test set)")
    assert "make run" in err


def test_a_trained_one_is_preferred(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model_store").mkdir()
    (Path("model_store") / "mnist.mar").write_bytes(b"trained")
    assert choose_store(None) == Path("model_store")
    assert capsys.readouterr() == ("", "")


def test_a_given_folder_is_served_even_if_it_is_empty(shipped: Path) -> None:
    """The server then says that its archive does not exist."""
    assert choose_store(Path("elsewhere")) == Path("elsewhere")


def test_without_a_shipped_archive_the_default_is_named(shipped: Path) -> None:
    (shipped / "mnist.mar").unlink()
    assert choose_store(None) == Path("model_store")


@pytest.mark.parametrize("content", ["", "{}", "[]", None])
def test_a_damaged_description_does_not_matter(content: str | None, shipped: Path) -> None:
    (shipped / "mnist.json").unlink()
    if content is not None:
        (shipped / "mnist.json").write_text(content)
    with patch("builtins.print") as printed:
        assert choose_store(None) == shipped
    assert "the pretrained one is served" in printed.call_args.args[0]
