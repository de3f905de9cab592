"""The comparison of two checkouts' answers."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks import equivalence
from mnist_lightning.common.constants import ARCHIVE
from tests.support import PROJECT, SEVEN

ANSWER = {"prediction": 7, "probabilities": [0.1, 0.9], "is_digit": 0.8}


def different(**changes: Any) -> tuple[int, dict[str, Any]]:
    return (200, {**ANSWER, **changes})


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ((200, ANSWER), {}),
        ((400, {"code": 400}), {"different_statuses": 1}),
        (different(prediction=1), {"different_predictions": 1}),
        (different(note="this does not look like a digit"), {"different_notes": 1}),
        (different(probabilities=[0.100002, 0.899998]), {"largest_probability_difference": 2e-6}),
        (different(is_digit=0.81), {"largest_probability_difference": 0.01}),
    ],
)
def test_every_difference_is_counted(other: equivalence.Answer, difference: dict[str, float]) -> None:
    report = equivalence.compare([(200, ANSWER), (200, ANSWER)], [(200, ANSWER), other])
    equal = dict.fromkeys((name for name in report if name != "pictures"), 0.0)
    assert report == {"pictures": 2, **equal, **difference}


def test_this_checkouts_handler_answers(small_store: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(small_store / ARCHIVE) as archive:
        archive.extractall(tmp_path / "model")
    (tmp_path / "pictures").mkdir()
    shutil.copy(SEVEN, tmp_path / "pictures" / "0")
    (tmp_path / "pictures" / "1").write_bytes(b"no picture")
    (status, answer), (bad_status, error) = equivalence.answers(PROJECT, tmp_path / "model", tmp_path / "pictures")
    assert (status, answer["prediction"]) == (200, 7)
    assert (bad_status, error["type"]) == (400, "NotAPictureError")


def test_a_folder_without_a_handler_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(equivalence.EquivalenceError, match="digit_handler"):
        equivalence.answers(tmp_path, tmp_path, tmp_path)
