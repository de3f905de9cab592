"""Labelled image files."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_lightning.datasets import mnist, samples
from mnist_lightning.datasets.samples import SampleError


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_labels_come_from_the_name_or_from_the_folder(tmp_path: Path) -> None:
    for name in ("paper/7-a.png", "board/3/b.JPG", "board/3/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "8.png").mkdir()
    (tmp_path / ".8.png.tmp.png").touch()  # a file that is being written
    found = list(samples.load_folder(tmp_path))
    assert [(sample.name, sample.group, sample.label) for sample in found] == [
        ("board/3/b.JPG", "board", 3),
        ("paper/7-a.png", "paper", 7),
    ]
    assert found[0].content == b"board/3/b.JPG"


def test_a_folder_without_labelled_images_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="holds no picture"):
        list(samples.load_folder(tmp_path))
    with pytest.raises(SampleError, match="is not a folder"):
        list(samples.load_folder(tmp_path / "nowhere"))
    (tmp_path / "a.png").touch()
    with pytest.raises(SampleError, match=r"a\.png: neither"):
        list(samples.load_folder(tmp_path))


def test_numbers_are_labelled_by_the_start_of_their_name(tmp_path: Path) -> None:
    for name in ("3450-a-7.png", "0012.JPG", "paper/12_345-x.y.png", "paper/7/8.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / ".8.png.tmp.png").touch()
    found = list(samples.load_numbers(tmp_path))
    assert [(sample.name, sample.group, sample.label) for sample in found] == [
        ("0012.JPG", ".", "0012"),
        ("3450-a-7.png", ".", "3450"),
        ("paper/12_345-x.y.png", "paper", "12\n345"),
        ("paper/7/8.png", "paper/7", "8"),
    ]
    assert found[0].content == b"0012.JPG"


@pytest.mark.parametrize(
    "name", ["a.png", "-3.png", "3a-1.png", "3.4-1.png", "_3.png", "3__4.png", "3_-1.png", "٣.png", "3 4.png"]
)
def test_a_name_that_is_no_number_is_rejected(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(SampleError, match="the file's name is not that of a number") as caught:
        list(samples.load_numbers(tmp_path))
    assert name in str(caught.value)


def test_a_folder_without_numbers_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="holds no picture"):
        list(samples.load_numbers(tmp_path))


def test_mnists_test_set_keeps_every_pixel(mnist_folder: Path) -> None:
    images, labels = mnist.load(mnist_folder, train=False)
    found = samples.mnist_test_set(mnist_folder)
    assert [sample.label for sample in found] == labels.tolist()
    assert np.array_equal(np.asarray(opened(found[1234].content)), images[1234, 0].numpy())


def test_digits_are_presented_in_every_format(mnist_folder: Path) -> None:
    found = samples.presented_digits(mnist_folder, list(samples.PRESENTATIONS), 2)
    assert [sample.name for sample in found[:5]] == [f"{name}-0" for name in samples.PRESENTATIONS]
    assert [sample.label for sample in found] == [7] * 5 + [2] * 5
    for sample in found:
        presentation = samples.PRESENTATIONS[sample.group]
        image = opened(sample.content)
        assert (image.size, image.mode) == ((presentation.side,) * 2, presentation.mode)
        assert image.format == presentation.file_format


def test_the_example_is_a_dark_seven_on_white(mnist_folder: Path, tmp_path: Path) -> None:
    path = samples.write_example(mnist_folder, tmp_path / "data")
    assert path == tmp_path / "data/example-7.png"
    image = np.asarray(Image.open(path))
    assert image.shape == (280, 280)
    assert image[0, 0] == 255
    assert image.min() < 10
