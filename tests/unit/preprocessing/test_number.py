"""Numbers are read where there are several digits, and only there; every digit has its box."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mnist_lightning.datasets import mnist, paper
from mnist_lightning.inference.prediction import MIN_CONFIDENCE
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import TooManyDigitsError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count, read_picture

Place = tuple[int, int]  # left, top


class Digits:
    """MNIST's test digits, cropped to their ink, by what they show."""

    def __init__(self, folder: Path) -> None:
        images, labels = mnist.load(folder, train=False)
        self.images, self.labels = images[:2000, 0].numpy(), labels[:2000].numpy()

    def crop(self, digit: int, which: int = 0) -> Bytes:
        image = self.images[np.flatnonzero(self.labels == digit)[which]]
        left, top, width, height = cv2.boundingRect(image)
        return np.asarray(image[top : top + height, left : left + width])

    def write(self, text: str, gap: int = 4, which: int = 0) -> tuple[Bytes, list[tuple[int, int, int, int]]]:
        """Ink (h, w) of lines of digits, and each digit's box: left, top, width, height."""
        boxes, pieces, top = [], [], 12
        for line in text.split("\n"):
            left = 12
            for place, digit in enumerate(line):
                crop = self.crop(int(digit), which + place)
                y = top + (20 - crop.shape[0]) // 2
                pieces.append((crop, left, y))
                boxes.append((left, y, crop.shape[1], crop.shape[0]))
                left += crop.shape[1] + gap
            top += 32
        ink = np.zeros((top + 4, max(left + width for left, _, width, _ in boxes) + 12), np.uint8)
        for crop, left, y in pieces:
            part = ink[y : y + crop.shape[0], left : left + crop.shape[1]]
            np.maximum(part, crop, out=part)
        return ink, boxes


@pytest.fixture(scope="module")
def digits(mnist_folder: Path) -> Digits:
    return Digits(mnist_folder)


def draw(ink: Bytes, scale: int = 4) -> Bytes:
    """A picture of ink, dark on light."""
    return np.asarray(255 - cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def text(image: NormalizedImage) -> str | None:
    return None if image.number is None else "\n".join(image.number.texts)


@pytest.mark.parametrize("number", ["3450", "12", "00", "1117", "908172635", "12\n34", "7\n3", "14142\n27182\n57721"])
def test_a_number_is_read(number: str, digits: Digits) -> None:
    image = normalize_with_count(draw(digits.write(number)[0]))
    assert text(image) == number
    assert image.number is not None
    assert 0.3 < image.number.confidence <= 1


@pytest.mark.parametrize("digit", range(10))
def test_a_single_digit_is_no_number(digit: int, digits: Digits) -> None:
    numbers = [normalize_with_count(draw(digits.write(str(digit), which=which)[0])).number for which in range(20)]
    assert [number for number in numbers if number and number.confidence >= MIN_CONFIDENCE] == []


def test_boxes_are_around_the_digits(digits: Digits) -> None:
    ink, boxes = digits.write("3450\n1276")
    image = normalize_with_count(draw(ink))
    assert image.number is not None
    for digit, box in zip(image.number.digits, boxes, strict=True):
        assert digit.box == pytest.approx([4 * value for value in box], abs=10)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_boxes_are_in_pixels_of_the_file(kind: str, digits: Digits) -> None:
    """A large picture is reduced when it is decoded."""
    ink, boxes = digits.write("3450")
    file = io.BytesIO()
    Image.fromarray(draw(ink, 24)).save(file, kind)
    image = read_picture(file.getvalue())
    assert image.number is not None
    assert [str(digit) for digit in image.number.digits] == list("3450")
    for digit, box in zip(image.number.digits, boxes, strict=True):
        assert digit.box == pytest.approx([24 * value for value in box], abs=60)


def test_digits_of_a_number_are_brought_to_mnists_form(digits: Digits) -> None:
    image = normalize_with_count(draw(digits.write("3450")[0]))
    assert image.number is not None
    for digit in image.number.digits:
        rows = np.flatnonzero(digit.image().max(axis=1) > 0.3)
        assert digit.image().shape == (28, 28)
        assert 18 <= rows[-1] - rows[0] + 1 <= 21


@pytest.mark.parametrize("kind", ["squared", "ruled", "dotted", "underlined", "circled"])
def test_numbers_are_read_on_paper(kind: str, digits: Digits) -> None:
    right = 0
    for seed in range(12):
        rng = np.random.default_rng([3, seed])
        places = rng.integers(0, 2000, 4)
        made = paper.photograph(list(digits.images[places]), rng, 400, kind)
        right += text(normalize_with_count(made.image)) == "".join(map(str, digits.labels[places]))
    assert right >= 7


def test_too_many_digits_are_refused(digits: Digits) -> None:
    with pytest.raises(TooManyDigitsError, match="the limit is 64"):
        normalize_with_count(draw(digits.write("\n".join(["1234567890"] * 7))[0], 2))


def test_a_letter_in_a_number_is_a_question_mark(digits: Digits) -> None:
    ink, _ = digits.write("34 50".replace(" ", ""), gap=24)
    picture = draw(ink)
    gap = picture.shape[1] // 2
    cv2.putText(picture, "R", (gap - 30, 112), cv2.FONT_HERSHEY_SIMPLEX, 2.4, 0, 9, cv2.LINE_AA)
    assert text(normalize_with_count(picture)) == "34?50"


@pytest.mark.parametrize("mark", ["comma", "dot", "dash"])
def test_marks_are_no_digits(mark: str, digits: Digits) -> None:
    ink, boxes = digits.write("3450", gap=14)
    picture = draw(ink)
    x, foot = 4 * (boxes[2][0] - 7), 4 * 32
    ends = {
        "comma": ((x, foot - 4), (x - 8, foot + 14)),
        "dot": ((x, foot), (x, foot)),
        "dash": ((x - 14, 88), (x + 14, 88)),
    }
    cv2.line(picture, *ends[mark], 0, 10, cv2.LINE_AA)
    assert text(normalize_with_count(picture)) == "3450"
