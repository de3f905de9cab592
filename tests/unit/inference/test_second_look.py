"""A picture that the network is unsure of is turned and read again; one that it is sure of costs nothing."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lightning.evaluation import presentations
from mnist_lightning.inference import prediction, second_look
from mnist_lightning.inference.second_look import ANGLES, DISCOUNT, look_again
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.errors import NoDigitError
from mnist_lightning.preprocessing.normalize import NormalizedImage, normalize_with_count, turn
from mnist_lightning.preprocessing.strokes import Floats

THRESHOLD = 0.1


def seven(degrees: float = 0.0) -> NormalizedImage:
    """A 7 of two straight strokes on a large canvas, turned clockwise."""
    ink = np.zeros((200, 200), np.float32)
    ink[30:44, 50:150] = 1
    for row in range(40, 170):
        ink[row, 138 - (row - 40) // 2 : 152 - (row - 40) // 2] = 1
    return normalize_with_count(decode(presentations.encode(presentations.paint(presentations.rotate(ink, -degrees)))))


def scores(*rows: tuple[int, float, float]) -> second_look.Scores:
    """From digit, confidence and is_digit of each picture."""
    probabilities = np.array([[(1 - sure) / 9] * 10 for _, sure, _ in rows], np.float32)
    for row, (digit, sure, _) in zip(probabilities, rows, strict=True):
        row[digit] = sure
    return probabilities, np.array([is_digit for _, _, is_digit in rows], np.float32)


class Network:
    """Returns prepared scores, and counts the images that it receives."""

    def __init__(self, *calls: second_look.Scores) -> None:
        self.calls, self.sizes = list(calls), list[int]()

    def __call__(self, images: Floats) -> second_look.Scores:
        self.sizes.append(len(images))
        return self.calls.pop(0)


@pytest.mark.parametrize("degrees", ANGLES)
def test_turning_back_gives_the_upright_picture(degrees: int) -> None:
    upright, turned = seven().image, turn(seven(degrees), degrees)
    assert turned.rotation == degrees
    assert turned.digits == 1
    assert np.abs(turned.image - upright).mean() < 0.03
    assert np.abs(seven(degrees).image - upright).mean() > 0.08


def test_a_picture_that_was_in_place_is_not_turned() -> None:
    image = NormalizedImage(np.zeros((28, 28), np.float32), 1)
    assert turn(image, 30) is image


def test_sure_pictures_are_not_looked_at_again() -> None:
    network = Network(scores((7, 0.99, 0.99), (1, 0.85, 0.6)))
    ((answer, other),) = (
        [reading.answer for reading in read] for read in prediction.read([[seven()] * 2], network, 0.1)
    )
    assert network.sizes == [2]
    assert (answer["prediction"], other["prediction"]) == (7, 1)
    assert "rotation" not in answer


def test_the_most_digit_like_angle_wins_and_is_named() -> None:
    turned = [(4, 0.6, 0.5), (7, 0.9, 0.96), (7, 0.99, 0.9999), (2, 0.9, 0.98)]
    network = Network(scores((3, 0.5, 0.05)), scores(*turned))
    ((reading,),) = prediction.read([[seven(30)]], network, THRESHOLD)
    assert network.sizes == [1, len(ANGLES)]
    assert (reading.answer["prediction"], reading.answer["rotation"]) == (7, 30)
    assert reading.answer["confidence"] == pytest.approx(0.99, abs=1e-5)
    expected = 1 / (1 + np.exp(DISCOUNT - np.log(0.9999 / 0.0001)))
    assert reading.answer["is_digit"] == pytest.approx(expected, abs=1e-3)
    assert np.array_equal(reading.image.image, turn(seven(30), 30).image)
    assert "note" not in reading.answer


@pytest.mark.parametrize(
    ("upright", "turned"),
    [
        ((6, 0.7, 0.9), (9, 0.99, 0.999)),  # a 6 that is read with some doubt stays a 6
        ((3, 0.5, 0.02), (7, 0.9, 0.9)),  # none of the angles shows a digit
        ((3, 0.5, 0.4), (7, 0.99, 0.97)),  # hardly more like a digit
    ],
)
def test_upright_is_preferred(upright: tuple[int, float, float], turned: tuple[int, float, float]) -> None:
    network = Network(scores(upright), scores(*[turned] * len(ANGLES)))
    ((reading,),) = prediction.read([[seven()]], network, THRESHOLD)
    assert reading.answer["prediction"] == upright[0]
    assert reading.answer["is_digit"] == pytest.approx(upright[2])
    assert "rotation" not in reading.answer


def test_several_digits_and_pictures_in_place_are_not_turned() -> None:
    several = seven()._replace(digits=2)
    in_place = NormalizedImage(np.zeros((28, 28), np.float32), 1)
    network = Network(scores((3, 0.5, 0.02), (3, 0.5, 0.02)))
    prediction.read([[several], [in_place]], network, THRESHOLD)
    assert network.sizes == [2]


def test_a_request_gets_a_limited_number_of_second_looks() -> None:
    most = prediction.MAX_SECOND_LOOKS
    first = scores(*[(3, 0.5, 0.02)] * (most + 3))
    network = Network(first, scores(*[(7, 0.99, 0.9999)] * (most + 1) * len(ANGLES)))
    requests = [[seven()] * (most + 2), [seven()]]
    long, (short,) = prediction.read(requests, network, THRESHOLD)
    assert network.sizes == [most + 3, (most + 1) * len(ANGLES)]
    assert [reading.answer["prediction"] for reading in long] == [7] * most + [3, 3]
    assert short.answer["prediction"] == 7


def test_a_picture_that_turning_wipes_out_keeps_its_first_reading() -> None:
    """Thin gray lines that are turned fall into lone pixels, which have no outline and so count as a wide stroke."""
    lines = np.zeros((80, 80), np.uint8)
    lines[40] = 170
    image = NormalizedImage(seven().image, 1, lines)
    with pytest.raises(NoDigitError):
        turn(image, 30)
    network = Network(scores((3, 0.5, 0.02), (7, 0.99, 0.99)), scores(*[(3, 0.5, 0.02)] * len(ANGLES)))
    (first,), (neighbor,) = prediction.read([[image], [seven()]], network, THRESHOLD)
    assert (first.answer["prediction"], neighbor.answer["prediction"]) == (3, 7)
    assert "rotation" not in first.answer


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(1, 80))
def test_turning_gives_a_picture_or_says_that_it_is_empty(seed: int, height: int, width: int) -> None:
    strokes = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    strokes *= np.random.default_rng(seed + 1).random((height, width)) < 0.2
    for angle in ANGLES:
        with contextlib.suppress(NoDigitError):
            assert turn(NormalizedImage(seven().image, 1, strokes), angle).image.shape == (28, 28)


def test_the_given_scores_are_not_changed() -> None:
    first = scores((3, 0.5, 0.02))
    network = Network(scores(*[(7, 0.99, 0.9999)] * len(ANGLES)))
    _, chosen = look_again([seven()], first, [0], network)
    assert first[0].argmax() == 3
    assert chosen[0].argmax() == 7


def test_certain_scores_give_finite_odds() -> None:
    assert np.isfinite(second_look.log_odds(np.array([0.0, 1.0], np.float32))).all()
