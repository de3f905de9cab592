"""Labelled pictures: those of a folder, MNIST's test set, or its digits as people would send them."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from mnist_lightning.datasets import mnist

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@dataclass(frozen=True)
class Kind:
    """A kind of picture that servers are sent: a digit in `ink` on `paper`."""

    side: int  # pixels
    mode: str
    paper: str
    ink: str
    form: str


KINDS: Mapping[str, Kind] = {
    "mnist": Kind(28, "L", "black", "white", "PNG"),  # MNIST's own form, untouched
    "drawing": Kind(100, "L", "white", "black", "PNG"),
    "canvas": Kind(280, "RGB", "white", "midnightblue", "PNG"),
    "jpeg": Kind(400, "RGB", "oldlace", "darkslategray", "JPEG"),
    "large": Kind(1000, "RGB", "ivory", "black", "JPEG"),
}


class SampleError(RuntimeError):
    """A folder holds no picture, or one without a label."""


@dataclass(frozen=True)
class Sample:
    """A labelled picture."""

    name: str
    group: str  # the sub-folder that it is counted in
    label: int
    content: bytes


def pictures(folder: Path) -> Iterable[Sample]:
    """The labelled pictures of a folder and those below it. Raises SampleError where a label is missing."""
    if not folder.is_dir():
        raise SampleError(f"{folder} is not a folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not paths:
        raise SampleError(f"{folder} holds no picture ({', '.join(sorted(ENDINGS))})")
    for path in paths:
        digit_folder = path.parent != folder and len(path.parent.name) == 1 and path.parent.name in "0123456789"
        label = path.parent.name if digit_folder else path.name[0]
        if label not in "0123456789":
            raise SampleError(f"{path}: neither its name starts with a digit nor is its folder named by one")
        group = (path.parent.parent if digit_folder else path.parent).relative_to(folder)
        yield Sample(str(path.relative_to(folder)), str(group), int(label), path.read_bytes())


def test_set(folder: Path) -> list[Sample]:
    """MNIST's test digits as picture files. Raises mnist.MnistUnavailableError."""
    mnist.fetch(folder)
    images, labels = mnist.load(folder, train=False)
    samples = []
    for index, (image, label) in enumerate(zip(images[:, 0].numpy(), labels.tolist(), strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "BMP")
        samples.append(Sample(f"test-{index}", ".", label, file.getvalue()))
    return samples


def as_sent(folder: Path, kinds: Sequence[str], each: int) -> list[Sample]:
    """The first `each` of MNIST's test digits as every one of some KINDS, kind after kind for each digit.

    Raises mnist.MnistUnavailableError.
    """
    mnist.fetch(folder)
    images, labels = mnist.load(folder, train=False)
    digits = zip(images[:each, 0].numpy(), labels[:each].tolist(), strict=True)
    return [
        Sample(f"{kind}-{index}", kind, label, _drawn(Image.fromarray(image), KINDS[kind]))
        for index, (image, label) in enumerate(digits)
        for kind in kinds
    ]


def _drawn(digit: Image.Image, kind: Kind) -> bytes:
    """A digit in MNIST's form -> a picture file."""
    ink = digit.resize((kind.side, kind.side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    ImageOps.colorize(ink, kind.paper, kind.ink).convert(kind.mode).save(file, kind.form)
    return file.getvalue()
