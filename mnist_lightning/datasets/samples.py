"""Labelled image files: those of a folder, MNIST's test set, or its digits in the formats that users send."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image, ImageOps

from mnist_lightning.common.files import write_atomic
from mnist_lightning.common.pictures import SUFFIXES, is_image
from mnist_lightning.datasets import mnist

DIGITS = "0123456789"
LINES_OF_DIGITS = re.compile(r"[0-9]+(?:_[0-9]+)*")
Label = TypeVar("Label", int, str)


@dataclass(frozen=True)
class Presentation:
    """How a digit is presented to the server: its size, colours and file format."""

    side: int  # pixels
    mode: str
    paper: str
    ink: str
    file_format: str


PRESENTATIONS: Mapping[str, Presentation] = {
    "mnist": Presentation(28, "L", "black", "white", "PNG"),  # unchanged
    "drawing": Presentation(100, "L", "white", "black", "PNG"),
    "canvas": Presentation(280, "RGB", "white", "midnightblue", "PNG"),
    "jpeg": Presentation(400, "RGB", "oldlace", "darkslategray", "JPEG"),
    "large": Presentation(1000, "RGB", "ivory", "black", "JPEG"),
}


class SampleError(RuntimeError):
    """A folder contains no image file, or one without a label."""


@dataclass(frozen=True)
class Sample(Generic[Label]):
    """A labelled image file."""

    name: str
    group: str  # the sub-folder under which it is counted
    label: Label  # a digit, or the text of a number: its lines, joined by line feeds
    content: bytes


def load_folder(folder: Path) -> Iterable[Sample[int]]:
    """The labelled image files of a folder and its sub-folders, as by `find_labelled`, with its errors."""
    for path, label in find_labelled(folder):
        group = (path.parent.parent if _names_digit(path.parent, folder) else path.parent).relative_to(folder)
        yield Sample(str(path.relative_to(folder)), str(group), label, path.read_bytes())


def find_labelled(folder: Path) -> Iterator[tuple[Path, int]]:
    """The image files of a folder and its sub-folders, sorted, each with its label.

    The label is the first character of the file name, or the name of the file's folder if that is one digit.

    Raises:
        SampleError: `folder` is no folder or has no image file, or a file has no label.
    """
    for path in _find_images(folder):
        label = path.parent.name if _names_digit(path.parent, folder) else path.name[0]
        if label not in DIGITS:
            raise SampleError(f"{path}: neither the file's name starts with a digit nor is its folder named by one")
        yield path, int(label)


def _names_digit(parent: Path, folder: Path) -> bool:
    """Whether the name of a file's folder, inside `folder`, is its label."""
    return parent != folder and len(parent.name) == 1 and parent.name in DIGITS


def load_numbers(folder: Path) -> Iterable[Sample[str]]:
    """The image files of a folder and its sub-folders, each labelled with the number that it shows.

    The label is the part of the file name before the first `-`, or before the suffix if there is none. Lines are joined
    by `_` in the name and by a line feed in the label: `12_345-a.png` shows "12\\n345".

    Raises:
        SampleError: `folder` is no folder or has no image file, or a file has no label.
    """
    for path in _find_images(folder):
        label = path.stem.split("-")[0]
        if not LINES_OF_DIGITS.fullmatch(label):
            raise SampleError(
                f"{path}: the file's name is not that of a number, digits and then '-' or the suffix, "
                "with '_' between two lines: 3450.png, 12_345-a.png"
            )
        name = path.relative_to(folder)
        yield Sample(str(name), str(name.parent), label.replace("_", "\n"), path.read_bytes())


def _find_images(folder: Path) -> list[Path]:
    """The image files of a folder and its sub-folders, sorted. Raises SampleError if there are none."""
    if not folder.is_dir():
        raise SampleError(f"{folder} is not a folder")
    paths = sorted(path for path in folder.rglob("*") if is_image(path))
    if not paths:
        raise SampleError(f"{folder} holds no picture ({', '.join(sorted(SUFFIXES))})")
    return paths


def mnist_test_set(folder: Path) -> list[Sample[int]]:
    """MNIST's test digits as BMP files. Raises mnist.MnistUnavailableError."""
    images, labels = _test_digits(folder, 10_000)
    return [
        Sample(f"test-{index}", ".", label, _encode(image, "BMP"))
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def presented_digits(folder: Path, names: Sequence[str], n_digits: int) -> list[Sample[int]]:
    """The first `n_digits` of MNIST's test set in each of the named PRESENTATIONS, digit after digit.

    Raises:
        mnist.MnistUnavailableError: MNIST cannot be read.
    """
    images, labels = _test_digits(folder, n_digits)
    return [
        Sample(f"{name}-{index}", name, label, present(image, PRESENTATIONS[name]))
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
        for name in names
    ]


def write_example(folder: Path, target: Path) -> Path:
    """Write MNIST's first test digit, a 7, as a PNG of 280×280 pixels into the folder `target`; its path."""
    (image,), (label,) = _test_digits(folder, 1)
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"example-{label}.png"
    write_atomic(path, present(image, Presentation(280, "L", "white", "black", "PNG")))
    return path


def _test_digits(folder: Path, n_digits: int) -> tuple[list[Image.Image], list[int]]:
    mnist.fetch(folder)
    images, labels = mnist.load(folder, train=False)
    return [Image.fromarray(image) for image in images[:n_digits, 0].numpy()], labels[:n_digits].tolist()


def present(digit: Image.Image, presentation: Presentation) -> bytes:
    """The file of a digit, white on black, as it is presented."""
    ink = digit.resize((presentation.side, presentation.side), Image.Resampling.BICUBIC)
    colored = ImageOps.colorize(ink, presentation.paper, presentation.ink)
    return _encode(colored.convert(presentation.mode), presentation.file_format)


def _encode(image: Image.Image, file_format: str) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format)
    return file.getvalue()
