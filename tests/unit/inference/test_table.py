"""Answers to a column of pictures."""

import base64

import numpy as np
import pytest

from mnist_lightning.common.constants import EXPORTED
from mnist_lightning.inference.loader import MAX_BATCH, Model, load_model
from mnist_lightning.inference.table import MISSING, REPORT, answer_column
from mnist_lightning.preprocessing.errors import BadPictureError, NoDigitError
from tests.small_archive import build_small
from tests.support import SEVEN

BASE64 = base64.b64encode(SEVEN.read_bytes()).decode()
ONE = np.pad(np.full((20, 3), 255), ((4, 4), (13, 12)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("table")
    build_small(folder)
    return load_model((folder / "parts" / EXPORTED).read_bytes(), folder / "parts")


def test_pictures_in_every_form(model: Model) -> None:
    nested = np.empty(28, object)  # as Parquet has it
    nested[:] = [*ONE]
    forms = [BASE64, SEVEN.read_bytes(), ONE, ONE / 255, ONE.ravel(), ONE[None].astype(np.uint8), ONE.tolist(), nested]
    answers = answer_column(model, forms)
    assert [answer["number"] for answer in answers] == ["7", "7", *["1"] * 6]


def test_a_list_of_strings_is_as_many_pictures(model: Model) -> None:
    assert len(answer_column(model, [[BASE64, BASE64]])) == 2
    assert len(answer_column(model, [np.array([BASE64, BASE64]), BASE64])) == 3


def test_each_answer_has_all_fields(model: Model) -> None:
    two = np.hstack([ONE, ONE]).astype(np.uint8)
    single, several = answer_column(model, [BASE64, base64.b64encode(_png(two)).decode()])
    assert set(single) == set(several) == set(MISSING)
    assert (single["lines"], single["digits"], single["note"], single["error"]) == ([], [], "", "")
    assert several["number"] == "11"
    assert len(several["digits"]) == 2


def test_an_answer_does_not_depend_on_the_others(model: Model) -> None:
    many = [BASE64, *[ONE] * MAX_BATCH, BASE64]
    answers = answer_column(model, iter(many))
    assert [answer["number"] for answer in answers] == ["7", *["1"] * MAX_BATCH, "7"]
    assert answers[0] == answers[-1]


def test_no_pictures(model: Model) -> None:
    assert answer_column(model, []) == []


@pytest.mark.parametrize(
    ("picture", "message"),
    [("nonsense!", "base64"), (None, "a picture is a string or a list, not null"), ([1.0, 2.0], "784 numbers")],
)
def test_a_picture_that_cannot_be_read_is_named(model: Model, picture: object, message: str) -> None:
    with pytest.raises(BadPictureError, match=rf"^image\[1\]: .*{message}"):
        answer_column(model, [ONE, picture])


def test_an_error_can_be_reported_instead(model: Model) -> None:
    answers = answer_column(model, [BASE64, np.zeros((28, 28)), ONE], REPORT)
    assert [answer["number"] for answer in answers] == ["7", "", "1"]
    assert answers[1] == {**MISSING, "error": "no ink in the picture: nothing stands out from its background"}
    with pytest.raises(NoDigitError):
        answer_column(model, [np.zeros((28, 28))])


def test_an_unknown_reaction_to_errors_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="on_error is 'ignore'; raise and report are accepted"):
        answer_column(model, [BASE64], "ignore")


def _png(pixels: np.ndarray) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", 255 - pixels)[1])
