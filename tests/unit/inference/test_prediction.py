"""Answers from the network's scores and the numbers that the preprocessing has read."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_lightning.datasets import mnist
from mnist_lightning.inference import prediction
from mnist_lightning.inference.prediction import Answer, format_answers
from mnist_lightning.inference.second_look import Scores
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.errors import TooManyDigitsError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count
from mnist_lightning.preprocessing.number import Box, Digit, Number
from mnist_lightning.preprocessing.strokes import Floats
from tests.pictures import touching_digits

THRESHOLD = 0.4
BLANK = np.zeros((28, 28), np.float32)


def digit(shown: str, box: Box = (0, 0, 10, 20), sure: float = 0.9) -> Digit:
    """A digit, or `?`, whose class has the probability `sure`."""
    probabilities = np.full(11, (1 - sure) / 10, np.float32)
    probabilities[10 if shown == "?" else int(shown)] = sure
    return Digit(probabilities, box, np.full((40, 20), 255, np.uint8))


def number(*lines: str, confidence: float = 0.75) -> Number:
    """A number whose lines together have a confidence."""
    return Number([[digit(shown) for shown in line] for line in lines], [confidence ** (1 / len(lines))] * len(lines))


def answer_of(number: Number | None, is_digit: float = 0.9) -> Answer:
    """The answer to a picture of this number that reads as a 6 if it is read as one digit."""
    probabilities = np.full((1, 10), 0.02, np.float32)
    probabilities[0, 6] = 0.82
    scores = probabilities, np.array([is_digit], np.float32)
    (answer,) = format_answers(scores, THRESHOLD, [NormalizedImage(BLANK, 1, number=number)])
    return answer


def test_one_digit() -> None:
    answer = answer_of(None)
    assert set(answer) == {"prediction", "confidence", "probabilities", "is_digit", "number"}
    assert (answer["number"], answer["prediction"], answer["confidence"]) == ("6", 6, 0.82)


def test_a_rejected_picture() -> None:
    answer = answer_of(None, is_digit=0.39)
    assert (answer["number"], answer["note"]) == ("?", "this does not look like a digit")
    assert (answer["prediction"], answer["confidence"]) == (6, 0.82)
    assert "digits" not in answer


@pytest.mark.parametrize("is_digit", [0.01, 0.99])
def test_a_number_in_one_line(is_digit: float) -> None:
    """Whether the whole picture looks like a digit does not matter."""
    answer = answer_of(number("3450"), is_digit)
    assert (answer["number"], answer["note"]) == ("3450", "several digits: 3450")
    assert (answer["confidence"], answer["prediction"], answer["is_digit"]) == (0.75, 6, pytest.approx(is_digit))
    assert [one["prediction"] for one in answer["digits"]] == [3, 4, 5, 0]
    assert "lines" not in answer


def test_a_number_in_lines() -> None:
    answer = answer_of(number("12", "7"))
    assert (answer["number"], answer["lines"]) == ("12\n7", ["12", "7"])
    assert answer["note"] == "several digits: 12 / 7"
    assert [one["prediction"] for one in answer["digits"]] == [1, 2, 7]


def test_a_character_that_is_no_digit() -> None:
    """It has the ten probabilities nevertheless, which sum to 1."""
    answer = answer_of(number("1?"))
    assert (answer["number"], answer["note"]) == ("1?", "several digits: 1?")
    one, other = answer["digits"]
    assert one["is_digit"] == pytest.approx(0.99, abs=1e-6)
    assert other["is_digit"] == pytest.approx(0.1, abs=1e-6)
    for part in (one, other):
        assert sum(part["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert part["confidence"] == max(part["probabilities"]) == part["probabilities"][part["prediction"]]


def test_an_answer_is_json() -> None:
    answer = answer_of(number("12", "7?"))
    assert json.loads(json.dumps(answer)) == answer


@given(st.tuples(*[st.floats(0, 99)] * 2), st.tuples(*[st.floats(0, 1)] * 2))
def test_a_box_stays_within_the_picture(corner: tuple[float, float], share: tuple[float, float]) -> None:
    """Its edges are rounded, not its size."""
    width, height = ((100 - first) * part for first, part in zip(corner, share, strict=True))
    box = (*corner, width, height)
    answer = answer_of(Number([[digit("1", box), digit("2")]], [0.9]))
    left, top, width, height = answer["digits"][0]["box"]
    assert min(width, height) >= 1
    for first, size, exact, length in ((left, width, box[0], box[2]), (top, height, box[1], box[3])):
        assert 0 <= first < first + size <= 100
        assert abs(first - exact) <= 0.5
        assert abs(first + size - exact - length) <= 0.5 or size == 1


@pytest.fixture(scope="module")
def touching(mnist_folder: Path) -> list[tuple[str, Bytes]]:
    """Pairs of MNIST's digits that touch and that the preprocessing takes for one, with what they say."""
    images, labels = mnist.load(mnist_folder, train=False)
    pairs = [(f"{labels[n]}{labels[n + 1]}", touching_digits(*images[n : n + 2, 0].numpy())) for n in range(0, 120, 2)]
    normalized = [(said, picture, normalize_with_count(picture)) for said, picture in pairs]
    return [(said, picture) for said, picture, image in normalized if image.number is None and image.digits == 1]


