"""The bins of pictures and their answers."""

import numpy as np
import pytest

from mnist_lightning.inference import features
from mnist_lightning.inference.features import FEATURES
from mnist_lightning.inference.prediction import Answer, Reading
from mnist_lightning.preprocessing.decode import Bytes
from mnist_lightning.preprocessing.normalize import normalize_with_count

SEVEN: Answer = {"prediction": 7, "confidence": 0.97, "probabilities": [], "is_digit": 0.995, "number": "7"}


def stroke(width: int, side: int = 100) -> Bytes:
    """An upright bar, dark on light, in a picture of side×side pixels, 80 percent of it high."""
    picture = np.full((side, side), 255, np.uint8)
    picture[side // 10 : 9 * side // 10, (side - width) // 2 : (side + width) // 2] = 0
    return picture


def found(picture: Bytes, answer: Answer = SEVEN) -> dict[str, str]:
    """The bin of each feature of one picture."""
    return dict(features.count([Reading(normalize_with_count(picture), answer)]).keys())


def test_every_feature_has_one_bin() -> None:
    assert found(stroke(12)) == {
        "digit": "7",
        "confidence": "0.95",
        "is_digit": "0.99",
        "rotation": "0",
        "ink_share": "0.5",
        "stroke_width": "2.4",
        "picture_size": "65",
    }
    assert set(found(stroke(12)).items()) <= set(features.bins())


@pytest.mark.parametrize(("width", "expected"), [(6, "0.0"), (12, "2.4"), (24, "4.5")])
def test_stroke_width_is_that_of_the_picture_not_of_the_models_input(width: int, expected: str) -> None:
    assert found(stroke(width))["stroke_width"] == expected


@pytest.mark.parametrize("side", [100, 300, 1500])
def test_only_the_picture_size_depends_on_the_resolution(side: int) -> None:
    own = found(stroke(12 * side // 100, side))
    assert own.pop("picture_size") == {100: "65", 300: "257", 1500: "1025"}[side]
    expected = found(stroke(12))
    del expected["picture_size"]
    assert own == expected


def test_a_picture_in_mnists_form_has_the_same_features_as_a_drawing_of_it() -> None:
    small = np.zeros((28, 28), np.uint8)
    small[4:24, 12:16] = 255
    image = normalize_with_count(small)
    assert image.strokes is None
    own = dict(features.count([Reading(image, SEVEN)]).keys())
    drawing = found(255 - small.repeat(5, axis=0).repeat(5, axis=1))
    assert {**own, "picture_size": ""} == {**drawing, "picture_size": ""}


def test_a_turned_digit_is_counted_by_its_angle() -> None:
    assert found(stroke(12), {**SEVEN, "rotation": -30})["rotation"] == "-30"


def test_a_picture_of_several_digits_is_in_no_bin() -> None:
    number = {**SEVEN, "digits": [SEVEN, SEVEN], "number": "77"}
    assert not features.count([Reading(normalize_with_count(stroke(12)), number)])


def test_bins_cover_every_value() -> None:
    for feature in FEATURES.values():
        assert list(feature.bounds) == sorted(set(feature.bounds))