def unsure(images: Floats) -> Scores:
    """The scores of a network that takes no picture for a digit."""
    return np.full((len(images), 10), 0.1, np.float32), np.full(len(images), 0.01, np.float32)


def sure(images: Floats) -> Scores:
    """The scores of a network that takes every picture for a 0."""
    return np.eye(10, dtype=np.float32)[[0] * len(images)], np.full(len(images), 0.99, np.float32)


def test_digits_that_touch_are_read_where_one_digit_is_not(touching: list[tuple[str, Bytes]]) -> None:
    assert len(touching) >= 8
    images = [[normalize_with_count(picture)] for _, picture in touching]
    answers = [reading.answer for (reading,) in prediction.read(images, unsure, THRESHOLD)]
    right = [answer["number"] == said for answer, (said, _) in zip(answers, touching, strict=True)]
    assert np.mean(right) >= 0.6
    for digits in (answer["digits"] for answer in answers if len(answer["number"]) == 2):
        (left, _, width, _), (next_left, _, next_width, _) = (one["box"] for one in digits)
        assert left < next_left
        assert left + width <= next_left + next_width


def test_digits_are_not_separated_where_the_network_is_sure(touching: list[tuple[str, Bytes]]) -> None:
    images = [[normalize_with_count(picture)] for _, picture in touching]
    assert {reading.answer["number"] for (reading,) in prediction.read(images, sure, THRESHOLD)} == {"0"}


def test_two_digits_that_look_like_one_are_read_where_they_are_wide(touching: list[tuple[str, Bytes]]) -> None:
    def almost_sure(images: Floats) -> Scores:
        return sure(images)[0], np.full(len(images), prediction.TOUCHING_IS_DIGIT - 0.01, np.float32)

    images = [[normalize_with_count(picture)] for _, picture in touching]
    shapes = [image.strokes.shape for (image,) in images if image.strokes is not None]
    wide = [width >= prediction.TOUCHING_WIDTH * height for height, width in shapes]
    answers = [reading.answer["number"] for (reading,) in prediction.read(images, almost_sure, THRESHOLD)]
    right = [answer == said for answer, (said, _) in zip(answers, touching, strict=True)]
    assert {answer for answer, is_wide in zip(answers, wide, strict=True) if not is_wide} <= {"0"}
    assert np.mean([one for one, is_wide in zip(right, wide, strict=True) if is_wide]) >= 0.5


def test_digits_that_touch_and_are_uncertain_stay_one(
    touching: list[tuple[str, Bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(_: NormalizedImage) -> None:
        raise TooManyDigitsError("the picture shows 70 digits")

    image = normalize_with_count(touching[0][1])
    for found in (lambda _: number("12", confidence=0.49), lambda _: None, too_many):
        monkeypatch.setattr(prediction, "read_touching", found)
        ((reading,),) = prediction.read([[image]], unsure, THRESHOLD)
        assert reading.answer["number"] == "?"


@pytest.mark.parametrize(
    ("lines", "is_number"), [(("12345", "67890"), True), (("1", "5"), False), (("12", "3"), False)]
)
def test_several_lines_are_a_sheet_and_no_digit_in_parts(
    lines: Sequence[str], is_number: bool, touching: list[tuple[str, Bytes]]
) -> None:
    sheet = number(*lines, confidence=0.36)  # each line 0.6
    image = normalize_with_count(touching[0][1])._replace(digits=1, strokes=None, number=sheet)
    ((reading,),) = prediction.read([[image]], sure, THRESHOLD)
    assert ("lines" in reading.answer) == is_number


def test_no_pictures() -> None:
    assert prediction.read([[], []], unsure, THRESHOLD) == [[], []]


@pytest.mark.parametrize(
    ("predict", "digits", "least"),
    [
        (unsure, 1, prediction.MIN_NUMBER_CONFIDENCE),
        (unsure, 2, prediction.MIN_NUMBER_CONFIDENCE),
        (sure, 2, prediction.MIN_APART_CONFIDENCE),
        (sure, 1, prediction.MIN_CONFIDENCE),
    ],
)
def test_what_looks_like_one_digit_takes_more_confidence(
    predict: Callable[[Floats], Scores], digits: int, least: float, touching: list[tuple[str, Bytes]]
) -> None:
    image = normalize_with_count(touching[0][1])._replace(digits=digits, strokes=None)
    for confidence, is_number in ((least + 0.01, True), (least - 0.01, False)):
        asked = image._replace(number=number("12", confidence=confidence))
        ((reading,),) = prediction.read([[asked]], predict, THRESHOLD)
        assert (reading.answer["number"] == "12") == is_number
        assert ("digits" in reading.answer) == is_number
